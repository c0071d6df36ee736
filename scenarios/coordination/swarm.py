"""An ensemble under a swarm of faults: whatever happens, every promise to its clients is kept.

Servers (3, 5 or 7, and observers), clients that do a little of everything, and a random choice of what can go
wrong: crashes of one server or of all, partitions, slow and lossy links, lost replies, pauses, full and
failing disks, torn writes, clocks that jump and drift. When all is healed, the service must go on, every
server must have the same tree, and every acknowledged write must be in it. Each seed is another story:

    dsim run coordination/swarm --seed 7
    dsim sweep coordination/swarm --seeds 0:1000 --set servers=5 --set observers=1

For ten minutes on real processes, with a cold start of all of them at the end:

    dsim run coordination/swarm --world grpc --set servers=5 --set clients=10 --set seconds=600 \\
        --set cold=true
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.cluster import Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants, majority
from scenarios.coordination.workload import Workload
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm as faults_of
from sim.faults import Crash

RECOVERY_S = 20.0  # within which all must work again after everything is healed


@scenario(
    checks=(*PROMISES, Progress(within_s=RECOVERY_S), INVARIANTS),
    plots=("spacetime",),
    limit_s=900,
    real_limit_s=1800,
)
async def swarm(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=1, le=13)] = 3,
    observers: Annotated[int, Meta(ge=0, le=5)] = 0,
    clients: Annotated[int, Meta(ge=1, le=20), SHRINKABLE] = 3,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 8.0,
    intensity: Annotated[float, Meta(gt=0, le=100)] = 1.0,
    pause: Annotated[float, Meta(gt=0, le=10)] = 0.1,
    cold: bool = False,
) -> None:
    """An ensemble under every kind of fault: no promise is broken."""
    # Few transactions to a snapshot, so that recoveries and synchronizations have some to use.
    ensemble = Ensemble(world, servers, observers, retry=0.5, snap_count=60, digest_every=4)
    await ensemble.start()
    workload = Workload(pause=pause)
    names = [f"c{number}" for number in range(1, clients + 1)]
    people = [await ensemble.client(name) for name in names]
    await workload.prepare(people[0])
    over = asyncio.Event()
    working = [world.spawn(workload.work(client, over)) for client in people]
    await world.play(
        faults_of(world.rng, ensemble.names, clients=names, seconds=seconds, intensity=intensity)
    )
    await world.heal()
    await majority(world, True)
    over.set()
    await asyncio.gather(*working)
    await ensemble.serving(*ensemble.names, within=RECOVERY_S)
    if cold:
        await majority(world, False)
        crashes = [await world.inject(Crash(host=name)) for name in ensemble.names]
        for crash in crashes:
            await world.lift(crash)
        await majority(world, True)
        await ensemble.serving(*ensemble.names, within=RECOVERY_S)
    await ensemble.settle(workload, people)
    check_invariants(world)


if __name__ == "__main__":
    swarm.main()
