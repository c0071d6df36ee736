"""How much is asked of a replica, and where among its keys: what the placement driver splits by (2.2)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.spanner.keys import KeyRange

KEPT = 128  # of the last requests, the keys
LEAST = 16  # keys without which nothing is said of the half of them
SHARE = 0.25  # of the requests that must be on either side of a cut
WINDOW = 1.0  # seconds over which a rate is taken, at least


class Load:
    """Counts requests, and remembers the first key of the last ones.

    It costs an increment and an assignment a request; rates and halves are worked out when somebody asks.
    """

    __slots__ = ("_counted", "_keys", "_rate", "_since", "count")

    def __init__(self) -> None:
        self.count = 0
        self._keys: list[bytes] = []
        self._counted = 0
        self._rate = 0.0
        self._since = 0.0

    def note(self, key: bytes) -> None:
        """Notes a request that is about a key, and perhaps others after it."""
        self.count += 1
        if len(self._keys) < KEPT:
            self._keys.append(key)
        else:
            self._keys[self.count % KEPT] = key

    def rate(self, now: float) -> float:
        """Returns the requests a second since it was last worked out, but over some time.

        Args:
            now: in the loop's seconds.
        """
        if now - self._since >= WINDOW:
            self._rate = (self.count - self._counted) / (now - self._since)
            self._counted, self._since = self.count, now
        return self._rate

    def half(self, owned: Iterable[KeyRange], cut: Callable[[bytes], bytes]) -> bytes:
        """Returns a key before which there was about half of the last requests; b"" where there is none.

        There is none where nearly all of them were about one key: nothing is gained by a cut beside it.

        Args:
            owned: what counts.
            cut: from a key to one not after it at which it may be cut (the beginning of its directory).
        """
        parts = tuple(owned)
        keys = sorted(cut(key) for key in self._keys if any(key in part for part in parts))
        if len(keys) < LEAST:
            return b""
        for found in (
            keys[len(keys) // 2],
            keys[min(len(keys) - 1, bisect_right(keys, keys[len(keys) // 2]))],
        ):
            if SHARE <= bisect_left(keys, found) / len(keys) <= 1 - SHARE:
                return found
        return b""
