"""Reads of the past, at the nearest replica: how old they are allowed to be, and how old they are.

While clients write, others read all accounts with each kind of bound: exactly so long ago, at most so long
ago, and at a timestamp that was read before. Each sees the database as it was at one moment (4.1.3), never
older than its bound. Look at the last panel of the picture: reads with `exact_staleness` are as old as they
say, those with `max_staleness` hardly older than what was applied last.

    dsim run spanner/stale-reads --set staleness=8
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario

ROUNDS = 10
BOUND = "no read is older than its bound"
SLACK = 50_000_000  # ns: what the server takes for now may be wrong by ε


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, "every read was made", BOUND), plots=("groups",), limit_s=600)
async def stale_reads(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=1, le=50)] = 3,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 3,
    staleness: Annotated[float, Meta(gt=0, le=60)] = 1.0,
) -> None:
    """Reads of the past, at the nearest replica: how old they may be, and how old they are."""
    universe = Universe(world, SCHEMA, cuts(accounts, groups))
    await universe.start()
    bankers = [Banker(universe, f"c{number}", accounts) for number in range(1, clients + 1)]
    await bankers[0].open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over)) for banker in bankers]
    await asyncio.sleep(2 * staleness)
    old = round(staleness * 1e9)
    readers = [Banker(universe, f"r{number}", accounts, zone=f"z{number}") for number in (1, 2, 3)]

    async def read(reader: Banker) -> None:
        for _ in range(ROUNDS):
            for bound in ({"exact_staleness": old}, {"max_staleness": old}):
                least = world.client(reader.name).clock.time_ns() - old - SLACK
                total = await reader.audit(**bound)
                age = (reader.read_at - least - SLACK) / 1e9
                world.check(BOUND, reader.read_at >= least, f"{reader.name}: newer by {age:.3f} s")
                world.check("every read was made", total is not None, f"{reader.name}: {bound}")
                check_total(world, total, accounts)
            await asyncio.sleep(0.1)

    await asyncio.gather(*(read(reader) for reader in readers))
    over.set()
    await asyncio.gather(*working)
    check_total(world, await readers[0].audit(), accounts)
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    stale_reads.main()
