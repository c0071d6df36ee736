"""A zone is cut off from the others: on its side nothing is written, and the past can still be read.

A minority has no quorum: who leads there stops when its lease is over, and no new leader is found (4.1.1).
What was applied there before can be read for ever: a read at a timestamp needs nobody else, if t_safe is
beyond it (4.1.3). A read of the present waits until the other side is heard again, where life goes on.
Locks that the minority's clients have on the other side are freed when their transactions have not been heard
of for `idle` seconds. `--set age=0` asks the minority for the present. Look in the picture at the leader that
goes on until its lease is over and commits nothing, and at how old is what is read meanwhile.

    dsim run spanner/partition --set lease=10
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
from sim.faults import Partition

MINORITY = "the minority commits nothing"
PAST = "the past can be read on the minority's side"
GOES_ON = "the majority goes on"
HEALS = "the minority goes on when the partition is over"
SPARE = 2.0  # seconds
READS = 10


@scenario(
    checks=(*PROMISES, TOTAL, INVARIANTS, MINORITY, PAST, GOES_ON, HEALS), plots=("groups",), limit_s=600
)
async def partition(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=30)] = 3,
    groups: Annotated[int, Meta(ge=1, le=50)] = 3,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 3,
    lease: Annotated[float, Meta(ge=0.6, le=60)] = 2.0,
    idle: Annotated[float, Meta(ge=3.5, le=60)] = 4.0,
    seconds: Annotated[float, Meta(ge=1, le=600)] = 4.0,
    age: Annotated[float, Meta(ge=0, le=10)] = 1.0,
) -> None:
    """A zone is cut off: on its side nothing is written, and the past can still be read."""
    universe = Universe(
        world,
        SCHEMA,
        cuts(accounts, groups),
        servers,
        paxos=lease_of(lease),
        transactions={"idle_transaction_s": idle},
    )
    await universe.start()
    majority = [Banker(universe, f"c{number}", accounts) for number in range(1, clients + 1)]
    minority = Banker(universe, "lonely", accounts, zone=ZONES[0], timeout=1.0)
    reader = Banker(universe, "reader", accounts, zone=ZONES[0], timeout=1.0)
    await majority[0].open_accounts()
    for one in (minority, reader):
        await one.audit()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over)) for banker in (*majority, minority)]
    await asyncio.sleep(2.0)

    far = [name for name in universe.names if universe.zones[name] != ZONES[0]]
    near = [name for name in universe.names if universe.zones[name] == ZONES[0]]
    near += [one["name"] for one in MASTERS if one["zone"] == ZONES[0]]
    far += [one["name"] for one in MASTERS if one["zone"] != ZONES[0]]
    near += [minority.name, reader.name]
    far += [banker.name for banker in majority]
    began = world.now()
    moment = world.client(reader.name).clock.time_ns() - round(age * 1e9)
    cut = await world.inject(Partition(groups=[near, far]))
    await asyncio.sleep(max(lease, idle) + SPARE)
    count = minority.committed
    since = world.now()
    served = [
        await reader.audit(read_timestamp=moment + round(age * 1e9) * number // (2 * READS))
        for number in range(READS)
    ]
    for total in served:
        check_total(world, total, accounts)
    read = sum(total is not None for total in served)
    world.check(PAST, read == READS, f"{read} of {READS} reads at timestamps from {age:g} s before it began")
    await asyncio.sleep(max(0.0, seconds - (world.now() - since)))
    world.check(MINORITY, minority.committed == count, f"{minority.committed - count} commits")
    silent = longest_silence(majority, since, world.now())
    world.check(GOES_ON, silent < seconds / 2, f"at most {silent:.3f} s without a commit")
    world.measure("without a commit, majority", round(longest_silence(majority, began, since), 3), unit="s")

    await world.lift(cut)
    healed = world.now()
    while minority.committed == count and world.now() < healed + 10 * SPARE:
        await asyncio.sleep(0.01)
    took = world.now() - healed
    world.measure("the minority commits again after", round(took, 3), unit="s")
    world.check(HEALS, minority.committed > count and took < 5 * SPARE, f"{took:.3f} s later")
    over.set()
    await asyncio.gather(*working)
    check_total(world, await reader.audit(), accounts)
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    partition.main()
