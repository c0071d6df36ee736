"""Leadership is given away on notice, under load: hardly a commit is late. Then the new leader is killed, and
all wait for the end of its lease.

Who gives leadership away takes no more timestamps, waits until all it has taken have passed, releases its
votes and tells another one to stand (4.1.1). Nobody waits for a lease. `--set notice=false` kills the first
leader, too.

    dsim run spanner/leader-handover --set lease=10
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.leading import hand_over, lease_of, longest_silence
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario
from sim.faults import Crash

GROUP = 1  # whose leadership is given away
LATE = "commits go on"
PER_GROUP = 4  # accounts


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, "another leads", LATE), plots=("groups",), limit_s=600)
async def leader_handover(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=1, le=50)] = 3,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    before: Annotated[float, Meta(gt=0, le=600)] = 1.0,
    lease: Annotated[float, Meta(gt=0.5, le=60)] = 3.0,
    notice: bool = True,
) -> None:
    """Leadership is given away on notice, and hardly a commit is late; then the new leader is killed."""
    accounts = PER_GROUP * groups
    universe = Universe(world, SCHEMA, cuts(accounts, groups), paxos=lease_of(lease))
    await universe.start()
    # Half of them keep to the group; the others' transactions are of all groups.
    bankers = [
        Banker(universe, f"c{number}", accounts, among=range(PER_GROUP) if number % 2 else None)
        for number in range(1, clients + 1)
    ]
    await bankers[0].open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over, pause=0.02)) for banker in bankers]
    await asyncio.sleep(before)

    began, old = world.now(), await universe.leader(GROUP)
    killed = []
    if notice:
        await hand_over(universe, GROUP, old)
    else:
        killed.append(await world.inject(Crash(host=old)))
    new = await universe.leader(GROUP, other_than=old)
    world.check("another leads", new != old, f"{new} leads group {GROUP} instead of {old}")
    await asyncio.sleep(before)
    given = longest_silence(bankers[::2], began, world.now())
    how = "handed over" if notice else "killed"
    world.measure(f"without a commit when {how}", round(given, 3), unit="s")
    world.check(LATE, given < lease / 4, f"{given:.3f} s without a commit, leases of {lease:g} s")

    if notice:
        began = world.now()
        killed.append(await world.inject(Crash(host=new)))
        await universe.leader(GROUP, other_than=new)
        await asyncio.sleep(before)
        died = longest_silence(bankers[::2], began, world.now())
        world.measure("without a commit when killed", round(died, 3), unit="s")
    for fault in killed:
        await world.lift(fault)
    over.set()
    await asyncio.gather(*working)
    check_total(world, await Banker(universe, "auditor", accounts).audit(), accounts)
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    leader_handover.main()
