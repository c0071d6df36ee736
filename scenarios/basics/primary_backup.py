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
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from protos.history import Operation
from services.primary_backup.client import LogClient
from services.primary_backup.replica import replica
from services.primary_backup.witness import witness
from sim import World, scenario
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# What must hold, over the history


class NothingLost:
    """A record is in every log read after its append was acknowledged, at the position that was named."""

    name = "nothing lost"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        acknowledged: list[tuple[str, int]] = []
        before: dict[Any, int] = {}  # by reader: how many had been acknowledged when it asked
        reads = 0
        for event in history:
            if event.f == "append" and event.type == "ok":
                acknowledged.append(tuple(event.value))
            elif event.f == "read" and event.type == "invoke":
                before[event.process] = len(acknowledged)
            elif event.f == "read" and event.type == "ok":
                reads += 1
                for record, position in acknowledged[: before[event.process]]:
                    if position >= len(event.value) or event.value[position] != record:
                        at = f"at {event.time / 1e9:.3f} s"
                        found = event.value[position] if position < len(event.value) else "nothing"
                        return False, (
                            f"{record} was acknowledged at position {position}, "
                            f"but {event.process} found {found} there {at}"
                        )
        return True, f"{len(acknowledged)} acknowledged records, looked for in {reads} reads"


class InOrder:
    """Who was acknowledged before another asked comes first; and reads continue one another."""

    name = "in order"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        last = -1  # the greatest position acknowledged so far
        least: dict[Any, int] = {}  # by client: what its position must exceed
        for event in history:
            if event.f == "append" and event.type == "invoke":
                least[event.process] = last
            elif event.f == "append" and event.type == "ok":
                record, position = event.value
                if position <= least[event.process]:
                    return False, f"{record} is at {position}, not after {least[event.process]} before it"
                last = max(last, position)
        longest: list[str] = []
        for read in _reads(history):
            shorter, longer = sorted((longest, read), key=len)
            if longer[: len(shorter)] != shorter:
                return (
                    False,
                    f"two reads disagree: ...{shorter[-3:]} is not how {longer[: len(shorter)][-3:]} begins",
                )
            longest = longer
        return True, f"one order of {len(longest)} records"


class OnceOnly:
    """A record is in the log once, however often it was asked for; and none that nobody asked for."""

    name = "once only"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        wanted = {event.value for event in history if event.f == "append" and event.type == "invoke"}
        most = 0
        for read in _reads(history):
            seen = set()
            for record in read:
                if record in seen:
                    return False, f"{record} is in the log twice"
                if record not in wanted:
                    return False, f"{record} is in the log, but nobody appended it"
                seen.add(record)
            most = max(most, len(read))
        return True, f"{most} records, none twice"


def _reads(history: Sequence[Operation]) -> Iterator[list[str]]:
    return (event.value for event in history if event.f == "read" and event.type == "ok")


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
