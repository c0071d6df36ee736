"""A universe of one group as processes: three spanservers, time masters, and who says where everything is."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from protos.trace import Span
from services.cluster import Cluster
from services.spanner.group import Member
from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, apply_change
from services.spanner.spanserver.settings import Founding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SERVERS = {"s1": "z1", "s2": "z2", "s3": "z3"}
LOCATION = "universe"
MASTERS = [{"name": "gps1", "zone": "z1"}, {"name": "gps2", "zone": "z2"}, {"name": "atomic1", "zone": "z3"}]
TABLE, COLUMNS = "Rows", ("Id", "Data")
SCHEMA = apply_change(
    EMPTY,
    CreateTable(TABLE, (ColumnSpec("Id", "INT64"), ColumnSpec("Data", "BYTES(MAX)")), primary_key=("Id",)),
)


@asynccontextmanager
async def universe(folder: Path) -> AsyncIterator[Cluster]:
    """Starts the universe, and ends it; the first spanserver leads."""
    members = tuple(Member(name, zone) for name, zone in SERVERS.items())
    founding = Founding(1, members, schema=SCHEMA.encode().hex())
    groups = msgspec.json.decode(msgspec.json.encode([founding]))
    async with Cluster.create(folder) as cluster:
        nodes: list[tuple[str, str, dict[str, Any], bool]] = [
            (
                one["name"],
                "services.spanner.truetime.master:serve",
                {"kind": "armageddon" if one["name"].startswith("atomic") else "gps", "masters": MASTERS},
                False,
            )
            for one in MASTERS
        ]
        nodes.append((LOCATION, "services.spanner.static:serve", {"groups": groups}, False))
        nodes += [
            (
                name,
                "services.spanner.spanserver:serve",
                {"zone": zone, "masters": MASTERS, "groups": groups, "locations": [LOCATION]},
                False,
            )
            for name, zone in SERVERS.items()
        ]
        await cluster.start_all(nodes)
        await cluster.serving([name for name, *_ in nodes])
        yield cluster


def transactions(folder: Path) -> list[Span]:
    """Returns what the servers of a universe that has ended noted of committed transactions."""
    return [
        msgspec.json.decode(line, type=Span)
        for name in SERVERS
        for file in sorted((folder / "nodes" / name).glob("trace-*.jsonl"))
        for line in file.read_bytes().splitlines()
        if b'"transaction"' in line and b'"committed"' in line
    ]
