"""A universe of one group as processes: three spanservers, time masters, and who says where everything is."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from protos.trace import Span
from services.cluster import Cluster
from services.spanner.group import Member
from services.spanner.placement.founding import Plan, hexadecimal
from services.spanner.placement.system import SYSTEM, USER_RANGE
from services.spanner.schema import ColumnSpec, CreateTable, apply_change
from services.spanner.spanserver.settings import Founding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SERVERS = {"s1": "z1", "s2": "z2", "s3": "z3"}
LOCATIONS = [f"zone-{zone}" for zone in SERVERS.values()]
TABLE, COLUMNS = "Rows", ("Id", "Data")
SCHEMA = apply_change(
    SYSTEM,
    CreateTable(TABLE, (ColumnSpec("Id", "INT64"), ColumnSpec("Data", "BYTES(MAX)")), primary_key=("Id",)),
)


@asynccontextmanager
async def universe(folder: Path) -> AsyncIterator[Cluster]:
    """Starts the universe, and ends it; the first spanserver leads."""
    members = tuple(Member(name, zone) for name, zone in SERVERS.items())
    plan = Plan(zones=SERVERS, groups=(Founding(1, members, hexadecimal(USER_RANGE)),), schema=SCHEMA)
    async with Cluster.create(folder) as cluster:
        nodes = [(one.name, one.program, one.parameters, False) for one in plan.programs()]
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
