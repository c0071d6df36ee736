"""What all replicas of a group must have in the end: the same versions, and in them what was acknowledged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.entries import Version
from services.spanner.keys import KeyRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scenarios.spanner.cluster import Universe
    from scenarios.spanner.workload import Acknowledged
    from sim import World

EQUAL = "replicas are equal"
KEPT = "nothing acknowledged is lost"
PATIENCE = 5.0  # seconds for a replica to say what it has
_decoder = msgspec.msgpack.Decoder(list[Version])


async def owned(universe: Universe) -> dict[int, list[KeyRange]]:
    """Returns what each group owns now, as whoever has applied most of its log says."""
    latest: dict[int, pb.GroupStatus] = {}
    for status in (await universe.statuses()).values():
        for group in status.groups:
            if group.group not in latest or group.applied > latest[group.group].applied:
                latest[group.group] = group
    return {number: [KeyRange(one.start, one.end) for one in group.owned] for number, group in latest.items()}


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
    """Reports whether all replicas of a group have the same versions up to a timestamp; returns those."""
    deadline = world.now() + within
    everything: list[Version] = []
    ranges = await owned(universe)
    for number, group in universe.everything.items():
        known: list[Version] | None = None
        for member in group.members:
            while True:
                try:
                    found = await versions(universe, member.server, number, ranges.get(number, ()), upto)
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
                f"group {number}: {len(known)} versions at {group.members[0].server}, {len(found)} at "
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
