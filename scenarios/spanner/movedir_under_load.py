"""Directories are moved between groups while clients move money, and the placement driver is killed at it.

The placement driver (2) sees that the clients ask for what one server leads, and moves half of that to a
group that another one leads. Then an operator has directories moved. Movedir copies in the background, then
hands over in one transaction (2.2). The universe master, in which the driver runs, is killed in the middle;
the register of moves says to the next one how far they have come. Each key has one owner at each timestamp
(invariant 17): no row is lost, none is there twice, and the history is what it would be without moves.
`locking=false` takes away that the last step locks the range: what is written between the last copy and the
commit is lost.

    dsim run spanner/movedir-under-load --set moves=10
    dsim run spanner/movedir-under-load --set locking=false
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, TABLE, Banker, cuts
from scenarios.spanner.cluster import LOCATION, Universe
from scenarios.spanner.ownership import ONE_OWNER, ROWS, check_ownership
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.client import SpannerError
from services.spanner.keys import KeyRange
from sim import World, scenario
from sim.faults import Crash

GONE_ON = "moves end"
BALANCED = "the driver moves what is hot to a group of an idle server"
WITHIN = 60.0  # seconds for that
UNEVEN = 30.0  # requests a second by which servers may differ
DYING = 0.1  # seconds after the beginning of a move within which the driver is killed
DOWN = 1.0  # seconds until another driver is there
STOPPING = 2.0  # seconds until the last step of a move that was under way is over
ENDING = 60.0  # seconds for a move to end, the driver's death and all


@scenario(
    checks=(*PROMISES, TOTAL, INVARIANTS, ONE_OWNER, ROWS, BALANCED, GONE_ON),
    plots=("groups",),
    limit_s=600,
)
async def movedir_under_load(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=2, le=20)] = 3,
    accounts: Annotated[int, Meta(ge=4, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    moves: Annotated[int, Meta(ge=1, le=100)] = 4,
    crashes: bool = True,
    locking: bool = True,
) -> None:
    """Directories are moved under load, and the driver is killed at it; nothing is lost, nothing is twice."""
    driver = {
        "locking": locking,
        "every": 0.5,
        "limits": {"uneven": UNEVEN, "patience_s": 1.0, "least": groups},
    }
    universe = Universe(world, SCHEMA, cuts(accounts, groups), driver=driver)
    await universe.start()
    bankers = [
        Banker(universe, f"c{number}", accounts, zone=f"z{1 + (number - 1) % 3}")
        for number in range(1, clients + 1)
    ]
    await bankers[0].open_accounts()
    auditor = Banker(universe, "auditor", accounts)
    check_total(world, await auditor.audit(), accounts)
    since = auditor.read_at
    over = asyncio.Event()
    await _balanced(world, universe, accounts // groups, accounts)
    working = [world.spawn(banker.work(over, pause=0.02)) for banker in bankers]
    chance = world.stream("moves")
    table = SCHEMA.table(TABLE)
    for number in range(moves):
        start = chance.randrange(accounts - 1)
        end = chance.randint(start + 1, accounts)
        range_ = KeyRange(table.key([start]), table.key([end]))
        target = chance.randint(1, groups)
        moving = world.spawn(_moved(universe, range_, target))
        if crashes and number % 2 == 0:
            await asyncio.sleep(chance.uniform(0, DYING))
            crash = await world.inject(Crash(host=LOCATION))
            await asyncio.sleep(DOWN)
            await world.lift(crash)
        began = world.now()
        await moving
        await _settled(universe)
        world.check(GONE_ON, world.now() - began < ENDING, f"move {number} ends")
        check_total(world, await auditor.audit(), accounts)
    over.set()
    await asyncio.gather(*working)
    check_total(world, await auditor.audit(), accounts)
    await world.stop(LOCATION)  # the driver would go on
    await asyncio.sleep(STOPPING)
    await check_ownership(world, universe, accounts, since, auditor.read_at)
    world.measure("transfers", sum(banker.committed for banker in bankers))
    await universe.close()
    check_invariants(world)


async def _balanced(world: World, universe: Universe, own: int, accounts: int) -> None:
    """Has clients use what group 1 has only, until the driver has moved some of it elsewhere."""
    over = asyncio.Event()
    names = ("h1", "h2", "h3")
    hot = [Banker(universe, name, accounts, among=range(own)) for name in names]
    working = [world.spawn(banker.work(over, pause=0.02)) for banker in hot]
    table = SCHEMA.table(TABLE)
    until = world.now() + WITHIN
    there: set[int] = set()
    while len(there) < 2 and world.now() < until:
        await asyncio.sleep(0.5)
        with suppress(SpannerError):
            found = (await universe.universe_status()).fragments
            there = {
                one.group
                for one in found
                if one.range.start < table.key([own]) and one.range.end > table.key([0])
            }
    over.set()
    await asyncio.gather(*working)
    world.check(BALANCED, len(there) > 1, f"accounts of group 1 are in groups {sorted(there)} in the end")


async def _moved(universe: Universe, range_: KeyRange, target: int) -> None:
    """Has a range moved; asks again where the universe master died, until one does it."""
    while True:
        try:
            await universe.move(range_, target)
        except SpannerError:
            await asyncio.sleep(0.2)
        else:
            return


async def _settled(universe: Universe) -> None:
    """Returns when no move is registered."""
    while (await universe.universe_status()).moves:
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    movedir_under_load.main()
