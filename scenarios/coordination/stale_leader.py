"""A leader stands still, another is elected, the old one wakes up and believes to lead: it harms nobody.

A machine that is paused, clock and all (somebody moves a virtual machine, say), does not know that time has
passed. Its followers have given it up and follow another one (Zab, V). When it wakes up, a client that
waits at it is answered by one who still believes to lead. What it proposes nobody acknowledges, for its
followers have promised a later epoch (Zab, IV, phase 1); so no write is acknowledged, and no session is
expired by it. Its reads may be stale, as any may; a `sync` before them must not lie: it waits for a quorum,
and so for the truth.

The paper's sync is no quorum operation: the leader answers at once that nothing is pending (4.4). The
network heals a moment after the leader wakes up here, so that there is such a moment. (One whose clock went
on finds at once that it has heard nothing for too long, and gives up: `--set frozen=false`.)

    dsim run coordination/stale-leader --set sync=leader        a synced read that is stale

On real processes the leader hears as soon as it wakes that its followers have hung up (the partition is
made above TCP), and gives up at once; there the cheaper sync has no such moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Literal

from msgspec import Meta

from scenarios.coordination.at_work import AtWork
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from services.coordination.api import CoordinationError
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import ClockDrift, Partition, Pause

PATH = "/truth"
PATIENCE = 20.0  # seconds for the old leader to find its way
STANDSTILL = -0.999  # of a clock: what passes while the leader sleeps is nothing to it


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "another leads",
        "it acknowledges no write",
        "no synced read is stale",
        "it follows",
        INVARIANTS,
    ),
    plots=("spacetime",),
    limit_s=600,
)
async def stale_leader(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    asleep: Annotated[float, Meta(ge=1, le=60)] = 2.0,
    frozen: bool = True,
    alone: Annotated[float, Meta(ge=0, le=60)] = 0.5,
    sync: Literal["quorum", "leader"] = "quorum",
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """A paused leader wakes up after another was elected: its clients get no wrong answer from it."""
    ensemble = Ensemble(world, servers, tick=tick, sync=sync, digest_every=8)
    await ensemble.start()
    old = await ensemble.leader()
    others = [name for name in ensemble.names if name != old]
    work = await AtWork.begin(ensemble, clients, servers=others, pause=0.15)
    believer = await ensemble.client("believer", [old], timeout=20 * tick)
    probe = await work.probe(others)
    await believer.create(PATH, "old")

    partition = await world.inject(Partition(groups=[[old], others]))
    await asyncio.sleep(tick / 4)  # what was on its way has arrived: nothing is pending
    clock = await world.inject(ClockDrift(host=old, rate=STANDSTILL)) if frozen else None
    pause = await world.inject(Pause(host=old))
    began = world.now()
    await majority(world, True)
    new = await ensemble.leader(other_than=old)
    world.measure("another leads after", round(world.now() - began, 3), unit="s")
    world.check("another leads", new != old, f"{new} leads instead of {old}")
    await asyncio.sleep(max(0.0, began + asleep - world.now()))
    witness = await ensemble.client("witness", others)
    await witness.set(PATH, "new")

    # These requests are there when it wakes up.
    answers = asyncio.gather(
        believer.sync(), believer.get(PATH), believer.set(PATH, "from the past"), return_exceptions=True
    )
    await world.lift(pause)
    woke = world.now()
    await asyncio.sleep(alone)
    believes = (await ensemble.report(old)).get("zk_server_state")
    await world.lift(partition)
    if clock is not None:
        await world.lift(clock)
    while (state := (await ensemble.report(old)).get("zk_server_state")) != "follower":
        if world.now() > woke + PATIENCE:
            break
        await asyncio.sleep(tick / 4)
    world.measure("it follows after", round(world.now() - woke, 3), unit="s")
    synced, read, written = await answers
    stale = not isinstance(synced, BaseException) and not isinstance(read, BaseException) and read[0] == "old"
    world.check(
        "no synced read is stale",
        not stale,
        f"{old} believed to be {believes}; sync: {told(synced)}; read: {told(read)}",
    )
    # Acknowledged would be right, too, if the session had moved: by the new leader, after "new".
    value = (await witness.get(PATH))[0]
    lost = not isinstance(written, BaseException) and value == "new"
    world.check("it acknowledges no write", not lost, f'write: {told(written)}; it is "{value}" now')
    world.check("it follows", state == "follower", f"{old} is {state}")
    for client in (believer, witness):
        with suppress(CoordinationError):
            await client.close()
    await probe.acknowledged()
    await work.end()


def told(answer: object) -> str:
    """Returns an answer in words."""
    if isinstance(answer, CoordinationError):
        return answer.code.name
    return "answered" if answer is None else f"{answer!r}"


if __name__ == "__main__":
    stale_leader.main()
