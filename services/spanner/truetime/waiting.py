"""What follows from `TT.now`: `after`, `before` and the wait, the same for every kind of TrueTime."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from services.spanner.truetime.interval import Interval

_SECOND = 1_000_000_000

RETRY_S = 0.1
"""Seconds after which a wait of a host that does not know the time looks again whether it does."""


class FromNow:
    """The rest of `TrueTime` from `now`. Where that raises `Unsynchronized`, nothing is certain."""

    def now(self) -> Interval:
        """Returns the interval; see `TrueTime.now`."""
        raise NotImplementedError

    def after(self, t: int) -> bool:
        """Says whether `t` (ns) has certainly passed."""
        try:
            return t < self.now().earliest
        except Unsynchronized:
            return False

    def before(self, t: int) -> bool:
        """Says whether `t` (ns) has certainly not arrived."""
        try:
            return t > self.now().latest
        except Unsynchronized:
            return False

    async def until_after(self, t: int) -> None:
        """Waits until `after(t)`. A host that does not know the time waits until it knows it again."""
        while True:
            try:
                left = t - self.now().earliest
            except Unsynchronized:
                await asyncio.sleep(RETRY_S)
                continue
            if left < 0:
                return
            # Timers count another time than this host's clock: what they leave is waited for again.
            await asyncio.sleep((left + 1) / _SECOND)
