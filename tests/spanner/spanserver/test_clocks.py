"""Clocks that jump by an hour at a server that leads: transactions go on, in the order of real time."""

from __future__ import annotations

import asyncio

import pytest

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, run, scenario
from sim.faults import ClockSkew

ACCOUNTS = 6
GOES_ON = "transactions go on"


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, GOES_ON), plots=(), limit_s=300)
async def jump(world: World, *, seconds: float = -3600.0) -> None:
    """The clock of a leader jumps, and jumps back."""
    universe = Universe(world, SCHEMA, cuts(ACCOUNTS, 2))
    await universe.start()
    banker = Banker(universe, "c1", ACCOUNTS, timeout=20.0)
    await banker.open_accounts()
    leader = await universe.leader(1)
    for lasts in (0.0, 3.0):
        skew = await world.inject(ClockSkew(host=leader, seconds=seconds))
        await asyncio.sleep(lasts)
        before = banker.committed
        for _ in range(5):
            await banker.transfer()
        world.check(GOES_ON, banker.committed > before, f"{banker.committed} of them")
        await world.lift(skew)
    check_total(world, await banker.audit(), ACCOUNTS)
    await universe.close()
    check_invariants(world)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_leader_whose_clock_jumps_harms_nobody(seconds: float) -> None:
    told = run(jump, {"seconds": seconds}, seed=1)
    assert told.passed, (told.error, told.checks)
