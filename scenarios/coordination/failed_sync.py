"""The leader's disk fails to sync: it acknowledges nothing more, says why, and another leads.

After a failed `fsync` nobody knows what is on the disk, and a later success does not bring it back (the
page cache may have dropped the pages and call them clean). An acknowledgement that rests on it would be a
lie, and Zab's majority one short. So the server ends, with a line that says so; whoever runs it starts it
again, and it takes from the disk only what it can read there, and the rest from the new leader. While the
disk still fails it fails again at once, and never disturbs the others.

    dsim run coordination/failed-sync --set leader=false
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork, in_step
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.noted import Noted
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import SyncFails

RETRY = 0.5  # seconds after which whoever runs the server starts it again


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        Noted("it says why", "the disk fails", "why"),
        "it steps down",
        "the others go on",
        "it is back when the disk is",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def failed_sync(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    leader: bool = True,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    seconds: Annotated[float, Meta(ge=0.5, le=600)] = 1.5,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """The leader cannot sync its log: it stops acknowledging, steps down and says why; nothing is lost."""
    ensemble = Ensemble(world, servers, tick=tick, retry=RETRY, digest_every=8)
    work = await AtWork.begin(ensemble, clients)
    old = await ensemble.leader()
    others = [name for name in ensemble.names if name != old]
    victim = old if leader else world.rng.choice(others)
    probe = await work.probe([name for name in ensemble.names if name != victim])

    fault = await world.inject(SyncFails(host=victim))
    began = world.now()
    await majority(world, True)
    if leader:
        await ensemble.leader(other_than=old)
        world.measure("another leads after", round(world.now() - began, 3), unit="s")
    await asyncio.sleep(seconds)
    state = (await ensemble.report(victim)).get("zk_server_state", "down")
    world.check("it steps down", state not in ("leader", "follower"), f"{victim} is {state}")
    written = probe.count(began, world.now())
    world.check("the others go on", written > 0, f"{written} writes acknowledged while it fails")
    pause = probe.longest_pause(began, world.now())
    world.measure("no acknowledged write for", round(pause, 3), unit="s")

    await world.lift(fault)
    lifted = world.now()
    await ensemble.serving(victim)
    await in_step(ensemble, victim)
    world.measure("in step again after", round(world.now() - lifted, 3), unit="s")
    state = (await ensemble.report(victim)).get("zk_server_state")
    world.check("it is back when the disk is", state in ("leader", "follower"), f"{victim} is {state}")
    await work.end()


if __name__ == "__main__":
    failed_sync.main()
