"""Each key is owned by one group at each timestamp (invariant 17), and no row is lost or there twice.

What a group owns changes in one transaction with the system table that tells of it, so the table, read as it
was at any time, tells what groups owned then; and leaders tell what they own now.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from scenarios.spanner.accounts import OPENING, TABLE
from services.spanner.client import ALL, SpannerError
from services.spanner.placement.steps import FRAGMENT_COLUMNS
from services.spanner.placement.system import FRAGMENTS, ROOT, USER_RANGE

if TYPE_CHECKING:
    from scenarios.spanner.cluster import Universe
    from sim import World

ONE_OWNER = "each key has one owner at each timestamp"
ROWS = "no row is lost or doubled"
MOMENTS = 20  # in the past, that are looked at


async def check_ownership(world: World, universe: Universe, accounts: int, since: int, until: int) -> None:
    """Reads who owned what, and all rows, at moments of the past; compares with leaders at the end.

    Nothing may be moved meanwhile.

    Args:
        world: reported to.
        universe: which.
        accounts: how many rows there are.
        since, until: timestamps.
    """
    database = universe.database("inspector")
    for part in range(MOMENTS + 1):
        moment = since + (until - since) * part // MOMENTS
        try:
            fragments = await database.snapshot(read_timestamp=moment).read(FRAGMENTS, FRAGMENT_COLUMNS, ALL)
            rows = await database.snapshot(read_timestamp=moment).read(TABLE, ("Id", "Balance"), ALL)
        except SpannerError as error:
            world.check(ROWS, False, f"at {moment}: {error}")
            continue
        edges = [USER_RANGE.start, *itertools.chain(*(row[:2] for row in fragments)), USER_RANGE.end]
        whole = (
            all(end == start for end, start in zip(edges[::2], edges[1::2], strict=True))
            if fragments
            else False
        )
        world.check(ONE_OWNER, whole, f"at {moment}: {len(fragments)} fragments")
        sound = [row[0] for row in rows] == list(range(accounts))
        total = sum(row[1] for row in rows)
        world.check(ROWS, sound and total == accounts * OPENING, f"at {moment}: {len(rows)} rows, {total}")
    await database.snapshot().read(
        TABLE, ("Id",), ALL
    )  # wakes groups that have been idle: their leaders tell
    fragments = await database.snapshot().read(FRAGMENTS, FRAGMENT_COLUMNS, ALL)
    told = {(start, end, group) for start, end, group in fragments}
    owned = {
        (part.start, part.end, group.group)
        for status in (await universe.statuses()).values()
        for group in status.groups
        if group.term and group.group != ROOT
        for part in group.owned
    }
    missing = [one for one in told if not any(_within(one, other) for other in owned)]
    world.check(ONE_OWNER, not missing, f"leaders own what the table says; not {missing}" if missing else "")
    ordered = sorted(owned)
    clashes = [pair for pair in itertools.pairwise(ordered) if pair[0][1] > pair[1][0]]
    world.check(ONE_OWNER, not clashes, f"two leaders own the same: {clashes}" if clashes else "")


def _within(one: tuple[bytes, bytes, int], other: tuple[bytes, bytes, int]) -> bool:
    return one[2] == other[2] and other[0] <= one[0] and one[1] <= other[1]
