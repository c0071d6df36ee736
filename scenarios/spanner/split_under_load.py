"""A group grows and is split while clients move money, then gets other replicas.

The placement driver (2) sees how much each group has. Half of what a large one has goes to a new group with
as many replicas in the same zones. Then a placement option (2.2) asks for other replicas: a witness and a
read-only one. The membership of a group never changes, so that is a new group, moves, and a drop of the old
ones. No row is lost or there twice (invariant 17).

    dsim run spanner/split-under-load --set accounts=60
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker
from scenarios.spanner.cluster import LOCATION, Universe
from scenarios.spanner.ownership import ONE_OWNER, ROWS, check_ownership
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.placement.system import USER_RANGE
from sim import World, scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import spanner_pb2 as pb

SPLIT = "a large group is split"
PLACED = "replicas are as their option says"
WITHIN = 60.0  # seconds for the driver to do it
STOPPING = 2.0  # seconds until the last step of a move that was under way is over
LARGEST = 2000  # bytes of a group
OPTION = "z1 z2 z3:witness z3:read-only"


@scenario(
    checks=(*PROMISES, TOTAL, INVARIANTS, ONE_OWNER, ROWS, SPLIT, PLACED), plots=("spacetime",), limit_s=600
)
async def split_under_load(
    world: World,
    *,
    accounts: Annotated[int, Meta(ge=4, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 3,
) -> None:
    """A group is split as it grows, then gets other replicas, while clients move money; nothing is lost."""
    driver = {"every": 0.5, "limits": {"largest": LARGEST}}
    universe = Universe(world, SCHEMA, servers=6, driver=driver)
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
    working = [world.spawn(banker.work(over)) for banker in bankers]

    split = await _becomes(world, universe, lambda status: len(_owners(status)) > 1)
    world.check(SPLIT, split, f"within {WITHIN:g} s")
    check_total(world, await auditor.audit(), accounts)
    await universe.place(USER_RANGE, OPTION)
    wanted = {("z1", "read-write"), ("z2", "read-write"), ("z3", "witness"), ("z3", "read-only")}
    placed = await _becomes(
        world, universe, lambda status: all(kinds == wanted for kinds in _owners(status).values())
    )
    world.check(PLACED, placed, f"within {WITHIN:g} s")
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


def _owners(status: pb.UniverseStatus) -> dict[int, set[tuple[str, str]]]:
    """Returns the groups that have something of the user's, each with the zones and kinds of its replicas."""
    members = {
        group.group: {(one.zone, one.kind) for one in group.members}
        for server in status.servers
        for group in server.groups
    }
    return {one.group: members.get(one.group, set()) for one in status.fragments if one.group}


async def _becomes(world: World, universe: Universe, so: Callable[[pb.UniverseStatus], bool]) -> bool:
    """Waits until something is so, and says whether it came to that."""
    until = world.now() + WITHIN
    while world.now() < until:
        if so(await universe.universe_status()):
            return True
        await asyncio.sleep(0.2)
    return False


if __name__ == "__main__":
    split_under_load.main()
