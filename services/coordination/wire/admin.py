"""`/commands/...`: what an operator may ask, over HTTP as JSON; and the figures for Prometheus.

Commands, their other names and what they answer are those of Apache ZooKeeper 3.8's admin server. Commands
that change something are left out: nobody here proves who they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from services.coordination.wire.report import operation
from services.pages import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.coordination.wire.report import Report
    from services.pages import Respond


def commands(report: Report, url: str = "/commands") -> Respond:
    """Returns what answers commands below a path."""
    base = [step for step in url.split("/") if step]

    async def respond(steps: list[str], query: dict[str, str]) -> Page:
        if steps[: len(base)] != base or len(steps) > len(base) + 1:
            raise LookupError(f"there is no such page; begin at {url}")
        if len(steps) == len(base):
            links = "".join(f'<a href="{url}/{name}">{name}</a>\n<br/>\n' for name in _COMMANDS)
            return Page(links.encode())
        name = _ALIASES.get(steps[-1], steps[-1])
        command = _COMMANDS.get(name)
        if command is None:
            return _json({"command": name, "error": f"Unknown command: {name}"})
        if not report.serving and name not in _ALWAYS:
            return _json(
                {"command": name, "error": "This ZooKeeper instance is not currently serving requests"}
            )
        return _json({**await command(report), "command": name, "error": None})

    return respond


def metrics(report: Report) -> Respond:
    """Returns what answers `/metrics`."""

    async def respond(steps: list[str], query: dict[str, str]) -> Page:
        if steps != ["metrics"]:
            raise LookupError("there is no such page; begin at /metrics")
        lines = []
        for name, value in report.monitor().items():
            if isinstance(value, (int, float)):
                name = name.removeprefix("zk_")
                lines += [f"# HELP {name} {name}", f"# TYPE {name} gauge", f"{name} {float(value)}"]
        return Page("\n".join([*lines, ""]).encode(), "text/plain; version=0.0.4; charset=utf-8")

    return respond


def _json(value: dict[str, Any]) -> Page:
    return Page(msgspec.json.format(msgspec.json.encode(value)) + b"\n", "application/json")


async def _configuration(report: Report) -> dict[str, Any]:
    names = {"dataDir": "data_dir", "dataLogDir": "data_log_dir", "serverId": "server_id"}
    return {names.get(name, _snake(name)): value for name, value in report.configuration.items()}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


async def _connections(report: Report) -> dict[str, Any]:
    return {
        "connections": [
            {
                "remote_socket_address": report.address(connection),
                "outstanding_requests": connection.queued,
                "packets_received": connection.received,
                "packets_sent": connection.sent,
                "session_id": connection.session,
                "last_operation": operation(connection),
                "established": connection.established,
                "session_timeout": connection.timeout,
                "last_cxid": connection.last_xid,
                "last_zxid": connection.last_zxid,
                "last_response_time": connection.last_response,
                "last_latency": connection.latency_last,
                "min_latency": connection.latency_min,
                "avg_latency": connection.latency_avg,
                "max_latency": connection.latency_max,
            }
            for connection in report.connections()
        ],
        "secure_connections": [],
    }


async def _dirs(report: Report) -> dict[str, Any]:
    data, log = await report.sizes()
    return {"datadir_size": data, "logdir_size": log}


async def _dump(report: Report) -> dict[str, Any]:
    return {
        "expiry_time_to_session_ids": report.expiry(),
        "session_id_to_ephemeral_paths": report.ephemerals(),
    }


async def _environment(report: Report) -> dict[str, Any]:
    return dict(report.environment)


async def _hash(report: Report) -> dict[str, Any]:
    return {"digests": [{"zxid": zxid, "digest": digest} for zxid, digest in report.digests()]}


async def _initial_configuration(report: Report) -> dict[str, Any]:
    return {"initial_configuration": report.initial}


async def _is_read_only(report: Report) -> dict[str, Any]:
    return {"read_only": report.state == "read-only"}


async def _leader(report: Report) -> dict[str, Any]:
    leader = report.leader()
    return {
        "is_leader": report.state in ("leader", "standalone"),
        "leader_id": -1 if leader is None else leader.id,
        "leader_ip": "" if leader is None else leader.host,
    }


async def _monitor(report: Report) -> dict[str, Any]:
    return {name.removeprefix("zk_"): value for name, value in report.monitor().items()}


async def _ruok(report: Report) -> dict[str, Any]:
    return {}


async def _server_stats(report: Report) -> dict[str, Any]:
    stats = report.stats()
    count = stats.pop("node_count")
    return {
        "version": report.version,
        "read_only": report.state == "read-only",
        "server_stats": stats,
        "node_count": count,
    }


async def _stats(report: Report) -> dict[str, Any]:
    return {**await _server_stats(report), **await _connections(report)}


async def _voting_view(report: Report) -> dict[str, Any]:
    return {"current_config": {member.id: str(member).partition("=")[2] for member in report.voting()}}


async def _watch_summary(report: Report) -> dict[str, Any]:
    by_path = report.watches_by_path()
    return {
        "num_connections": len(report.watches_by_session()),
        "num_paths": len(by_path),
        "num_total_watches": sum(map(len, by_path.values())),
    }


async def _watches(report: Report) -> dict[str, Any]:
    return {"session_id_to_watched_paths": report.watches_by_session()}


async def _watches_by_path(report: Report) -> dict[str, Any]:
    return {"path_to_session_ids": report.watches_by_path()}


_COMMANDS: dict[str, Callable[[Report], Awaitable[dict[str, Any]]]] = {
    "configuration": _configuration,
    "connections": _connections,
    "dirs": _dirs,
    "dump": _dump,
    "environment": _environment,
    "hash": _hash,
    "initial_configuration": _initial_configuration,
    "is_read_only": _is_read_only,
    "leader": _leader,
    "monitor": _monitor,
    "ruok": _ruok,
    "server_stats": _server_stats,
    "stats": _stats,
    "voting_view": _voting_view,
    "watch_summary": _watch_summary,
    "watches": _watches,
    "watches_by_path": _watches_by_path,
}
_ALIASES = {
    "conf": "configuration",
    "config": "configuration",
    "cons": "connections",
    "envi": "environment",
    "env": "environment",
    "icfg": "initial_configuration",
    "isro": "is_read_only",
    "lead": "leader",
    "mntr": "monitor",
    "srvr": "server_stats",
    "stat": "stats",
    "wchs": "watch_summary",
    "wchc": "watches",
    "wchp": "watches_by_path",
}
_ALWAYS = {"configuration", "dirs", "environment", "initial_configuration", "ruok"}
"""What a server tells that serves nobody."""
