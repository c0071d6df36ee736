"""A transfer over two groups, and the leader of one of them dies at a chosen step of its commit.

The groups are on different servers. A link that the next step needs is made slow, so that the step that comes
before it lasts; in the middle of that the leader is killed.

| step | what is in the logs | slow link |
| --- | --- | --- |
| `asked` | nothing: the coordinator waits for the vote | from the client to the participant |
| `prepared` | the participant's prepare: it is in doubt | from participant to coordinator |
| `decided` | the coordinator's commit, which the participant has not heard of | the other way |
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.leading import lease_of
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim.faults import Crash, Delay

if TYPE_CHECKING:
    from sim import World

Victim = Literal["coordinator", "participant"]
Step = Literal["asked", "prepared", "decided"]

STEP = "the leader dies at that step"
RESOLVED = "what was in doubt is resolved"
CHECKS = (*PROMISES, TOTAL, INVARIANTS, STEP, RESOLVED)
GROUPS, PER_GROUP = 4, 2  # accounts
COORDINATOR, PARTICIPANT = 1, 4  # on s1, s2, s3, and on s4, s5, s6
SLOW = 1.0  # seconds
WITHIN = 20.0  # seconds


async def play(world: World, victim: Victim, step: Step, clients: int, lease: float, seconds: float) -> None:
    """Plays it.

    Args:
        world: where.
        victim: of which group the leader dies.
        step: when.
        clients: others, that transfer between all accounts but those two.
        lease: seconds.
        seconds: until the leader comes back.
    """
    accounts = GROUPS * PER_GROUP
    universe = Universe(world, SCHEMA, cuts(accounts, GROUPS), servers=6, paxos=lease_of(lease))
    await universe.start()
    source, target = 0, accounts - 2
    others = [one for one in range(accounts - PER_GROUP) if one != source]
    bankers = [Banker(universe, f"c{number}", accounts, among=others) for number in range(1, clients + 1)]
    teller = Banker(universe, "teller", accounts)
    await teller.open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over)) for banker in bankers]
    await asyncio.sleep(0.5)

    coordinator, participant = await universe.leader(COORDINATOR), await universe.leader(PARTICIPANT)
    links = {
        "asked": (teller.name, participant),
        "prepared": (participant, coordinator),
        "decided": (coordinator, participant),
    }
    died = 0
    crash = 0

    async def strike() -> None:
        nonlocal crash, died
        slow = await world.inject(Delay(source=links[step][0], target=links[step][1], seconds=SLOW))

        async def kill() -> None:
            nonlocal crash, died
            await asyncio.sleep(SLOW / 2)
            doubt = await prepared(universe, PARTICIPANT)
            died = world.client("operator").clock.time_ns()
            crash = await world.inject(Crash(host=coordinator if victim == "coordinator" else participant))
            await world.lift(slow)
            right = doubt == (step != "asked")
            world.check(STEP, right, f"{step}: {doubt} transactions of group {PARTICIPANT} are in doubt")

        killed.append(world.spawn(kill()))

    killed: list[asyncio.Task[None]] = []

    async def once() -> None:
        if not killed:
            await strike()

    began = world.now()
    await teller.transfer(once, (source, target))
    world.measure("transfer took", round(world.now() - began, 3), unit="s")
    await asyncio.gather(*killed)
    world.check(
        STEP, (0 < teller.written_at < died) == (step == "decided"), "decided before that, or only later"
    )
    left = await resolved(universe)
    world.check(RESOLVED, not left and teller.committed == 2, left or "nothing is prepared any more")
    auditor = Banker(universe, "auditor", accounts)
    check_total(world, await auditor.audit(), accounts)

    await asyncio.sleep(seconds)
    await world.lift(crash)
    await teller.transfer(between=(source, target))
    over.set()
    await asyncio.gather(*working)
    check_total(world, await auditor.audit(), accounts)
    await universe.close()
    check_invariants(world)


async def prepared(universe: Universe, group: int) -> int:
    """Returns how many transactions are prepared in a group, as its leader says."""
    statuses = (await universe.statuses()).values()
    return sum(
        one.prepared for status in statuses for one in status.groups if one.group == group and one.term
    )


async def resolved(universe: Universe) -> str:
    """Waits until in no group a transaction has been prepared for long; returns where one is, after all."""
    world = universe.world
    deadline = world.now() + WITHIN
    doubtful = dict.fromkeys(universe.everything)
    while doubtful and world.now() < deadline:
        for number in list(doubtful):
            leads = [
                one
                for status in (await universe.statuses()).values()
                for one in status.groups
                if one.group == number and one.term
            ]
            if leads and not leads[0].prepared:
                del doubtful[number]
        await asyncio.sleep(0.02)
    return f"groups {list(doubtful)} are in doubt" if doubtful else ""
