"""How a universe is, joined from what its servers say: what the console, its page and `dsim spanner` show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protos import spanner_pb2 as pb
    from services.spanner.schema import Schema


def overview(status: pb.UniverseStatus, schema: Schema) -> dict[str, Any]:
    """Returns all that a page shows: zones, spanservers, groups, fragments, moves."""
    led: dict[str, int] = {}
    groups = groups_of(status)
    for one in groups:
        led[one["leader"]] = led.get(one["leader"], 0) + 1
    return {
        "zones": zones_of(status),
        "spanservers": [
            {
                "server": one.server,
                "zone": one.zone,
                "synchronized": bool(one.latest),
                "epsilon_ms": round((one.latest - one.earliest) / 2e6, 3),
                "groups": len(one.groups),
                "leads": led.get(one.server, 0),
                "requests_s": round(sum(group.load for group in one.groups), 1),
            }
            for one in status.servers
        ],
        "unreachable": list(status.unreachable),
        "groups": groups,
        "fragments": [
            {
                "start": key_of(schema, one.range.start),
                "end": key_of(schema, one.range.end),
                "group": one.group,
            }
            for one in status.fragments
        ],
        "moves": list(status.moves),
    }


def zones_of(status: pb.UniverseStatus) -> list[dict[str, Any]]:
    """Returns the zones: their zonemasters and whether these answer, and the spanservers, silent ones too."""
    return [
        {
            "zone": one.zone,
            "zonemaster": one.zonemaster,
            "answers": one.answers,
            "spanservers": list(one.spanservers),
            "silent": list(one.silent),
        }
        for one in status.zones
    ]


def key_of(schema: Schema, key: bytes) -> str:
    """Returns a key as people read it: its table and values, or its bytes."""
    try:
        table = schema.table_of(key)
        if table is not None:
            return f"{table.name} {table.shown_key(key)}"
    except (ValueError, IndexError):
        pass
    for table in schema.tables.values():
        if key == table.everything.start and table.parent is None:
            return table.name
    return f"0x{key.hex()}"


def groups_of(status: pb.UniverseStatus) -> list[dict[str, Any]]:
    """Returns what servers say of groups, joined: the leader's word counts for what only it knows."""
    found: dict[int, dict[str, Any]] = {}
    for server in status.servers:
        for one in server.groups:
            known = found.setdefault(
                one.group,
                {
                    "group": one.group,
                    "members": [
                        {"server": each.server, "zone": each.zone, "kind": each.kind} for each in one.members
                    ],
                    "leader": "",
                    "term": 0,
                    "lease_s": 0.0,
                    "rows": one.rows,
                    "bytes": one.bytes,
                    "prepared": one.prepared,
                    "requests_s": 0.0,
                },
            )
            known["requests_s"] = round(known["requests_s"] + one.load, 1)
            if one.term > known["term"]:
                known |= {
                    "leader": server.server,
                    "term": one.term,
                    "lease_s": round((one.lease_end - server.latest) / 1e9, 3),
                    "rows": one.rows,
                    "bytes": one.bytes,
                    "prepared": one.prepared,
                }
    return [found[number] for number in sorted(found)]
