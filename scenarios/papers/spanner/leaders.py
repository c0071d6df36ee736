"""Which zone each group's leader is in.

In 5.1 leaders are "randomly distributed over the zones", by what rule the paper does not say. Drawn each by
itself, no server would have much more than its share; three spanservers then do 27 K read-only transactions a
second, with a spread of 2.6 over draws, where the paper has 13.8 and a spread of 3.2. Its low mean and its
wide spread both say that leaders stand in clumps, as they do where they stay with the server that was up
first. An urn (Polya's) draws them so: a leader is more likely where there are leaders already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

STRATUM = 10  # draws, of which one is taken


def draw(chance: random.Random, groups: int, zones: int, clumping: float) -> list[int]:
    """Returns a zone (from 0) for each group.

    Args:
        chance: the draws.
        groups, zones: how many.
        clumping: the balls of each zone in the urn at first; each leader adds one.
    """
    counts = [0] * zones
    found = []
    for _ in range(groups):
        (zone,) = chance.choices(range(zones), [clumping + count for count in counts])
        counts[zone] += 1
        found.append(zone)
    return found


def draws(chance: random.Random, groups: int, zones: int, clumping: float, count: int) -> list[list[int]]:
    """Returns so many draws, which differ as many do: stratified by what the zone with most leaders has."""
    found = [draw(chance, groups, zones, clumping) for _ in range(count * STRATUM)]
    found.sort(key=most)
    taken = [found[place * STRATUM + STRATUM // 2] for place in range(count)]
    chance.shuffle(taken)
    return taken


def most(leaders: list[int]) -> int:
    """Returns how many the zone has that has most."""
    return max(leaders.count(zone) for zone in leaders)
