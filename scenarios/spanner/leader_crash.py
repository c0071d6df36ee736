"""The leader of a group is killed: when its lease is over another one leads, and nothing that was committed
is lost.

Locks die with their leader, so transactions that had some are run again. What was prepared is in the log: the
new leader takes those locks again and asks the coordinators (4.2.1). The group serves no writes until the
lease is over (4.1.1). Look in the picture at the pale rest of the lease, at what is prepared and in doubt
until the new leader can be asked, and at the operations that began before and ended after it.

    dsim run spanner/leader-crash --set lease=10
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario
from sim.faults import Crash

VICTIM = 1  # the group whose leader dies


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, "another leads"), plots=("groups",), limit_s=600)
async def leader_crash(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=1, le=50)] = 3,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    before: Annotated[float, Meta(gt=0, le=600)] = 1.0,
    downtime: Annotated[float, Meta(gt=0, le=600)] = 5.0,
    lease: Annotated[float, Meta(gt=0.5, le=60)] = 3.0,
) -> None:
    """The leader of a group is killed: another one leads, and nothing that was committed is lost."""
    seconds = 1_000_000_000
    paxos = {"lease": round(lease * seconds), "renew": round(lease * 0.4 * seconds)}
    universe = Universe(world, SCHEMA, cuts(accounts, groups), paxos=paxos)
    await universe.start()
    bankers = [Banker(universe, f"c{number}", accounts) for number in range(1, clients + 1)]
    await bankers[0].open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over)) for banker in bankers]
    await asyncio.sleep(before)

    old = await universe.leader(VICTIM)
    crash = await world.inject(Crash(host=old))
    died = world.now()
    new = await universe.leader(VICTIM, other_than=old)
    world.measure("another leads after", round(world.now() - died, 3), unit="s")
    world.check("another leads", new != old, f"{new} leads group {VICTIM} instead of {old}")
    auditor = Banker(universe, "auditor", accounts)
    check_total(world, await auditor.audit(), accounts)

    await asyncio.sleep(downtime)
    await world.lift(crash)
    await asyncio.sleep(1.0)
    check_total(world, await auditor.audit(), accounts)
    over.set()
    await asyncio.gather(*working)
    check_total(world, await auditor.audit(), accounts)
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    leader_crash.main()
