"""What all replicas of a group must have in the end: the same versions, and in them what was acknowledged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.client import ALL
from services.spanner.entries import Version
from services.spanner.keys import KeyRange
from services.spanner.placement.steps import FRAGMENT_COLUMNS
from services.spanner.placement.system import FRAGMENTS, GROUPS, GroupRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scenarios.spanner.cluster import Universe
    from scenarios.spanner.workload import Acknowledged
    from services.spanner.group import Member
    from sim import World

EQUAL = "replicas are equal"
KEPT = "nothing acknowledged is lost"
PATIENCE = 5.0  # seconds for a replica to say what it has
_decoder = msgspec.msgpack.Decoder(list[Version])


async def placed(universe: Universe) -> list[tuple[int, tuple[Member, ...], list[KeyRange]]]:
    """Returns the groups that have something, with their replicas and what they have.

    It is what the system tables tell: a replica that was not there when its group went still believes that it
    has it.
    """
    root = universe.plan.root_group
    database = universe.database("inspector")
    fragments = await database.snapshot().read(FRAGMENTS, FRAGMENT_COLUMNS, ALL)
    rows = [GroupRow.of(row) for row in await database.snapshot().read(GROUPS, GroupRow.COLUMNS, ALL)]
    have: dict[int, list[KeyRange]] = {}
    for start, end, group in fragments:
        have.setdefault(group, []).append(KeyRange(start, end))
    found = [(row.group, row.members, have[row.group]) for row in rows if row.group in have]
    return [(root.group, root.members, list(root.owned)), *found]


async def versions(
    universe: Universe, server: str, group: int, ranges: Iterable[KeyRange], upto: int
) -> list[Version]:
    """Returns all versions that a replica has of what its group owns, up to a timestamp.

    Raises:
        grpc.aio.AioRpcError: it does not say so in time.
    """
    stub = rpc.SpanserverStub(universe.operator.connect(server))
    found: list[Version] = []
    for one in ranges:
        part = pb.KeyRange(start=one.start, end=one.end)
        request = pb.ExportRequest(group=group, range=part, upto=upto)
        async for piece in stub.Export(request, timeout=PATIENCE):
            found += _decoder.decode(piece.versions)
    return found


async def check_replicas(world: World, universe: Universe, upto: int, within: float) -> list[Version]:
    """Reports whether all replicas of a group have the same versions up to a timestamp; returns those.

    Nothing may be moved meanwhile.
    """
    deadline = world.now() + within
    everything: list[Version] = []
    for number, members, ranges in await placed(universe):
        known: list[Version] | None = None
        readable = [one for one in members if one.holds_data]
        for member in readable:
            while True:
                try:
                    found = await versions(universe, member.server, number, ranges, upto)
                    break
                except grpc.aio.AioRpcError as exc:
                    if world.now() > deadline:
                        world.check(EQUAL, False, f"{member.server} does not say: {exc.details()}")
                        return everything
                    await asyncio.sleep(0.2)
            if known is None:
                known = found
            differing = next((pair for pair in zip(known, found, strict=False) if pair[0] != pair[1]), None)
            world.check(
                EQUAL,
                known == found,
                f"group {number}: {len(known)} versions at {readable[0].server}, {len(found)} at "
                f"{member.server}{f': {differing}' if differing else ''}",
            )
        everything += known or []
    return everything


def check_kept(
    world: World, universe: Universe, found: Iterable[Version], acknowledged: Iterable[Acknowledged]
) -> None:
    """Reports whether each acknowledged write is there as of its timestamp."""
    there = {(version.key, version.timestamp): version.row for version in found}
    count = 0
    for one in acknowledged:
        table = universe.schema.table(one.table)
        row = there.get((table.key([one.row]), one.timestamp))
        values = [] if row is None else [str(value) for value in table.stored(row).values()]
        if not any(one.value in value.split(",") for value in values):
            world.check(KEPT, False, f"{one.value} in row {one.row} of {one.table} at {one.timestamp}")
        count += 1
    world.check(KEPT, True, f"{count} writes are there")
