"""Six processes begin a computation together and end it together, though they come and finish when they like.

Section 2.4: who comes creates a znode of its own below the barrier's, and the one that makes them enough
creates *ready*, for which the others watch; who is done deletes its own, and waits until there is none. One
of them is cut off in the middle of its work. Its session expires, its ephemeral znode goes, and the others
do not wait for ever. A barrier that waits for fewer than there are lets the first begin before the last has
come:

    dsim run coordination/double-barrier --set size=5
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants
from services.coordination.client import SessionExpired
from services.coordination.recipes import DoubleBarrier as Barrier
from sim import World, scenario
from sim.check.coordination.recipes import DoubleBarrier
from sim.faults import Isolate

if TYPE_CHECKING:
    from scenarios.coordination.clients import RecordedClient

PATH = "/barrier"


@scenario(
    checks=(
        *PROMISES,
        DoubleBarrier(),
        "nobody begins before all are there",
        "nobody leaves before all are done",
        "who is gone is not waited for",
        INVARIANTS,
    ),
    plots=("timeline",),
    limit_s=600,
)
async def double_barrier(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=1, le=13)] = 3,
    processes: Annotated[int, Meta(ge=2, le=100)] = 6,
    size: Annotated[int, Meta(ge=0, le=100)] = 0,
    lost: bool = True,
    slowest: Annotated[float, Meta(gt=0, le=60)] = 1.0,
    timeout: Annotated[float, Meta(ge=0.4, le=4)] = 2.0,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """Six processes come one by one, begin together and end together; one is lost and not waited for."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    await ensemble.start()
    party = []
    for number in range(1, processes + 1):
        client = await ensemble.client(f"p{number}", timeout=timeout)
        party.append(Process(client, min(size or processes, processes)))
    await party[0].client.create(PATH)
    times = [(world.rng.uniform(0, slowest), world.rng.uniform(0.2, slowest)) for _ in party]
    work = [
        world.spawn(process.work(comes, works)) for process, (comes, works) in zip(party, times, strict=True)
    ]

    others = party
    if lost:
        victim = party[-1]
        others = party[:-1]
        await victim.entered.wait()
        gone = await world.inject(Isolate(host=victim.client.name))
        began = world.now()
        await asyncio.gather(*(process.left.wait() for process in others))
        took = world.now() - began
        world.measure("the others are through after", round(took, 3), unit="s")
        limit = max(slowest, timeout + 4 * tick) + 1.0
        world.check("who is gone is not waited for", took < limit, f"{took:.3f} s, time-out {timeout:g} s")
        await world.lift(gone)
    else:
        world.check("who is gone is not waited for", True, "nobody is lost")
    await asyncio.gather(*work)

    last_came = max(process.came for process in party)
    first_began = min(process.began for process in party)
    world.check(
        "nobody begins before all are there",
        first_began >= last_came,
        f"the last came at {last_came:.3f} s, the first began at {first_began:.3f} s",
    )
    last_done = max(process.done for process in others)
    first_left = min(process.ended for process in others)
    world.check(
        "nobody leaves before all are done",
        first_left >= last_done,
        f"the last was done at {last_done:.3f} s, the first left at {first_left:.3f} s",
    )
    world.measure("begun within", round(max(p.began for p in party) - first_began, 4), unit="s")
    world.measure("left within", round(max(p.ended for p in others) - first_left, 4), unit="s")
    for process in party:
        await process.client.close()
    for name in ensemble.names:
        await ensemble.dump(name)
    await ensemble.agree()
    check_invariants(world)


class Process:
    """One of those who compute together.

    Attributes:
        came, began, done, ended: when it was at the barrier, in, through with its work, and out.
        entered, left: set when it is in, and when it is out (or lost).
    """

    def __init__(self, client: RecordedClient, size: int) -> None:
        self.client = client
        self.came = self.began = self.done = self.ended = 0.0
        self.entered, self.left = asyncio.Event(), asyncio.Event()
        self._size = size
        self._barrier = Barrier(client.session, PATH, size, client.name)
        self._host = client.world.client(client.name)

    async def work(self, comes: float, works: float) -> None:
        """Comes after some seconds, works for some, and goes."""
        world, lane = self.client.world, f"{self.client.name}/barrier"
        await asyncio.sleep(comes)
        try:
            self.came = world.now()
            with self._host.span("waits to begin"):
                async with world.operation(lane, "enter", {"size": self._size}, key=PATH) as op:
                    await self._barrier.enter()
                    op.ok()
            self.began = world.now()
            self.entered.set()
            with self._host.span("works"):
                await asyncio.sleep(works)
            self.done = world.now()
            with self._host.span("waits for the end"):
                async with world.operation(lane, "leave", {"size": self._size}, key=PATH) as op:
                    await self._barrier.leave()
                    op.ok()
        except SessionExpired:
            pass  # the others go on without it
        self.ended = world.now()
        self.left.set()


if __name__ == "__main__":
    double_barrier.main()
