"""Registers: a read shows one version; the order of versions must be inferred, and is often known in part.

What is inferred holds in every execution of the level that it is used for (Elle, section 4.3):

- nobody's value, null, comes before all versions;
- who reads a version and then writes the key makes a later one: the reverse would be G1c;
- for strict serializability alone: what a transaction read or wrote comes before what another one read or
  wrote that began after it had ended (edges `WW_TIME`, `RW_TIME`);
- or the store tells: versions are in the order of their writers' commit timestamps.

The rest is left to `orders.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from sim.check.transactions.graph import RW, RW_TIME, WR, WW, WW_TIME, Evidence, Graph
from sim.check.transactions.history import READ, SNAPSHOT, WRITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.check.transactions.findings import Findings
    from sim.check.transactions.history import Transaction
    from sim.check.transactions.keys import KeyHistory

NEVER = 1 << 62  # the line of an end that never came


class RegisterOrder:
    """What is known of the versions of a register. A version is the last that a transaction wrote.

    Attributes:
        readers: by version, None for nobody's: who read it, and not after a write of its own.
        known: the order of all versions is known.
    """

    def __init__(self, history: KeyHistory, transactions: Sequence[Transaction], findings: Findings) -> None:
        self.key = history.key
        self._history = history
        self._transactions = transactions
        self._findings = findings
        self.known = False
        self.readers: dict[Any, list[int]] = {}
        self._bases: dict[Any, list[int]] = {}  # by version: who read it and then wrote the key
        self._dirty: list[tuple[int, int]] = []  # reads of what was no version: writer, reader
        self._seen: set[int] = set()
        self._committed = bytearray()  # known when the edges are added
        self._check_reads()

    def _name(self, node: int) -> str:
        return self._transactions[node].name

    def _check_reads(self) -> None:
        history, transactions, find = self._history, self._transactions, self._findings.add
        for node, value, before in history.reads:
            own = history.writes.get(node)
            if before:
                assert own is not None
                if value != own[before - 1]:
                    find(
                        "internal",
                        [transactions[node]],
                        (
                            f"{self._name(node)} read {self.key!r} = {value!r} after it had itself "
                            f"written {own[before - 1]!r}"
                        ),
                    )
                continue
            if value is None:
                self._reads(node, None, own)
                continue
            writer = history.writer.get(value)
            if writer is None:
                find(
                    "unwritten",
                    [transactions[node]],
                    (f"{self._name(node)} read {self.key!r} = {value!r}, which nobody wrote"),
                )
            elif writer == node:
                find(
                    "internal",
                    [transactions[node]],
                    (f"{self._name(node)} read {self.key!r} = {value!r} before it wrote that itself"),
                )
            elif transactions[writer].ended == "fail":
                find(
                    "G1a",
                    [transactions[node], transactions[writer]],
                    (
                        f"{self._name(node)} read {self.key!r} = {value!r}, which {self._name(writer)} "
                        "wrote before it was aborted"
                    ),
                )
            else:
                self._seen.add(writer)
                last = history.writes[writer][-1]
                if last == value:
                    self._reads(node, value, own)
                    continue
                self._dirty.append((writer, node))
                find(
                    "G1b",
                    [transactions[node], transactions[writer]],
                    (
                        f"{self._name(node)} read {self.key!r} = {value!r}, but {self._name(writer)}, which "
                        f"wrote it, went on to write {last!r}"
                    ),
                )

    def _reads(self, node: int, value: Any, own: list[Any] | None) -> None:
        readers = self.readers.setdefault(value, [])
        if not readers or readers[-1] != node:
            readers.append(node)
            if own is not None:
                self._bases.setdefault(value, []).append(node)

    def mark(self, committed: bytearray) -> None:
        """Marks who must have committed, for somebody saw what it wrote."""
        for node in self._seen:
            committed[node] = 1

    def connect(self, graph: Graph, number: int, by_timestamp: bool) -> dict[Any, list[int]]:
        """Adds the edges of this key.

        Args:
            number: the key's in the graph.
            by_timestamp: versions are in the order of their writers' timestamps, where these are told.

        Returns:
            By version: who read it and then wrote the key.
        """
        history = self._history
        self._committed = graph.committed
        writers = [node for node in history.writes if graph.committed[node]]
        after: dict[Any, list[int]] = {}  # by version: who made versions that are known to come later
        placed = set()  # who made a version that is known to come after another's
        for value, readers in self.readers.items():
            if value is not None:
                writer = history.writer[value]
                for node in readers:
                    graph.add(writer, node, WR, number)
        for writer, node in self._dirty:
            graph.add(writer, node, WR, number)
        for value, bases in self._bases.items():
            after[value] = list(bases)
            if value is not None:
                for node in bases:
                    graph.add(history.writer[value], node, WW, number)
                    placed.add(node)
        if by_timestamp:
            self._follow_timestamps(graph, number, writers, after, placed)
        first = [node for node in writers if node not in placed]
        branches = any(len(set(nodes)) > 1 for value, nodes in after.items() if value is not None)
        self.known |= len(first) < 2 and not branches
        if None in self.readers:
            after[None] = first
        for value, nodes in after.items():
            graph.fan(self.readers.get(value, ()), list(dict.fromkeys(nodes)), RW, number)
        if not self.known:
            self._follow_time(graph, number)
            if len(writers) > 1:
                found = {
                    history.writer[value]: read for value, read in self.readers.items() if value is not None
                }
                graph.unordered.append((number, writers, found))
        return self._bases

    def _follow_timestamps(
        self,
        graph: Graph,
        number: int,
        writers: list[int],
        after: dict[Any, list[int]],
        placed: set[int],
    ) -> None:
        def stamp(node: int) -> int:
            told = self._transactions[node].timestamp
            assert told is not None
            return told

        told = sorted((n for n in writers if self._transactions[n].timestamp is not None), key=stamp)
        groups = [list(group) for _, group in groupby(told, key=stamp)]
        self.known = len(groups) == len(writers)
        for earlier, later in pairwise(groups):
            graph.fan(earlier, later, WW, number)
            placed.update(later)
            for node in earlier:  # also who read a version that another one than the next replaced
                after.setdefault(self._history.writes[node][-1], []).extend(later)

    def _follow_time(self, graph: Graph, number: int) -> None:
        """Adds what only real time says of the order of versions."""
        touches = [  # called, returned, version, whether it was there at the time of the call or later
            (transaction.called, transaction.returned or NEVER, value, transaction.f != SNAPSHOT)
            for transaction, value in self._touches(graph.committed)
        ]
        later = sorted((called, returned, value) for called, returned, value, now in touches if now)
        calls = [called for called, _, _ in later]
        first_end = [NEVER + 1] * (len(later) + 1)  # from each place on: the first end
        for place in range(len(later) - 1, -1, -1):
            first_end[place] = min(first_end[place + 1], later[place][1])
        follow: dict[Any, dict[Any, None]] = {}
        for _, returned, value, _ in touches:
            place = bisect_right(calls, returned)
            end = first_end[place]
            while place < len(later) and later[place][0] < end:
                if later[place][2] != value:
                    follow.setdefault(value, {})[later[place][2]] = None
                place += 1
        writer = self._history.writer
        for value, values in follow.items():
            nodes = [writer[other] for other in values]
            for node in nodes:
                graph.add(writer[value], node, WW_TIME, number)
            graph.fan(self.readers.get(value, ()), nodes, RW_TIME, number)

    def _touches(self, committed: bytearray) -> list[tuple[Transaction, Any]]:
        """Returns which transactions read or wrote which versions."""
        found = [
            (self._transactions[node], value)
            for value, readers in self.readers.items()
            if value is not None
            for node in readers
        ]
        found += [
            (self._transactions[node], values[-1])
            for node, values in self._history.writes.items()
            if committed[node]
        ]
        return found

    def tell(self, kind: int, source: int, target: int) -> Evidence:
        """Says why there is an edge of a kind between two transactions."""
        one, other = self._transactions[source], self._transactions[target]
        writes, key = self._history.writes, self.key
        if kind == WR:
            for place, (f, name, value) in enumerate(other.operations):
                if (
                    f == READ
                    and name == key
                    and value is not None
                    and self._history.writer.get(value) == source
                ):
                    return Evidence(
                        f"{other.name} read {key!r} = {value!r}, which {one.name} had written",
                        self._wrote(one, value),
                        place,
                    )
        new = writes[target][-1]
        if kind in (WW, WW_TIME):
            old = writes[source][-1]
            if kind == WW_TIME:
                words = f"{other.name}'s {new!r} in {key!r} came later than {one.name}'s {old!r}: "
                words += self._tell_time(old, new)
            elif target in self._bases.get(old, ()):
                words = (
                    f"{other.name} read {key!r} = {old!r}, which {one.name} had written, and then wrote "
                    f"{new!r}"
                )
            elif one.timestamp is None or other.timestamp is None or one.timestamp >= other.timestamp:
                words = f"suppose that {one.name} wrote {key!r} = {old!r} before {other.name} its {new!r}"
            else:
                words = (
                    f"{one.name} wrote {key!r} = {old!r} at timestamp {one.timestamp}, {other.name} {new!r} "
                    f"at {other.timestamp}"
                )
            return Evidence(words, self._wrote(one, old), self._wrote(other, new))
        supposed: tuple[int, Any] | None = None
        for place, (f, name, value) in enumerate(one.operations):
            if f != READ or name != key or source not in self.readers.get(value, ()):
                continue
            if kind == RW_TIME and (value is None or not self._time(value, new)):
                continue
            if value is None:
                words = f"{one.name} found nothing in {key!r} yet, and {other.name} wrote {new!r}"
            elif kind == RW_TIME:
                words = f"{one.name} read {key!r} = {value!r}, and {other.name}'s {new!r} came later: "
                words += self._tell_time(value, new)
            elif self._replaced(value, source, target):
                words = f"{one.name} read {key!r} = {value!r}, which {other.name} replaced by {new!r}"
            else:
                supposed = (place, value)
                continue
            return Evidence(words, place, self._wrote(other, new))
        if supposed is not None:
            place, value = supposed
            writer = self._transactions[self._history.writer[value]].name
            words = (
                f"{one.name} read {key!r} = {value!r}; suppose that {writer} wrote it before {other.name} "
                f"{new!r}"
            )
            return Evidence(words, place, self._wrote(other, new))
        raise AssertionError(f"no {kind} edge from {one.name} to {other.name} by {key!r}")

    def _replaced(self, value: Any, source: int, target: int) -> bool:
        if target in self._bases.get(value, ()):
            return True
        writer = self._transactions[self._history.writer[value]].timestamp
        later = self._transactions[target].timestamp
        return writer is not None and later is not None and writer < later

    def _time(self, old: Any, new: Any) -> tuple[Transaction, Transaction] | None:
        """Returns who shows by real time that a version is older than another."""
        touches = self._touches(self._committed)
        first = min((t for t, value in touches if value == old), key=lambda t: t.returned or NEVER)
        last = max((t for t, value in touches if value == new and t.f != SNAPSHOT), key=lambda t: t.called)
        return (first, last) if (first.returned or NEVER) < last.called else None

    def _tell_time(self, old: Any, new: Any) -> str:
        shown = self._time(old, new)
        assert shown is not None
        first, last = shown
        return (
            f"{first.name} {self._had(first, old)} and had ended (line {first.returned:,}) before "
            f"{last.name} began (line {last.called:,}), which {self._had(last, new)}"
        )

    def _had(self, transaction: Transaction, value: Any) -> str:
        wrote = self._history.writes.get(transaction.number - 1)
        return f"wrote {value!r}" if wrote and wrote[-1] == value else f"read {value!r}"

    def _wrote(self, transaction: Transaction, value: Any) -> int:
        return next(
            place
            for place, (f, key, wrote) in enumerate(transaction.operations)
            if f == WRITE and key == self.key and wrote == value
        )
