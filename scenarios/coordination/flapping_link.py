"""The link between the leader and one follower comes and goes; everybody else is left in peace.

Each time the follower loses its leader it looks for another one, and is told by the others who leads; it
cannot win an election alone, and its return costs only what it has missed. The leader keeps its quorum and
stays (Zab, V). When it is all of the leader's links that flap, it cannot stay, and the check says so:

    dsim run coordination/flapping-link --set links=2
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Cut


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "the leader stays",
        "the service goes on",
        "the follower is back each time",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def flapping_link(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    links: Annotated[int, Meta(ge=1, le=12)] = 1,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    flaps: Annotated[int, Meta(ge=1, le=100)] = 3,
    down: Annotated[float, Meta(gt=0, le=60)] = 1.4,
    up: Annotated[float, Meta(gt=0, le=60)] = 0.6,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """One follower's link to the leader flaps: it falls behind and catches up, and the leader stays."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.2)
    leader = await ensemble.leader()
    epoch = (await ensemble.report(leader))["zk_epoch"]
    followers = [name for name in ensemble.names if name != leader]
    flapping = world.rng.sample(followers, min(links, len(followers)))
    probe = await work.probe([name for name in ensemble.names if name not in flapping])

    began = world.now()
    back = 0
    for _ in range(flaps):
        cuts = [await world.inject(Cut(source=leader, target=name)) for name in flapping]
        await asyncio.sleep(down)
        for cut in cuts:
            await world.lift(cut)
        await asyncio.sleep(up)
        states = [(await ensemble.report(name)).get("zk_server_state") for name in flapping]
        back += all(state == "follower" for state in states)
    await majority(world, True)
    pause = probe.longest_pause(began, world.now())
    world.measure("longest time without an acknowledged write", round(pause, 3), unit="s")
    world.check("the service goes on", pause < 2.5 * tick, f"never longer than {pause:.3f} s without a write")
    world.check(
        "the follower is back each time",
        back == flaps,
        f"{', '.join(flapping)} followed {up:g} s after {back} of {flaps} outages of {down:g} s",
    )
    now = await ensemble.report(leader)
    world.check(
        "the leader stays",
        (now.get("zk_server_state"), now.get("zk_epoch")) == ("leader", epoch),
        f"{leader} is {now.get('zk_server_state')} in epoch {now.get('zk_epoch')}, was leader in {epoch}",
    )
    await ensemble.serving(*ensemble.names)
    await work.end()


if __name__ == "__main__":
    flapping_link.main()
