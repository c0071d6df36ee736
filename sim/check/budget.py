"""What a check may spend: time, and memory in positions of the search."""

from __future__ import annotations

import time

POSITIONS = 2_000_000  # remembered at most, by default: some 300 MB
GLANCE = 256  # steps between two looks at the clock


class GaveUp(Exception):
    """The search was not over when it had to end; the text says which limit that was."""


class Budget:
    """What a check may spend, on all its parts together.

    Args:
        seconds: of real time; None: as long as it takes.
        positions: remembered at the same time.
        steps: of the search; unlike seconds, the same on every machine.
    """

    def __init__(
        self, seconds: float | None = None, positions: int = POSITIONS, steps: int | None = None
    ) -> None:
        self.positions = positions
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._limit = steps
        self._steps = 0

    def step(self) -> None:
        """A step is made.

        Raises:
            GaveUp: there were too many, or the time is over.
        """
        self._steps += 1
        if self._limit is not None and self._steps > self._limit:
            raise GaveUp(f"no answer within {self._limit:,} steps of the search")
        if self._steps % GLANCE == 0:
            self.look()

    def look(self) -> None:
        """Looks at the clock.

        Raises:
            GaveUp: the time is over.
        """
        if self._end is not None and time.monotonic() > self._end:
            raise GaveUp(f"no answer within {self._seconds:g} s")
