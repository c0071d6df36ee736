"""The log of a replica, in memory: the entries after its base.

Index and origin say which entry it is, and all before it too: a leader gives each slot one entry, after what
its log has before. So two logs with the same entry at an index are the same up to there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.paxos import invariants
from services.spanner.paxos.outputs import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.paxos.ballots import Ballot
    from services.spanner.paxos.messages import LogEntry


class Log:
    """Entries from `base.index + 1` to `last`."""

    def __init__(self, base: Position, entries: Sequence[LogEntry]) -> None:
        self.base = base
        self.entries = list(entries)
        self.last = base.index + len(self.entries)
        before = base.timestamp
        for entry in self.entries:
            invariants.timestamps_grow(before, entry.timestamp)
            before = entry.timestamp

    def origin(self, index: int) -> Ballot | None:
        """Returns the origin of the entry at an index; None where it is not in the log."""
        place = index - self.base.index - 1
        if 0 <= place < len(self.entries):
            return self.entries[place].origin
        return self.base.origin if place == -1 else None

    def position(self, index: int) -> Position:
        """Returns the place of an entry that is in the log, or its base."""
        place = index - self.base.index - 1
        if place == -1:
            return self.base
        entry = self.entries[place]
        return Position(index, entry.timestamp, entry.origin)

    @property
    def end(self) -> Position:
        """The place of the last entry."""
        return self.position(self.last)

    def after(self, index: int, most: int, most_bytes: int) -> tuple[LogEntry, ...]:
        """Returns entries after an index (not below the base): so many, so many bytes, but at least one."""
        place = index - self.base.index
        entries = self.entries[place : place + most]
        left = most_bytes
        for count, entry in enumerate(entries):
            left -= len(entry.value)
            if left < 0:
                return tuple(entries[: max(1, count)])
        return tuple(entries)

    def between(self, after: int, upto: int) -> list[LogEntry]:
        """Returns the entries `after < index <= upto`."""
        return self.entries[after - self.base.index : upto - self.base.index]

    def replace(self, first: int, entries: Sequence[LogEntry]) -> None:
        """Puts entries in the place of all from `first` on."""
        place = first - self.base.index - 1
        before = self.entries[place - 1].timestamp if place else self.base.timestamp
        for entry in entries:
            if entry.timestamp <= before:
                invariants.timestamps_grow(before, entry.timestamp)
            before = entry.timestamp
        self.entries[place:] = entries
        self.last = first - 1 + len(entries)

    def rebase(self, base: Position) -> bool:
        """Begins after another entry; returns whether the log has it (else there is nothing after it)."""
        keep = self.origin(base.index) == base.origin
        self.entries = self.entries[base.index - self.base.index :] if keep else []
        self.base = base
        self.last = base.index + len(self.entries)
        return keep
