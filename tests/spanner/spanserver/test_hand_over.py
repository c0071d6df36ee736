"""A server that is told to give leadership away leads nothing a moment later, however little it was asked."""

from __future__ import annotations

import asyncio

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from services.spanner.spanserver.administration import EVERY
from sim import World, run, scenario

IDLE_S = 40.0  # all leases have run out


@scenario(checks=("others lead",))
async def hand_over(world: World) -> None:
    """Of groups that were not used for long."""
    universe = Universe(world, SCHEMA, cuts(12, 6))
    await universe.start()
    banker = Banker(universe, "c1", 12, timeout=10.0)
    await banker.open_accounts()
    server = await universe.leader(1)
    await asyncio.sleep(IDLE_S)
    assert not any(
        group.term for one in (await universe.statuses()).values() for group in one.groups if group.group
    )
    stub = rpc.SpanserverStub(universe.operator.connect(server))
    await stub.HandOver(pb.HandOverRequest(group=EVERY), timeout=5.0)
    await asyncio.sleep(0.5)
    waiting = (universe.leader(number, within=0.1, other_than=server) for number in (1, 4))
    await asyncio.gather(*waiting)
    world.check("others lead", await banker.audit() == 1200)
    await universe.close()


def test_groups_whose_lease_has_run_out_are_handed_over_too():
    summary = run(hand_over, {}, seed=1)
    assert summary.verdict == "pass", (summary.error, summary.checks)
