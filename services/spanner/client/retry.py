"""How long a client waits before it tries again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FIRST = 0.005  # seconds
MOST = 1.0  # seconds
FACTOR = 1.6


class Backoff:
    """Waits that grow, each drawn between half and the whole of what it may be, so that clients part.

    Args:
        chance: the host's.
        most: seconds that a wait may be at most, except where the server asks for more.
    """

    def __init__(self, chance: random.Random, most: float = MOST) -> None:
        self._chance = chance
        self._most = most
        self._next = FIRST

    def next(self, at_least: float = 0.0) -> float:
        """Returns the next wait, in seconds.

        Args:
            at_least: what the server asked for.
        """
        wait = self._next * self._chance.uniform(0.5, 1.0)
        self._next = min(self._next * FACTOR, self._most)
        return max(wait, at_least * self._chance.uniform(1.0, 1.5))
