"""The universe master's console as a page (2): how all zones are, live.

    /         zones, spanservers with their time, groups with leaders and leases, who has what, moves
    /api      the same as JSON

It only reads, and asks the spanservers when somebody looks.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from services.live import page, table
from services.pages import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.pages import Respond


def responding(look: Callable[[], Awaitable[dict[str, Any]]]) -> Respond:
    """Returns what answers requests of HTTP.

    Args:
        look: returns how the universe is, as `told.overview` has it.
    """

    async def respond(steps: list[str], query: dict[str, str]) -> Page:
        del query
        if steps == ["api"]:
            about = await look()
            return Page(msgspec.json.format(msgspec.json.encode(about)) + b"\n", "application/json")
        if steps:
            raise LookupError("there is no such page; begin at /")
        return Page(html(await look()).encode("utf-8", "replace"))

    return respond


def html(about: dict[str, Any]) -> str:
    """Returns the page."""
    zones = [
        (
            escape(one["zone"]),
            escape(one["zonemaster"]) + ("" if one["answers"] else _bad("does not answer")),
            " ".join(
                escape(name) + (_bad("silent") if name in one["silent"] else "")
                for name in one["spanservers"]
            ),
        )
        for one in about["zones"]
    ]
    servers = [
        (
            escape(one["server"]),
            escape(one["zone"]),
            f"{one['epsilon_ms']:.3f} ms" if one["synchronized"] else _bad("does not know the time"),
            str(one["groups"]),
            str(one["leads"]),
            f"{one['requests_s']:g}",
        )
        for one in about["spanservers"]
    ]
    servers += [(escape(name), "", _bad("does not answer"), "", "", "") for name in about["unreachable"]]
    groups = [
        (
            str(one["group"]) + (" (system tables)" if one["group"] == 0 else ""),
            " ".join(_replica(each, one["leader"]) for each in one["members"]),
            escape(one["leader"]) or "nobody: it sleeps",
            f"{one['lease_s']:.1f} s" if one["lease_s"] > 0 else "",
            str(one["rows"]),
            str(one["bytes"]),
            str(one["prepared"]),
            f"{one['requests_s']:g}",
        )
        for one in about["groups"]
    ]
    fragments = [(escape(one["start"]), escape(one["end"]), str(one["group"])) for one in about["fragments"]]
    body = "<h2>Zones</h2>" + table(["Zone", "Zonemaster, location proxy", "Spanservers"], zones, "None.")
    body += f"<h2>Spanservers ({len(servers)})</h2>" + table(
        ["Server", "Zone", "#ε now", "#Replicas", "#Leads", "#Requests/s"], servers, "None answers."
    )
    body += f"<h2>Groups ({len(groups)})</h2>" + table(
        ["Group", "Replicas", "Leader", "#Lease", "#Rows", "#Bytes", "#Prepared", "#Requests/s"],
        groups,
        "None is known.",
    )
    body += "<h2>Who has what</h2>" + table(["From", "Up to", "#Group"], fragments, "Nothing is known.")
    body += "<h2>Moves under way</h2>" + table(["Move"], [(escape(one),) for one in about["moves"]], "None.")
    return page("Spanner universe", "", body)


def _replica(member: dict[str, str], leader: str) -> str:
    name = escape(f"{member['server']}/{member['zone']}")
    kind = "" if member["kind"] in ("", "read-write") else f" ({escape(member['kind'])})"
    return f"<b>{name}</b>" if member["server"] == leader else name + kind


def _bad(words: str) -> str:
    return f" <span class=error>{escape(words)}</span>"
