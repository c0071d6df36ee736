"""A client falls silent for longer than its time-out: its session ends, and what it stood for goes to others.

A client holds a lock and is a member of a group, both by ephemeral znodes (2.4). A short silence is
forgiven. A longer one is not: the leader, which hears of no sign of life through any server, ends the
session (4.4), in one transaction with all its ephemerals; whoever watches them is told, and the next in
line has the lock. The holder cannot be told, for it is cut off; but it knows when its time-out has passed
since the last sign of life that was answered, and lets go of the lock before anybody else can have it. When
the network is back, it is told that its session has expired.

    dsim run coordination/session-expiry --set short=2.5        a silence that is too long to be forgiven
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.locking import InLine, Locking
from scenarios.coordination.promises import INVARIANTS, PROMISES
from sim import World, scenario
from sim.check.coordination.recipes import LockExclusion
from sim.faults import Isolate

AFTER = 0.5  # seconds that the holder stays cut off after that
LOCK, GROUP = "/lock", "/group"


@scenario(
    checks=(
        *PROMISES,
        LockExclusion(),
        "a short silence is forgiven",
        "a long one ends the session",
        "the holder knew before the heir",
        "it is told when it is back",
        INVARIANTS,
    ),
    plots=("timeline",),
    limit_s=600,
)
async def session_expiry(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    timeout: Annotated[float, Meta(ge=0.4, le=4)] = 2.0,
    short: Annotated[float, Meta(gt=0, le=60)] = 0.6,
    clients: Annotated[int, Meta(ge=1, le=50)] = 1,
) -> None:
    """A client is cut off: its session expires after its time-out, its lock goes on, and it knows in time."""
    ensemble = Ensemble(world, servers, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.15)
    holder = await ensemble.client("holder", timeout=timeout)
    heir = await ensemble.client("heir", timeout=timeout)
    await holder.create(GROUP)
    await holder.create(f"{GROUP}/holder", "here", ephemeral=True)
    held, next_ = Locking(holder, InLine, LOCK), Locking(heir, InLine, LOCK)
    await held.acquire()
    inherits = world.spawn(next_.acquire())

    # A short silence
    silence = await world.inject(Isolate(host="holder"))
    await asyncio.sleep(short)
    await world.lift(silence)
    await asyncio.sleep(timeout / 2)
    there = await heir.exists(f"{GROUP}/holder")
    world.check(
        "a short silence is forgiven",
        there and held.lock.held,
        f"after {short:g} s of {timeout:g} s the member is {'there' if there else 'gone'}",
    )

    # A long one
    gone: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    doubted: list[float] = [world.now()] if held.lock.lost.is_set() else []
    call_off = holder.session.on_doubt(lambda: doubted.append(world.now()))
    if not await heir.exists(f"{GROUP}/holder", heir.watch(lambda _: gone.set_result(world.now()))):
        gone.set_result(world.now())
    silence = await world.inject(Isolate(host="holder"))
    began = world.now()
    await asyncio.wait([gone], timeout=3 * timeout + 1)
    await asyncio.wait([inherits], timeout=1.0)
    took = gone.result() - began if gone.done() else world.now() - began
    world.measure("the member is gone after", round(took, 3), unit="s")
    # The last sign of life was sent up to a third of the time-out before; the leader looks once a tick.
    earliest, latest = 2 / 3 * timeout - 0.05, timeout + 4 * TICK + (0 if world.kind == "sim" else 1.0)
    world.check(
        "a long one ends the session",
        gone.done() and earliest <= took <= latest,
        f"time-out {timeout:g} s, the member was gone {took:.3f} s after the cut",
    )
    knew = doubted[0] - began if doubted else -1.0
    ahead = next_.since - doubted[0] if doubted and inherits.done() else -1.0
    world.measure("the holder knew it after", round(knew, 3), unit="s")
    world.check(
        "the holder knew before the heir",
        ahead >= 0,
        f"the holder let go {ahead:.3f} s before the heir had it",
    )

    await asyncio.sleep(AFTER)
    await world.lift(silence)
    healed = world.now()
    for _ in range(200):
        if holder.over:
            break
        await asyncio.sleep(0.05)
    call_off()
    world.check(
        "it is told when it is back",
        holder.over,
        f"{holder.session.state.name}, {world.now() - healed:.3f} s after",
    )
    await held.release()
    if inherits.done():
        await next_.release()
    await holder.close()
    await heir.close()
    await work.end()


if __name__ == "__main__":
    session_expiry.main()
