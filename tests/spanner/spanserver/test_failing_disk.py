"""A spanserver whose disk fails begins again by itself, with what the disk holds."""

from __future__ import annotations

import asyncio

from scenarios.spanner.accounts import SCHEMA, Banker
from scenarios.spanner.cluster import Universe
from sim import World, run, scenario
from sim.faults import SyncFails


@scenario(checks=("acknowledged",))
async def failing_disk(world: World) -> None:
    """Whose disk fails for two seconds."""
    universe = Universe(world, SCHEMA, retry_s=0.5)
    await universe.start()
    banker = Banker(universe, "c1", 4, timeout=10.0)
    await banker.open_accounts()
    fault = await world.inject(SyncFails(host="s1"))
    await banker.transfer()
    await asyncio.sleep(2.0)
    await world.lift(fault)
    await asyncio.sleep(1.0)
    assert "s1" in await universe.statuses()
    await banker.transfer()
    world.check("acknowledged", await banker.audit() == 400)
    await universe.close()
    assert not world.failures()


def test_it_begins_again_when_the_disk_works():
    summary = run(failing_disk, {}, seed=1)
    assert summary.verdict == "pass", (summary.error, summary.checks)
