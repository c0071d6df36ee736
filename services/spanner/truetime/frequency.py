"""Whether a crystal keeps to the rate that is taken for granted, as the masters' answers show it.

Two polls say between which bounds absolute time went on in between, and the crystal says how long that was.
Where even the bounds that suit it best do not fit its own count, it runs too fast or too slow. What the round
trips
leave open is the less the longer one looks: so a poll is held against several before it.
"""

from __future__ import annotations

from collections import deque

from services.spanner.truetime.settings import slack

DEPTH = 10
"""Polls that are remembered. Two round trips of 2 ms in 10 polls of 30 s leave 7 µs a second open."""


class Frequency:
    """The rate of one crystal.

    Args:
        growth: what is taken for granted, as `settings.growth` has it.
    """

    def __init__(self, growth: int) -> None:
        self._growth = growth
        self._polls: deque[tuple[int, int, int]] = deque(maxlen=DEPTH)

    def see(self, at: int, low: int, high: int) -> float:
        """Takes what a poll gave.

        Args:
            at: ns of the crystal's count.
            low, high: ns; absolute time then.

        Returns:
            0.0 where that fits the polls before it; otherwise how fast the crystal runs at least (negative:
            slow), in seconds a second, and all polls before this one are forgotten.
        """
        for then, lowest, highest in self._polls:
            elapsed = at - then
            open_ = slack(elapsed, self._growth)
            too_fast = lowest + elapsed - open_ - high
            too_slow = low - (highest + elapsed + open_)
            if too_fast > 0 or too_slow > 0:
                self._polls.clear()
                self._polls.append((at, low, high))
                if too_fast > 0:
                    return (elapsed - (high - lowest)) / max(1, high - lowest)
                return (elapsed - (low - highest)) / max(1, low - highest)
        self._polls.append((at, low, high))
        return 0.0

    def forget(self) -> None:
        """Forgets all polls."""
        self._polls.clear()
