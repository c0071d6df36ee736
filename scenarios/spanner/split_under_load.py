"""The placement driver splits a group because much is asked of it, and merges what nobody asks for any more.

Clients move money between accounts of one group. The placement driver (2) sees how much is asked of it, and
of which half of its keys: half goes to a new group, and again, until none is hot. A placement option (2.2)
asks for other replicas, a witness and a read-only one: the membership of a group never changes, so that is
new groups, moves, and a drop of the old ones. A server dies for good: its replicas are made on another one
of its zone. When the clients rest, neighbours become one group again. No row is lost or there twice
(invariant 17).

    dsim run spanner/split-under-load --set accounts=60
    dsim run spanner/split-under-load --set hottest=0 --set largest=2000
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker
from scenarios.spanner.cluster import LOCATION, Universe
from scenarios.spanner.ownership import ONE_OWNER, ROWS, check_ownership
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.client import SpannerError
from services.spanner.placement.system import USER_RANGE
from sim import World, scenario
from sim.faults import Crash

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import spanner_pb2 as pb

SPLIT = "what is hot, or large, is split"
PLACED = "replicas are as their option says"
REPLACED = "replicas of a server that died are made elsewhere"
MERGED = "what is cold becomes one group again"
WITHIN = 90.0  # seconds for the driver to do it
STOPPING = 2.0  # seconds until the last step of a move that was under way is over
PATIENCE = 1.0  # seconds for which it must have been hot, or cold
SILENT = 4.0  # seconds after which a server counts as gone
OPTION = "z1 z2 z3:witness z3:read-only"
WANTED = {("z1", "read-write"), ("z2", "read-write"), ("z3", "witness"), ("z3", "read-only")}


@scenario(
    checks=(*PROMISES, TOTAL, INVARIANTS, ONE_OWNER, ROWS, SPLIT, PLACED, REPLACED, MERGED),
    plots=("groups",),
    limit_s=600,
)
async def split_under_load(
    world: World,
    *,
    accounts: Annotated[int, Meta(ge=4, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 3,
    hottest: Annotated[float, Meta(ge=0)] = 50.0,
    largest: Annotated[int, Meta(ge=1000)] = 1_000_000,
    pause: Annotated[float, Meta(ge=0, le=10)] = 0.03,
) -> None:
    """A hot group is split, gets other replicas, loses a server, and is merged when cold; nothing is lost."""
    limits = {
        "hottest": hottest,
        "coldest": 1.0,
        "largest": largest,
        "smallest": largest // 2,
        "patience_s": PATIENCE,
        "silent_s": SILENT,
    }
    universe = Universe(world, SCHEMA, servers=9, driver={"every": 0.5, "limits": limits})
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
    working = [world.spawn(banker.work(over, pause)) for banker in bankers]

    split = await _becomes(world, universe, lambda status: len(_owners(status)) > 1)
    world.check(SPLIT, split, f"within {WITHIN:g} s")
    check_total(world, await auditor.audit(), accounts)
    await universe.place(USER_RANGE, OPTION)
    placed = await _becomes(
        world, universe, lambda status: all(_kinds(each) == WANTED for each in _owners(status).values())
    )
    world.check(PLACED, placed, f"within {WITHIN:g} s")
    check_total(world, await auditor.audit(), accounts)

    root = [one.server for one in universe.plan.root_group.members]
    owners = _owners(await universe.universe_status()).values()
    victims = [name for each in owners for name, _, _ in sorted(each) if name not in root]
    if victims:
        await world.inject(Crash(host=victims[0]))
    replaced = await _becomes(
        world,
        universe,
        lambda status: all(
            _kinds(each) == WANTED and victims[:1] not in [[name] for name, _, _ in each]
            for each in _owners(status).values()
        ),
    )
    world.check(REPLACED, replaced, f"{victims[:1]}, within {WITHIN:g} s")
    check_total(world, await auditor.audit(), accounts)

    over.set()
    await asyncio.gather(*working)
    merged = await _becomes(
        world, universe, lambda status: len(_owners(status)) == 1 and len(_hosted(status)) == 1
    )
    world.check(MERGED, merged, f"within {WITHIN:g} s")
    check_total(world, await auditor.audit(), accounts)
    await world.stop(LOCATION)  # the driver would go on
    await asyncio.sleep(STOPPING)
    await check_ownership(world, universe, accounts, since, auditor.read_at)
    world.measure("transfers", sum(banker.committed for banker in bankers))
    await universe.close()
    check_invariants(world)


def _kinds(members: set[tuple[str, str, str]]) -> set[tuple[str, str]]:
    return {(zone, kind) for _, zone, kind in members}


def _owners(status: pb.UniverseStatus) -> dict[int, set[tuple[str, str, str]]]:
    """Returns the groups that have something of the user's, each with its replicas: server, zone, kind."""
    members = {
        group.group: {(one.server, one.zone, one.kind) for one in group.members}
        for server in status.servers
        for group in server.groups
    }
    return {one.group: members.get(one.group, set()) for one in status.fragments if one.group}


def _hosted(status: pb.UniverseStatus) -> set[int]:
    """Returns the groups besides the root of which some server has a replica."""
    return {group.group for server in status.servers for group in server.groups if group.group}


async def _becomes(world: World, universe: Universe, so: Callable[[pb.UniverseStatus], bool]) -> bool:
    """Waits until something is so, and says whether it came to that."""
    until = world.now() + WITHIN
    while world.now() < until:
        try:
            if so(await universe.universe_status()):
                return True
        except SpannerError:
            pass  # the root is without a leader for a moment
        await asyncio.sleep(0.2)
    return False


if __name__ == "__main__":
    split_under_load.main()
