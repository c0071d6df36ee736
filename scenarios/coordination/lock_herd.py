"""Ten clients want the same lock: the simple one wakes all at each release, the other one wakes the next.

Section 2.4 has two locks. The simple one is one ephemeral znode: whoever cannot create it watches it, and
when it goes all who wait are woken, try, and all but one wait again; that is the herd effect, n (n - 1) / 2
wake-ups for n clients, and no order among them. In the other one each client stands in line with a
sequential znode and watches the one right before its own: a release wakes one client, who then holds it.
Both exclude; only the second is fair. The picture has a bar for each wait, cut where its client was woken
for nothing.

    dsim run coordination/lock-herd --set second=simple         the simple lock again: the check fails
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.locking import InLine, Locking, Simple
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants
from sim import World, scenario
from sim.check.coordination.recipes import LockExclusion, LockFairness

HERD, LINE = "/herd", "/line"


@scenario(
    checks=(
        *PROMISES,
        LockExclusion(),
        LockFairness(),
        "everybody has had it",
        "the simple lock wakes the herd",
        "the other one wakes the next",
        INVARIANTS,
    ),
    plots=("timeline",),
    limit_s=600,
)
async def lock_herd(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=1, le=13)] = 3,
    clients: Annotated[int, Meta(ge=2, le=100)] = 10,
    second: Literal["line", "simple"] = "line",
    hold: Annotated[float, Meta(gt=0, le=10)] = 0.05,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """Ten clients take turns with two locks: one wakes all who wait at a release, the other the next."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    await ensemble.start()
    people = [await ensemble.client(f"c{number}") for number in range(1, clients + 1)]
    for path in (HERD, LINE):
        await people[0].create(path)

    simple = [Locking(one, Simple, HERD) for one in people]
    took = await take_turns(world, simple, hold)
    herd = sum(one.lock.wakeups for one in simple)
    world.measure("wake-ups, simple lock", herd)
    world.measure("n (n - 1) / 2", clients * (clients - 1) / 2)
    world.measure("all have had it after, simple lock", round(took, 3), unit="s")
    await asyncio.sleep(4 * hold)

    line = [Locking(one, InLine if second == "line" else Simple, LINE) for one in people]
    took = await take_turns(world, line, hold)
    woken = sum(one.lock.wakeups for one in line)
    world.measure("wake-ups, lock without herd effect", woken)
    world.measure("n - 1", clients - 1)
    world.measure("all have had it after, lock without herd effect", round(took, 3), unit="s")

    had = [sum(one.since > 0 for one in locks) for locks in (simple, line)]
    world.check("everybody has had it", had == [clients, clients], f"{had[0]} and {had[1]} of {clients}")
    # Who comes back to watch only after the next release is woken once less.
    world.check(
        "the simple lock wakes the herd",
        herd > 2 * (clients - 1) or clients < 6,
        f"{herd} wake-ups of {clients} clients, {clients * (clients - 1) // 2} if all always wait",
    )
    world.check(
        "the other one wakes the next",
        woken <= clients - 1,
        f"{woken} wake-ups for {clients - 1} releases with somebody waiting",
    )
    for client in people:
        await client.close()
    for name in ensemble.names:
        await ensemble.dump(name)
    await ensemble.agree()
    check_invariants(world)


async def take_turns(world: World, locks: list[Locking], hold: float) -> float:
    """Has everybody take the lock once, hold it and give it back; returns how long that took."""
    began = world.now()

    async def turn(lock: Locking) -> None:
        await lock.acquire()
        await asyncio.sleep(hold)
        await lock.release()

    await asyncio.gather(*(turn(lock) for lock in locks))
    return world.now() - began


if __name__ == "__main__":
    lock_herd.main()
