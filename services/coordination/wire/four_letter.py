"""Four-letter words: what an operator types instead of a greeting, as of Apache ZooKeeper 3.8.

Answers are text for people and for the scripts that read it, and keep Apache's form. Words that are not
allowed (`4lw.commands.whitelist`) are told so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.wire.report import operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from services.coordination.front import ConnectionFigures
    from services.coordination.wire.door import Door

    Answer: TypeAlias = Callable[[Door], Awaitable[str]]

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


async def answer(word: bytes, door: Door) -> bytes:
    """Returns what a word is answered."""
    name = word.decode()
    if name not in door.words:
        return f"{name} is not executed because it is not in the whitelist.\n".encode()
    return (await _ANSWERS[name](door)).encode("utf-8", "replace")


async def _ruok(door: Door) -> str:
    return "imok"


async def _isro(door: Door) -> str:
    return {"read-only": "ro"}.get(door.report.state, "rw") if door.report.serving else "null"


async def _srvr(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    return _version(door) + _server(door)


async def _stat(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    clients = "".join(
        f" /{door.report.address(connection)}[1]({_counts(connection)})\n"
        for connection in door.report.connections()
    )
    return f"{_version(door)}Clients:\n{clients}\n{_server(door)}\n"


def _version(door: Door) -> str:
    read_only = door.report.state == "read-only"
    return f"Zookeeper version: {door.report.version}\n" + (
        "READ-ONLY mode; serving only read-only clients\n" if read_only else ""
    )


def _server(door: Door) -> str:
    stats = door.report.stats()
    least, most = round(stats["min_latency"]), round(stats["max_latency"])
    return (
        f"Latency min/avg/max: {least}/{stats['avg_latency']}/{most}\n"
        f"Received: {stats['packets_received']}\n"
        f"Sent: {stats['packets_sent']}\n"
        f"Connections: {stats['num_alive_client_connections']}\n"
        f"Outstanding: {stats['outstanding_requests']}\n"
        f"Zxid: {stats['last_processed_zxid']:#x}\n"
        f"Mode: {stats['server_state']}\n"
        f"Node count: {stats['node_count']}\n"
    )


def _counts(connection: ConnectionFigures) -> str:
    return f"queued={connection.queued},recved={connection.received},sent={connection.sent}"


async def _mntr(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    return "".join(f"{name}\t{value}\n" for name, value in door.report.monitor().items())


async def _cons(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    lines = [
        f" /{door.report.address(connection)}[1]({_counts(connection)},sid={connection.session:#x},"
        f"lop={operation(connection)},est={connection.established},"
        f"to={connection.timeout},lcxid={connection.last_xid & 0xFFFFFFFF:#x},"
        f"lzxid={connection.last_zxid:#x},lresp={connection.last_response},llat={connection.latency_last},minlat={connection.latency_min},"
        f"avglat={connection.latency_avg},maxlat={connection.latency_max})\n"
        for connection in door.report.connections()
    ]
    return "".join(lines) + "\n"


async def _conf(door: Door) -> str:
    lines = []
    sizes = dict(zip(("dataDir", "dataLogDir"), await door.report.sizes(), strict=True))
    for name, value in door.report.configuration.items():
        lines.append(f"{name}={value}\n")
        if name in sizes:
            lines.append(
                f"{name.removesuffix('Dir')}{'DirSize' if name == 'dataDir' else 'Size'}={sizes[name]}\n"
            )
    return "".join(lines)


async def _envi(door: Door) -> str:
    return "Environment:\n" + "".join(f"{name}={value}\n" for name, value in door.report.environment.items())


async def _dump(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    expiry, ephemerals = door.report.expiry(), door.report.ephemerals()
    lines = ["SessionTracker dump:", f"Session Sets ({len(expiry)})/({sum(map(len, expiry.values()))}):"]
    for moment, sessions in expiry.items():
        when = f"{len(sessions)} expire in {moment} ms:" if moment >= 0 else f"{len(sessions)} at the leader:"
        lines += [when, *(f"\t{session:#x}" for session in sessions)]
    lines += ["ephemeral nodes dump:", f"Sessions with Ephemerals ({len(ephemerals)}):"]
    for session, paths in ephemerals.items():
        lines += [f"{session:#x}:", *(f"\t{path}" for path in paths)]
    connections = door.report.connections()
    lines += ["Connections dump:", f"Connections Sets ({len(connections)}):"]
    lines += [
        f"\tip: /{door.report.address(connection)} sessionId: {connection.session:#x}"
        for connection in connections
    ]
    return "\n".join(lines) + "\n"


async def _wchs(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    by_path = door.report.watches_by_path()
    connections = len(door.report.watches_by_session())
    return (
        f"{connections} connections watching {len(by_path)} paths\n"
        f"Total watches:{sum(map(len, by_path.values()))}\n"
    )


async def _wchc(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    lines = []
    for session, paths in door.report.watches_by_session().items():
        lines += [f"{session:#x}\n", *(f"\t{path}\n" for path in paths)]
    return "".join(lines) + "\n"


async def _wchp(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    lines = []
    for path, sessions in door.report.watches_by_path().items():
        lines += [f"{path}\n", *(f"\t{session:#x}\n" for session in sessions)]
    return "".join(lines) + "\n"


async def _dirs(door: Door) -> str:
    data, log = await door.report.sizes()
    return f"datadir_size: {data}\nlogdir_size: {log}\n"


async def _hash(door: Door) -> str:
    if not door.report.serving:
        return NOT_SERVING
    return "".join(f"{zxid:x}: {digest}\n" for zxid, digest in door.report.digests())


_ANSWERS: dict[str, Answer] = {
    "conf": _conf,
    "cons": _cons,
    "dirs": _dirs,
    "dump": _dump,
    "envi": _envi,
    "hash": _hash,
    "isro": _isro,
    "mntr": _mntr,
    "ruok": _ruok,
    "srvr": _srvr,
    "stat": _stat,
    "wchc": _wchc,
    "wchp": _wchp,
    "wchs": _wchs,
}

NAMES = frozenset(_ANSWERS)
WORDS = frozenset(name.encode() for name in _ANSWERS)
"""All that there are."""
