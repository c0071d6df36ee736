"""Leaders are paused for longer than their lease, or cut off with a slow crystal: no two lead at once.

A leader's lease is counted from before it asks for votes, a vote from after it is asked for, both in TrueTime
(Appendix A): so whoever votes for another knows that the former leader knows that its lease is over. That
rests on clocks that keep to their bound, or are evicted where they do not (section 3).

    dsim run spanner/lease-disjoint --set drift=0.6 --set evict=false

has a crystal that is off by far more than is taken for the worst, and nobody looks: the leader that is cut
off goes on to lead, next to a new one, and its clients read what was overwritten long ago. With `evict` only
TrueTime is broken, until the next poll.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker
from scenarios.spanner.cluster import Universe
from scenarios.spanner.leading import Watch, lease_of
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario
from sim.faults import ClockDrift, Partition, Pause

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE = "no two lead at once"
FOLLOWED = "each leader is followed by another"
NEVER = 1e6  # seconds
BOUND = 0.00018  # seconds a second: nine tenths of what is taken for the worst


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, ONE, FOLLOWED), plots=("groups",), limit_s=600)
async def lease_disjoint(
    world: World,
    *,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 4,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    rounds: Annotated[int, Meta(ge=1, le=50)] = 2,
    lease: Annotated[float, Meta(ge=1, le=60)] = 2.0,
    drift: Annotated[float, Meta(ge=0, le=0.9)] = BOUND,
    evict: bool = True,
) -> None:
    """Leaders are paused for longer than their lease, or cut off with a slow crystal: no two lead at once."""
    # A host that asks the masters but once cannot find its crystal out.
    poll = lease / 4 if evict else NEVER
    universe = Universe(world, SCHEMA, paxos=lease_of(lease), truetime={"poll_s": poll})
    await universe.start()
    bankers = [Banker(universe, f"c{number}", accounts) for number in range(1, clients + 1)]
    loyal = Banker(universe, "loyal", accounts, timeout=3 * lease)
    everybody = [*(banker.name for banker in bankers), "operator"]
    await bankers[0].open_accounts()
    await loyal.audit()
    over = asyncio.Event()
    watch = Watch(universe, 1)
    looking = world.spawn(watch.look(over))
    working = [
        *(world.spawn(banker.work(over)) for banker in bankers),
        world.spawn(read_on(world, loyal, over)),
    ]
    await asyncio.sleep(lease / 2)

    for number in range(2 * rounds):
        old = await universe.leader(1)
        rest = [name for name in universe.names if name != old]
        if number % 2 == 0:
            faults = [await world.inject(Pause(host=old))]
        else:
            # Everybody can see all servers; but those of one side do not see the other's.
            sides = [[old, loyal.name], [*rest, *everybody[:-1]]]
            faults = [await world.inject(ClockDrift(host=old, rate=-drift))]
            fast = min(drift, BOUND)
            faults += [await world.inject(ClockDrift(host=name, rate=fast)) for name in rest]
            faults.append(await world.inject(Partition(groups=sides)))
        new = await another(universe, rest, lease)
        world.check(FOLLOWED, bool(new), f"{old} by {new or 'nobody'}")
        await asyncio.sleep(2 * lease)
        for fault in reversed(faults):
            await world.lift(fault)
        await asyncio.sleep(lease)

    over.set()
    await asyncio.gather(*working, looking)
    both, who = watch.together()
    world.check(
        ONE,
        not both,
        f"{who} for {both:.3f} s" if both else f"{len(watch.reigns)} reigns, one after the other",
    )
    check_total(world, await bankers[0].audit(), accounts)
    await universe.close()
    check_invariants(world)


async def read_on(world: World, reader: Banker, over: asyncio.Event) -> None:
    """Reads all accounts again and again, at the leader that the reader knows."""
    while not over.is_set():
        check_total(world, await reader.audit(), reader.accounts)
        await asyncio.sleep(0.05)


async def another(universe: Universe, rest: Sequence[str], lease: float) -> str:
    """Returns which of these servers leads; "" when none does within ten leases."""
    deadline = universe.world.now() + 10 * lease
    while universe.world.now() < deadline:
        for name in rest:
            status = await universe.status(name)
            if status is not None and any(one.term for one in status.groups):
                return name
        await asyncio.sleep(0.05)
    return ""


if __name__ == "__main__":
    lease_disjoint.main()
