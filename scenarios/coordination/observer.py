"""Observers learn all and decide nothing: they bring more reads, cost writes nothing, and are no majority.

An observer gets every committed transaction from the leader and answers reads like any server, for clients
far away or many; but it has no vote, so a write waits for no observer (Apache's observers, since 3.3; Zab's
quorums are of the others, II). Here one observer dies, and no writer notices. Then so many voters die that
no majority of them is left: though more than half of all machines are up, nothing is acknowledged until one
is back.

    dsim run coordination/observer --set lag=0.2        far away: reads there are local, writes travel
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
from sim.faults import Crash, Delay


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "reads there are local",
        "writes wait for no observer",
        "its end is not noticed",
        "observers are no majority",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def observer(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    observers: Annotated[int, Meta(ge=2, le=5)] = 2,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    lag: Annotated[float, Meta(ge=0, le=0.5)] = 0.05,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """Observers serve reads far away; one dies unnoticed; without a majority of voters all stands still."""
    ensemble = Ensemble(world, servers, observers, tick=tick, digest_every=8)
    await ensemble.start()
    far = [name for name in ensemble.names if name not in ensemble.voters]
    for name in far:  # they are in another place
        for voter in ensemble.voters:
            await world.inject(Delay(source=name, target=voter, seconds=lag / 2))
            await world.inject(Delay(source=voter, target=name, seconds=lag / 2))
    work = await AtWork.begin(ensemble, clients, servers=ensemble.voters, pause=0.15)
    reader = await ensemble.client("reader", [far[0]])
    near = await work.probe(ensemble.voters, "near")
    away = await work.probe([far[0]], "away")
    leader = await ensemble.leader()

    # Near and far
    calm = world.now()
    reads: list[float] = []
    while len(reads) < 20:
        begun = world.now()
        await reader.get("/away")
        reads.append(world.now() - begun)
        await asyncio.sleep(0.02)
    reads.sort()
    read, here, there = reads[10], near.latency(calm, world.now()), away.latency(calm, world.now())
    world.measure("a read at the observer", round(read * 1000, 2), unit="ms")
    world.measure("a write at the observer", round(there * 1000, 2), unit="ms")
    world.measure("a write among the voters", round(here * 1000, 2), unit="ms")
    world.check("reads there are local", read < lag, f"{read * 1000:.1f} ms; the leader is {lag:g} s away")
    world.check("writes wait for no observer", here < lag, f"{here * 1000:.1f} ms among the voters")

    await reader.close()

    # An observer dies
    await majority(world, True)
    began = world.now()
    crash = await world.inject(Crash(host=far[-1]))
    await asyncio.sleep(0.5)
    pause = near.longest_pause(began, world.now())
    world.check(
        "its end is not noticed", pause < 2.5 * tick, f"never longer than {pause:.3f} s without a write"
    )
    await world.lift(crash)
    await ensemble.serving(far[-1])

    # So many voters die that there is no majority of them
    followers = [name for name in ensemble.voters if name != leader]
    dead = followers[: (servers + 1) // 2]
    crashes = [await world.inject(Crash(host=name)) for name in dead]
    await majority(world, False)
    began = world.now()
    await asyncio.sleep(6 * tick)
    written = near.count(began, world.now()) + away.count(began, world.now())
    up = servers + observers - len(dead)
    world.check(
        "observers are no majority",
        written == 0,
        f"{written} writes with {servers - len(dead)} of {servers} voters, {up} of {servers + observers} "
        f"machines up",
    )
    await majority(world, True)
    for one in crashes:
        await world.lift(one)
    await ensemble.serving(*ensemble.names)
    for name in far:
        await in_step(ensemble, name)
    await world.heal()
    await work.end()


if __name__ == "__main__":
    observer.main()
