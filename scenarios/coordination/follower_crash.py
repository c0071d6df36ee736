"""A follower is killed: the others go on as if nothing had happened, and it catches up when it is back.

A write needs a majority, not everybody (4.2: 2f + 1 servers tolerate f failures). Clients of the dead
server move to another one, with their sessions; all others see nothing. When the follower is back, the
leader sends it what it has missed (Zab, IV, phase 2), and it takes part again. With as many dead as make a
majority, the check that the service goes on fails:

    dsim run coordination/follower-crash --set servers=5 --set down=2
    dsim run coordination/follower-crash --set down=2
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork, in_step
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Crash


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "the service goes on",
        "the leader stays",
        "it catches up",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def follower_crash(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    down: Annotated[int, Meta(ge=1, le=12)] = 1,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    downtime: Annotated[float, Meta(ge=0.5, le=600)] = 1.5,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """A follower is killed: writes go on without a pause, and it catches up when it is back."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients)
    leader = await ensemble.leader()
    epoch = (await ensemble.report(leader))["zk_epoch"]
    followers = [name for name in ensemble.names if name != leader]
    victims = world.rng.sample(followers, min(down, len(followers)))
    # It is connected to servers that stay, so that what it sees is the ensemble's doing, not its own move.
    probe = await work.probe([name for name in ensemble.names if name not in victims])

    await majority(world, 2 * len(victims) < servers)
    began = world.now()
    crashes = [await world.inject(Crash(host=name)) for name in victims]
    await asyncio.sleep(downtime)
    pause = probe.longest_pause(began, world.now())
    world.measure("longest time without an acknowledged write", round(pause, 3), unit="s")
    world.check("the service goes on", pause < 2.5 * tick, f"never longer than {pause:.3f} s without a write")

    for crash in crashes:
        await world.lift(crash)
    await ensemble.serving(*victims)
    await majority(world, True)
    took = max([await in_step(ensemble, name) for name in victims])
    world.measure("in step again after", round(world.now() - began - downtime, 3), unit="s")
    states = [(await ensemble.report(name)).get("zk_server_state") for name in victims]
    world.check(
        "it catches up",
        states == ["follower"] * len(victims),
        f"{', '.join(victims)}: {took:.3f} s behind; {states[0]}",
    )
    now = await ensemble.report(leader)
    world.check(
        "the leader stays",
        (now.get("zk_server_state"), now.get("zk_epoch")) == ("leader", epoch),
        f"{leader} is {now.get('zk_server_state')} in epoch {now.get('zk_epoch')}, was leader in {epoch}",
    )
    await work.end()


if __name__ == "__main__":
    follower_crash.main()
