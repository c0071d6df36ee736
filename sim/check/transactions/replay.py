"""Transactions carried out in the order of the timestamps that their store tells: is that what they read?

A transaction that writes reads what was there just before its timestamp, one that only reads exactly what
was committed up to it. Writers of equal timestamps are fine as long as some order of them explains what
they read.

Who ended as `info` has no timestamp: what was read of its writes says between which two it must have
been, and that there is such a time is checked, too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from sim.check.transactions.findings import Hop
from sim.check.transactions.history import APPEND, READ, Transaction
from sim.check.transactions.keys import both, misread

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER = 1 << 80


class Disagreement(Struct):
    """Where timestamps are wrong.

    Attributes:
        count: how many there are.
        transactions, words: of the first.
        cycle: real time and timestamps, if these disagree.
    """

    count: int
    transactions: list[Transaction]
    words: str
    cycle: list[Hop] = []


class _Versions:
    """What was written to a key, in the order of timestamps."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.values: list[list[Any]] = []  # of each: what was written, in order
        self.writers: list[Transaction] = []
        self.f = ""  # "w" or "append"
        self.unknown: list[tuple[Transaction, list[Any]]] = []  # writers without a timestamp
        self._flat: list[Any] = []
        self._ends: list[int] = []  # of each version: how many elements the list then has

    def settle(self, written: list[tuple[int, Transaction, list[Any]]]) -> None:
        """Takes what was written."""
        for stamp, writer, values in sorted(written, key=lambda one: (one[0], one[1].number)):
            self.stamps.append(stamp)
            self.writers.append(writer)
            self.values.append(values)
            if self.f == APPEND:
                self._flat += values
                self._ends.append(len(self._flat))

    def at(self, count: int) -> Any:
        """Returns what is there after some versions."""
        if self.f == APPEND:
            return self._flat[: self._ends[count - 1]] if count else []
        return self.values[count - 1][-1] if count else None


class _Unknown:
    """When a transaction without a timestamp may have been: after `low`, up to `high`, not in `out`."""

    def __init__(self) -> None:
        self.low, self.high = -NEVER, NEVER
        self.seen: Transaction | None = None  # the first that saw it
        self.out: list[tuple[int, int]] = []  # after, up to

    def possible(self) -> bool:
        """Says whether there is such a time."""
        low = self.low
        for after, until in sorted(self.out):
            if after > low:
                break
            low = max(low, until)
        return low < self.high


class _Replay:
    """Compares reads with what timestamps say."""

    def __init__(self, history: Sequence[Transaction], own_writes: bool) -> None:
        self._own_writes = own_writes
        self._found: Disagreement | None = None
        self._keys: dict[Any, _Versions] = {}
        self._unknown: dict[int, _Unknown] = {}
        self._ties: list[tuple[Transaction, Transaction]] = []  # of one timestamp: who must be first
        self.reads = self.unplaced = 0
        self._history = history
        self._collect()

    def _collect(self) -> None:
        written: dict[Any, list[tuple[int, Transaction, list[Any]]]] = {}
        for one in self._history:
            if one.ended == "fail":
                continue
            mine: dict[Any, list[Any]] = {}
            for f, key, value in one.operations:
                versions = self._keys.setdefault(key, _Versions())
                if f != READ:
                    if versions.f and versions.f != f:
                        raise both(key, one)
                    versions.f = f
                    mine.setdefault(key, []).append(value)
            for key, values in mine.items():
                if one.ended == "ok" and one.timestamp is not None:
                    written.setdefault(key, []).append((one.timestamp, one, values))
                else:
                    self._keys[key].unknown.append((one, values))
        for key, entries in written.items():
            versions = self._keys[key]
            versions.settle(entries)
            for (stamp, before), (again, after) in pairwise(
                zip(versions.stamps, versions.writers, strict=True)
            ):
                if stamp == again:
                    self._wrong(
                        [before, after],
                        (f"{before.name} and {after.name} both wrote {key!r} at timestamp {stamp}"),
                    )

    def run(self) -> Disagreement | None:
        """Returns the first disagreement, and how many there are."""
        placed = [one for one in self._history if one.ended == "ok" and one.timestamp is not None]
        self.unplaced = sum(one.ended == "ok" and one.timestamp is None for one in self._history)
        for one in placed:
            self._check(one)
        for one in placed:
            self._exclude(one)
        for number, unknown in self._unknown.items():
            if unknown.seen is not None and not unknown.possible():
                writer = self._history[number - 1]
                seen = unknown.seen
                self._wrong(
                    [seen, writer],
                    (
                        f"{seen.name} saw what {writer.name} wrote, of which nobody knows "
                        "when it was: but there is no timestamp for it that explains all reads"
                    ),
                )
        self._check_ties()
        return self._found

    def _views(self, one: Transaction) -> list[tuple[Any, Any, list[Any]]]:
        """Returns the reads of a transaction: key, what it returned, own writes that it must show."""
        found = []
        own: dict[Any, list[Any]] = {}
        for f, key, value in one.operations:
            if f == READ:
                found.append((key, value, list(own.get(key, ())) if self._own_writes else []))
            else:
                own.setdefault(key, []).append(value)
        return found

    def _check(self, one: Transaction) -> None:
        stamp = one.timestamp
        assert stamp is not None
        writes = any(f != READ for f, _, _ in one.operations)
        for key, value, own in self._views(one):
            self.reads += 1
            versions = self._keys[key]
            if versions.f == APPEND:
                if value is None:
                    value = []
                elif not isinstance(value, list):
                    raise misread(key, value, one, "a list")
                if own:
                    if value[-len(own) :] != own:
                        self._differs(one, key, value, own)
                        continue
                    value = value[: -len(own)]
            elif own:
                if value != own[-1]:
                    self._differs(one, key, value, own[-1])
                continue
            elif value == []:
                value = None
            count = (bisect_left if writes else bisect_right)(versions.stamps, stamp)
            explained = self._explained(one, versions, value, count)
            tied = count < len(versions.stamps) and versions.stamps[count] == stamp
            if tied and (other := versions.writers[count]) is not one:
                later = value == versions.at(count + 1)
                if later != explained:
                    self._ties.append((other, one) if later else (one, other))
                explained |= later
            if not explained:
                self._differs(one, key, value, versions.at(count), versions, count)

    def _explained(self, one: Transaction, versions: _Versions, value: Any, count: int) -> bool:
        """Says whether a read returned what some versions had left, and perhaps what unknowns wrote."""
        stamp = one.timestamp
        assert stamp is not None
        if value == versions.at(count):
            return True
        if not versions.unknown:
            return False
        low = versions.stamps[count - 1] if count else -NEVER
        if versions.f != APPEND:
            writers = [writer for writer, values in versions.unknown if values[-1] == value]
            if len(writers) == 1:
                self._between(writers[0], low, stamp, one)
            return bool(writers)
        return self._explained_list(one, versions, value, count)

    def _explained_list(self, one: Transaction, versions: _Versions, value: list[Any], count: int) -> bool:
        stamp = one.timestamp
        assert stamp is not None
        places: list[tuple[Transaction, int, int]] = []
        rest, done, at = value, 0, 0
        while rest:
            values = versions.values[done] if done < count else None
            if values is not None and rest[: len(values)] == values:
                rest, done = rest[len(values) :], done + 1
                continue
            for writer, unknown in versions.unknown:
                if rest[: len(unknown)] == unknown:
                    low = versions.stamps[done - 1] if done else -NEVER
                    high = versions.stamps[done] if done < count else stamp
                    places.append((writer, low, high))
                    rest = rest[len(unknown) :]
                    break
            else:
                return False
            at += 1
        if done < count:
            return False
        for writer, low, high in places:
            self._between(writer, low, high, one)
        return True

    def _between(self, writer: Transaction, low: int, high: int, reader: Transaction) -> None:
        unknown = self._unknown.setdefault(writer.number, _Unknown())
        unknown.low, unknown.high = max(unknown.low, low), min(unknown.high, high)
        unknown.seen = unknown.seen or reader

    def _exclude(self, one: Transaction) -> None:
        """Notes when unknown writers that somebody saw cannot have been, since this one did not see them."""
        assert one.timestamp is not None
        stamp = one.timestamp - any(f != READ for f, _, _ in one.operations)
        for key, value, own in self._views(one):
            versions = self._keys[key]
            for writer, values in versions.unknown:
                unknown = self._unknown.get(writer.number)
                if unknown is None or writer is one:
                    continue
                if versions.f == APPEND:
                    if values[-1] not in (value or []):
                        unknown.out.append((-NEVER, stamp))
                elif value != values[-1] and not own:
                    count = bisect_right(versions.stamps, stamp)
                    while count and versions.at(count) != value:
                        count -= 1
                    if count or value is None:
                        unknown.out.append((versions.stamps[count - 1] if count else -NEVER, stamp))

    def _check_ties(self) -> None:
        """Checks that those of one timestamp come in some order."""
        if not self._ties:
            return
        import networkx as nx

        by_number = {one.number: one for tie in self._ties for one in tie}
        graph = nx.DiGraph((first.number, later.number) for first, later in self._ties)
        for component in nx.strongly_connected_components(graph):
            if len(component) > 1:
                involved = [by_number[number] for number in sorted(component)]
                self._wrong(
                    involved,
                    (
                        f"{', '.join(one.name for one in involved)} have the timestamp "
                        f"{involved[0].timestamp}, and no order of them explains what they read"
                    ),
                )

    def _differs(
        self,
        one: Transaction,
        key: Any,
        value: Any,
        expected: Any,
        versions: _Versions | None = None,
        count: int = 0,
    ) -> None:
        involved = [one]
        by = ""
        if versions is not None and count:
            writer = versions.writers[count - 1]
            involved.append(writer)
            by = f", last written by {writer.name} at timestamp {writer.timestamp}"
        self._wrong(
            involved,
            (
                f"{one.name} at timestamp {one.timestamp} read {key!r} = {_shown(value)}, but by then it was "
                f"{_shown(expected)}{by}"
            ),
        )

    def _wrong(self, involved: list[Transaction], words: str) -> None:
        if self._found is None:
            self._found = Disagreement(1, involved, words)
        else:
            self._found.count += 1


def replay(history: Sequence[Transaction], *, own_writes: bool = False) -> tuple[Disagreement | None, str]:
    """Carries transactions out in the order of their timestamps.

    Returns:
        Where that does not give what they read, if so; and in words how much was looked at.
    """
    work = _Replay(history, own_writes)
    found = work.run()
    stamped = sum(one.timestamp is not None for one in history)
    words = f"{stamped:,} transactions in the order of their timestamps explain {work.reads:,} reads"
    if work.unplaced:
        words += f"; {work.unplaced:,} committed without a timestamp"
    return found, words


def _shown(value: Any) -> str:
    if isinstance(value, list):
        from sim.check.transactions.lists import brief

        return brief(value)
    return "nothing" if value is None else repr(value)
