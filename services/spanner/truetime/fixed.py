"""TrueTime without masters: the host's wall clock, taken to be right within a fixed uncertainty.

For tests, and for experiments in which ε is a number that one chooses. Whether the clock is as right as
that is up to the world; a claim that does not hold is seen there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.truetime.interval import Interval
from services.spanner.truetime.waiting import FromNow

if TYPE_CHECKING:
    from services.host import Clock


class FixedTrueTime(FromNow):
    """TrueTime with an ε that stays as it is set; implements `TrueTime`.

    Args:
        clock: the host's.
        epsilon_ns: half the width of its intervals, in nanoseconds; 0 for a perfect clock.

    Attributes:
        epsilon_ns: may be set at any time.

    Raises:
        ValueError: ε is negative.
    """

    def __init__(self, clock: Clock, epsilon_ns: int = 0) -> None:
        if epsilon_ns < 0:
            raise ValueError(f"an uncertainty of {epsilon_ns} ns: must be 0 or more")
        super().__init__()
        self._clock = clock
        self.epsilon_ns = epsilon_ns

    def now(self) -> Interval:
        """Returns the wall clock's time, ε to either side."""
        time = self._clock.time_ns()
        earliest, latest = time - self.epsilon_ns, time + self.epsilon_ns
        self._clock.claim(earliest, latest)
        now = self.last = Interval(earliest, latest)
        return now
