"""The leader is killed: another is elected, and nothing that was acknowledged is lost.

Clients write, read and watch at all servers. In the middle of it the leader dies; those that are left elect
the one with the newest history, which synchronizes the others and goes on (Zab, IV and V). Clients of the
dead server find another, with their sessions. When the old leader comes back, it follows.

    dsim run coordination/leader-crash --set servers=5 --set downtime=10
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants, majority
from scenarios.coordination.workload import Workload
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Crash


@scenario(
    checks=(*PROMISES, Progress(within_s=5.0), "another leads", "the old one follows", INVARIANTS),
    plots=("spacetime",),
    limit_s=600,
)
async def leader_crash(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    observers: Annotated[int, Meta(ge=0, le=5)] = 0,
    clients: Annotated[int, Meta(ge=1, le=50)] = 3,
    before: Annotated[float, Meta(gt=0, le=600)] = 1.0,
    downtime: Annotated[float, Meta(gt=0, le=600)] = 3.0,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """The leader is killed: another is elected, and nothing that was acknowledged is lost."""
    ensemble = Ensemble(world, servers, observers, tick=tick, digest_every=8)
    await ensemble.start()
    workload = Workload()
    working, over = [], asyncio.Event()
    people = [await ensemble.client(f"c{number}") for number in range(1, clients + 1)]
    await workload.prepare(people[0])
    working = [world.spawn(workload.work(client, over)) for client in people]
    await asyncio.sleep(before)

    old = await ensemble.leader()
    await majority(world, True)
    crash = await world.inject(Crash(host=old))
    died = world.now()
    new = await ensemble.leader(other_than=old)
    world.measure("another leads after", round(world.now() - died, 3), unit="s")
    world.check("another leads", new != old, f"{new} leads instead of {old}")
    await workload.once(people[0])
    world.measure("an acknowledged write after", round(world.now() - died, 3), unit="s")

    await asyncio.sleep(downtime)
    await world.lift(crash)
    await ensemble.serving(old)
    back = (await ensemble.report(old))["zk_server_state"]
    world.check("the old one follows", back == "follower", f"{old} is {back}")
    await asyncio.sleep(1.0)
    over.set()
    await asyncio.gather(*working)
    await ensemble.settle(workload, people)
    check_invariants(world)


if __name__ == "__main__":
    leader_crash.main()
