"""Clients move money between accounts of several groups; the whole, added up at any moment, stays the same.

Transfers take two accounts, often of two groups: then they are committed in two phases (4.2.1). Meanwhile
others read all accounts at one moment, without locks (4.2.2): strongly, or some time ago. The history is held
against what Spanner promises: strict serializability, reads as the commit timestamps tell them, timestamps
that agree with real time.

    dsim run spanner/bank --set groups=6 --set clients=10
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario

AUDITS = 0.2  # seconds between two
STALE = 0.1  # seconds ago


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS), plots=("groups", "commit-wait"), limit_s=600)
async def bank(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=30)] = 3,
    groups: Annotated[int, Meta(ge=1, le=50)] = 3,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 5.0,
) -> None:
    """Clients move money between accounts of several groups; the whole stays the same at any moment."""
    universe = Universe(world, SCHEMA, cuts(accounts, groups), servers)
    await universe.start()
    bankers = [
        Banker(universe, f"c{number}", accounts, zone=f"z{1 + (number - 1) % 3}")
        for number in range(1, clients + 1)
    ]
    await bankers[0].open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over)) for banker in bankers]
    auditor = Banker(universe, "auditor", accounts, zone="z2")
    await asyncio.sleep(2 * STALE)  # until then, some time ago there was nothing
    end = world.now() + seconds
    while world.now() < end:
        check_total(world, await auditor.audit(), accounts)
        check_total(world, await auditor.audit(exact_staleness=round(STALE * 1e9)), accounts)
        await asyncio.sleep(AUDITS)
    over.set()
    await asyncio.gather(*working)
    check_total(world, await auditor.audit(), accounts)
    latencies = sorted(one for banker in bankers for one in banker.latencies)
    world.measure("transfers", len(latencies))
    world.measure("median latency", round(latencies[len(latencies) // 2], 4), unit="s")
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    bank.main()
