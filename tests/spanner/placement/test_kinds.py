"""Kinds of replicas (2.2): read-only ones serve reads and have no vote; witnesses vote and hold no data."""

from __future__ import annotations

import asyncio

from scenarios.spanner.accounts import SCHEMA, Banker
from scenarios.spanner.cluster import Universe
from services.spanner.group import Member
from services.spanner.placement.founding import hexadecimal
from services.spanner.placement.system import USER_RANGE
from services.spanner.spanserver.settings import Founding
from sim import World, run, scenario
from sim.faults import Crash

READS = 40
SERVED, EMPTY, UNHARMED, VOTES, NO_VOTE, BACK = (
    "the read-only replica serves its zone's snapshots",
    "the witness holds nothing",
    "without the read-only replica writes go on",
    "with the witness's vote writes go on",
    "the read-only replica has no vote",
    "writes go on when a voter is back",
)


class Kinds(Universe):
    """A universe whose only group of the user's has two read-write replicas, a witness, a read-only one."""

    def __init__(self, world: World) -> None:
        super().__init__(
            world,
            SCHEMA,
            servers=7,
            paxos={"lease": 2_000_000_000, "renew": 800_000_000, "advance": 500_000_000},
        )
        members = (
            Member("s4", "z1"),
            Member("s5", "z2"),
            Member("s6", "z3", "witness"),
            Member("s3", "z3", "read-only"),
        )
        self.groups = {1: Founding(1, members, hexadecimal(USER_RANGE))}


@scenario(checks=(SERVED, EMPTY, UNHARMED, VOTES, NO_VOTE, BACK), plots=(), limit_s=300)
async def kinds(world: World) -> None:
    """Replicas of each kind are used, then missed."""
    universe = Kinds(world)
    await universe.start()
    banker = Banker(universe, "c1", 4, timeout=8.0)
    reader = Banker(universe, "c2", 4, zone="z3")
    await banker.open_accounts()
    await asyncio.sleep(2.0)
    for _ in range(READS):
        await reader.audit(exact_staleness=10**9)
    asked = {name: group for name, status in (await universe.statuses()).items() for group in status.groups}
    loads = {name: round(group.load, 2) for name, group in asked.items() if group.group == 1}
    world.check(SERVED, max(loads, key=lambda name: loads[name]) == "s3", f"requests a second: {loads}")
    world.check(EMPTY, asked["s6"].rows == 0 < asked["s3"].rows, f"{asked['s6'].rows} rows")

    async def writes() -> bool:
        before = banker.committed
        await banker.transfer()
        return banker.committed > before

    crash = await world.inject(Crash(host="s3"))
    world.check(UNHARMED, await writes(), "s3 is down")
    await world.lift(crash)
    crashes = [await world.inject(Crash(host="s5"))]
    await asyncio.sleep(3.0)
    world.check(VOTES, await writes(), "s5 is down")
    crashes.append(await world.inject(Crash(host="s6")))
    await asyncio.sleep(3.0)
    world.check(NO_VOTE, not await writes(), "s5 and s6 are down, s4 and s3 are up")
    for crash in crashes:
        await world.lift(crash)
    await asyncio.sleep(3.0)
    world.check(BACK, await writes())
    await universe.close()


def test_kinds_of_replicas_do_what_they_are_for() -> None:
    told = run(kinds, seed=1)
    assert told.passed, (told.error, told.checks)
