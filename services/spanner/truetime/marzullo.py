"""What time it is, by several clocks of which some may lie (Marzullo and Owicki, 1983).

Each clock gives an interval. One that is right contains absolute time; of `n` clocks at most `f` are wrong,
so absolute time is a point that at least `n - f` intervals contain. The answer is the smallest interval with
all such points. An interval that has none of them is a lie.

The variant is in what is assumed. Marzullo's algorithm as it is mostly told (in NTP, for one) takes the
points that the *most* intervals contain. That finds a liar who is alone; but liars who agree with each other
on a time inside the wide intervals of far masters outvote the narrow ones of near masters, though they are
fewer. What is here is right whatever `f` liars say, and as certain as the worst of the best `n - f`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Agreement(NamedTuple):
    """What clocks agree on.

    Attributes:
        low, high: absolute time lies between them, both included.
        liars: the places, among the intervals given, of those that have nothing in common with the others.
    """

    low: int
    high: int
    liars: tuple[int, ...]


def agree(intervals: Sequence[tuple[int, int]], liars: int) -> Agreement | None:
    """Returns what intervals agree on.

    Args:
        intervals: (low, high) of each clock, both included.
        liars: how many of them may be wrong (`f`).

    Returns:
        None if more than that must be wrong, or if all may be.
    """
    need = len(intervals) - liars
    if need <= 0:
        return None
    ends = sorted(
        [(low, 0) for low, _ in intervals] + [(high, 1) for _, high in intervals]
    )  # what begins at a point comes before what ends there
    regions: list[tuple[int, int]] = []
    cover = 0
    for at, ending in ends:
        if not ending:
            cover += 1
            if cover == need:
                since = at
        else:
            if cover == need:
                regions.append((since, at))
            cover -= 1
    if not regions:
        return None
    wrong = tuple(
        place
        for place, (low, high) in enumerate(intervals)
        if not any(low <= until and since <= high for since, until in regions)
    )
    return Agreement(regions[0][0], regions[-1][1], wrong)
