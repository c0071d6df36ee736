"""A whole zone goes, with its spanservers and its time master: commits go on when its leases are over.

Each group has a replica in every zone, so that two are left of three (2.1). Groups that were led from
elsewhere notice nothing; the others are led from another zone as soon as the leases allow it. When the zone
comes back its replicas catch up, and whoever is near reads there again. `--set zones=2` takes two of the
three: nothing is committed before they are back, and nothing is lost. Look in the picture at the groups that
keep their leader: they commit on, except for transactions that need one of the others.

    dsim run spanner/zone-failure --set lease=10
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import MASTERS, ZONES, Universe
from scenarios.spanner.leading import lease_of, longest_silence
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario
from sim.faults import Crash

ON = "commits go on when the leases are over"
CAUGHT_UP = "the zone catches up"
SPARE = 2.0  # seconds for an election, on a busy machine too
CATCHING_UP = 30.0  # seconds


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, ON, CAUGHT_UP), plots=("groups",), limit_s=600)
async def zone_failure(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=30)] = 6,
    groups: Annotated[int, Meta(ge=1, le=50)] = 6,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 18,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    downtime: Annotated[float, Meta(gt=0, le=600)] = 5.0,
    lease: Annotated[float, Meta(ge=0.6, le=60)] = 2.0,
    zones: Annotated[int, Meta(ge=1, le=2)] = 1,
) -> None:
    """A whole zone goes: commits go on when its leases are over, and it catches up when it is back."""
    universe = Universe(world, SCHEMA, cuts(accounts, groups), servers, paxos=lease_of(lease))
    await universe.start()
    bankers = [
        Banker(universe, f"c{number}", accounts, zone=ZONES[number % 3], timeout=120.0)
        for number in range(1, clients + 1)
    ]
    await bankers[0].open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over)) for banker in bankers]
    await asyncio.sleep(1.0)

    gone = ZONES[:zones]
    hosts = [name for name in universe.names if universe.zones[name] in gone]
    hosts += [one["name"] for one in MASTERS if one["zone"] in gone]
    before = await leaders(universe)
    began = world.now()
    crashes = [await world.inject(Crash(host=host)) for host in hosts]
    await asyncio.sleep(lease + SPARE + downtime)
    came_back = world.now()
    late = longest_silence(bankers, began + lease + SPARE, came_back)
    moved = [group for group, server in before.items() if server in hosts]
    world.measure("groups led from there", len(moved))
    world.measure("without a commit", round(longest_silence(bankers, began, came_back), 3), unit="s")
    world.check(ON, late < downtime / 2, f"{late:.3f} s without a commit in the {downtime:g} s after that")

    for crash in crashes:
        await world.lift(crash)
    took = await caught_up(universe, came_back)
    world.measure("caught up after", round(took, 3), unit="s")
    world.check(CAUGHT_UP, took < CATCHING_UP, f"{took:.3f} s after it came back")
    over.set()
    await asyncio.gather(*working)
    reader = Banker(universe, "reader", accounts, zone=gone[0])
    check_total(world, await reader.audit(max_staleness=10**9), accounts)
    check_total(world, await reader.audit(), accounts)
    await universe.close()
    check_invariants(world)


async def leaders(universe: Universe) -> dict[int, str]:
    """Returns who leads, by group."""
    return {
        one.group: server
        for server, status in (await universe.statuses()).items()
        for one in status.groups
        if one.term
    }


async def caught_up(universe: Universe, since: float) -> float:
    """Waits until every replica has applied what some replica of its group had applied when this began.

    Returns the seconds since then, `CATCHING_UP` if it takes longer.
    """
    world = universe.world
    wanted: dict[int, int] = {}
    for status in (await universe.statuses()).values():
        for one in status.groups:
            wanted[one.group] = max(one.applied, wanted.get(one.group, 0))
    while world.now() - since < CATCHING_UP:
        statuses = await universe.statuses()
        behind = [
            one.group
            for status in statuses.values()
            for one in status.groups
            if one.applied < wanted.get(one.group, 0)
        ]
        if len(statuses) == len(universe.names) and not behind:
            return world.now() - since
        await asyncio.sleep(0.02)
    return CATCHING_UP


if __name__ == "__main__":
    zone_failure.main()
