"""A log on two hosts under a swarm of faults: whatever happens, no acknowledged record is lost.

Two replicas and a witness (`services/primary_backup` explains the protocol), some clients that append
and read, and a random choice of everything that can go wrong: crashes of one host or of all, partitions,
slow and lossy links, lost replies, pauses, full and failing disks, torn writes, clocks that
jump. When all is healed, the log must go on. Each seed is another story:

    dsim run basics/primary-backup --seed 7
    dsim sweep basics/primary-backup --seeds 0:1000

Its dishonest twin, `basics/lost-write`, differs in one word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from services.primary_backup.client import LogClient
from services.primary_backup.replica import replica
from services.primary_backup.witness import witness
from sim import World, scenario
from sim.check.log import InOrder, NothingLost, OnceOnly
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm

if TYPE_CHECKING:
    from sim.faults import Action

PATIENCE_S = 3.0  # after which a client gives an append up, not knowing whether it happened
RECOVERY_S = 15.0  # within which the log must work again after everything is healed


async def story(world: World, schedule: Sequence[Action], clients: int, pause: float, early: bool) -> None:
    """Has clients append to a replicated log while faults happen, and then without them.

    Args:
        world: where.
        schedule: the faults.
        clients: how many append at once.
        pause: seconds that a client thinks between two requests, on average.
        early: the mistake: the primary acknowledges what its backup does not have yet.
    """
    await world.start("witness", witness, primary="a", backup="b")
    await world.start("a", replica, partner="b", witness="witness", early=early)
    await world.start("b", replica, partner="a", witness="witness", early=early)

    # Clients append and read as long as the faults last.
    faulty = asyncio.Event()
    names = [f"client{number}" for number in range(1, clients + 1)]
    logs = {name: LogClient(world.client(name), ["a", "b"], name) for name in names}
    working = [world.spawn(_work(world, name, log, pause, faulty)) for name, log in logs.items()]
    await world.play(schedule)
    await world.heal()
    faulty.set()
    await asyncio.gather(*working)

    # A replica that finds one of its invariants broken ends itself.
    broken = [f"{failure.host}: {failure.error}" for failure in world.failures()]
    world.check("invariants", not broken, "; ".join(broken) or "none broken")

    # All is healed: every client must get one more record in, and then see all of them.
    healed = world.now()
    try:
        async with asyncio.timeout(RECOVERY_S):
            await asyncio.gather(*(_append(world, name, log, f"{name}-last") for name, log in logs.items()))
            await asyncio.gather(*(_read(world, name, log) for name, log in logs.items()))
    except TimeoutError:
        world.check("progress", False, f"the log does not work {RECOVERY_S:g} s after everything was healed")
    else:
        world.check("progress", True, f"worked again {world.now() - healed:.3f} s after the healing")


async def _work(world: World, name: str, log: LogClient, pause: float, over: asyncio.Event) -> None:
    chance = world.client(name).rng
    number = 0
    while not over.is_set():
        number += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                if chance.random() < 0.8:
                    await _append(world, name, log, f"{name}-{number}")
                else:
                    await _read(world, name, log)
        except TimeoutError:
            pass  # the history says that nobody knows
        await asyncio.sleep(chance.expovariate(1 / pause))


async def _append(world: World, name: str, log: LogClient, record: str) -> None:
    async with world.operation(name, "append", record, key="log") as op:
        op.ok([record, await log.append(record.encode())])


async def _read(world: World, name: str, log: LogClient) -> None:
    async with world.operation(name, "read", key="log") as op:
        op.ok([record.decode() for record in await log.read()])


CHECKS = (NothingLost(), InOrder(), OnceOnly(), "invariants", "progress")


@scenario(checks=CHECKS, plots=("spacetime",), limit_s=600)
async def primary_backup(
    world: World,
    *,
    clients: Annotated[int, Meta(ge=1, le=20), SHRINKABLE] = 3,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 8.0,
    pause: Annotated[float, Meta(gt=0, le=10)] = 0.1,
    intensity: Annotated[float, Meta(gt=0, le=100)] = 1.0,
) -> None:
    """A replicated log under every kind of fault: nothing that was acknowledged is lost."""
    faults = swarm(
        world.rng,
        ["a", "b", "witness"],
        clients=[f"client{number}" for number in range(1, clients + 1)],
        seconds=seconds,
        intensity=intensity,
    )
    await story(world, faults, clients, pause, early=False)


if __name__ == "__main__":
    primary_backup.main()
