"""Transactions prepared and not yet decided, by what they would change: fine-grained t_TM_safe (4.2.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from services.spanner.tablet.errors import Contradiction
from services.spanner.tablet.versions import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.spanner.entries import Prepare
    from services.spanner.keys import KeyRange


class _Change:
    """What a prepared transaction would change, in a form that can be asked quickly."""

    __slots__ = ("everything", "keys", "ranges", "timestamp")

    def __init__(self, prepare: Prepare) -> None:
        self.timestamp = prepare.timestamp
        self.keys = sorted(key for key, _ in prepare.effects.writes)
        self.ranges = prepare.effects.acquired + prepare.effects.released
        self.everything = bool(prepare.effects.schema)

    def touches(self, within: KeyRange) -> bool:
        """Says whether a read of a range could see the change."""
        if self.everything:
            return True
        place = bisect_left(self.keys, within.start)
        if place < len(self.keys) and self.keys[place] < within.end:
            return True
        return any(within.overlaps(part) for part in self.ranges)


class Prepared(Mapping[str, "Prepare"]):
    """The prepared transactions, in the order of the log.

    A read asks one after the other, the one with the least prepare timestamp first: they are as many as
    there are two-phase commits under way in the group.
    """

    def __init__(self) -> None:
        self._prepares: dict[str, Prepare] = {}
        self._changes: dict[str, _Change] = {}
        self._writers: dict[bytes, str] = {}

    def __getitem__(self, transaction: str) -> Prepare:
        return self._prepares[transaction]

    def __contains__(self, transaction: object) -> bool:
        return transaction in self._prepares

    def __iter__(self) -> Iterator[str]:
        return iter(self._prepares)

    def __len__(self) -> int:
        return len(self._prepares)

    def add(self, prepare: Prepare) -> None:
        """Adds one.

        Raises:
            Contradiction: another one, undecided, writes one of its keys: its lock was not held.
        """
        for key, _ in prepare.effects.writes:
            self.free(key, prepare.transaction)
        self._prepares[prepare.transaction] = prepare
        self._changes[prepare.transaction] = _Change(prepare)
        for key, _ in prepare.effects.writes:
            self._writers[key] = prepare.transaction

    def remove(self, transaction: str) -> Prepare:
        """Takes one away, and returns it."""
        prepare = self._prepares.pop(transaction)
        del self._changes[transaction]
        for key, _ in prepare.effects.writes:
            self._writers.pop(key, None)
        return prepare

    def free(self, key: bytes, transaction: str) -> None:
        """Raises `Contradiction` where another transaction, prepared, is about to write a key."""
        writer = self._writers.get(key)
        if writer is not None and writer != transaction:
            raise Contradiction(f"{transaction} writes {key!r}, which {writer} has locked")

    def safe(self, ranges: Iterable[KeyRange]) -> int:
        """Returns t_TM_safe of ranges: one below the least timestamp at which they may change yet."""
        if not self._changes:
            return FOREVER
        ranges = tuple(ranges)
        return min(
            (
                change.timestamp - 1
                for change in self._changes.values()
                if any(change.touches(within) for within in ranges)
            ),
            default=FOREVER,
        )

    def blocking(self, ranges: Iterable[KeyRange], t: int) -> list[str]:
        """Returns the transactions whose outcome a read of ranges at `t` has to wait for."""
        ranges = tuple(ranges)
        return [
            transaction
            for transaction, change in self._changes.items()
            if change.timestamp <= t and any(change.touches(within) for within in ranges)
        ]
