"""Lists: each read shows the whole order of the versions up to it.

Two reads of a list are such that one continues the other, or no execution explains both. So the longest
read is the order of all versions that anybody saw; committed elements that nobody saw came after them, in
an order that nobody knows and that matters only to snapshot isolation (`orders.py`). Nothing is guessed,
so the edges are all that there are (Elle, section 4).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sim.check.operations import Unusable
from sim.check.transactions.graph import RW, WR, WW, Evidence, Graph
from sim.check.transactions.history import APPEND, READ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.check.transactions.findings import Findings
    from sim.check.transactions.history import Transaction
    from sim.check.transactions.keys import KeyHistory


class ListOrder:
    """The order of the versions of a list.

    Attributes:
        order: the elements in the order in which they were appended, as far as all reads agree.
        whole: nothing contradicts it, so what is not in it came later.
        runs: the committed transactions that appended them; one that appended several in a row is there once.
        run_at: by number of elements n: the run that the n-th belongs to, aborted ones left out; -1 for none.
    """

    def __init__(self, history: KeyHistory, transactions: Sequence[Transaction], findings: Findings) -> None:
        self.key = history.key
        self._history = history
        self._transactions = transactions
        self._findings = findings
        self.whole = True
        self.order: list[Any] = self._agreed()
        self.place = {element: place for place, element in enumerate(self.order)}
        self.runs: list[int] = []
        self.run_at = [-1]
        self._strange = len(self.order)  # the first place of an element that should not be there
        self._follow()
        self._check_reads()
        if self.whole:
            self._check_own_order()

    def _agreed(self) -> list[Any]:
        """Returns how far all reads agree, and without an element that is there twice."""
        longest: list[Any] = max((value for _, value, _ in self._history.reads), key=len, default=[])
        agreed = len(longest)
        for node, value, _ in self._history.reads:
            if longest[: len(value)] != value:
                self.whole = False
                at = next(
                    n for n, (one, other) in enumerate(zip(longest, value, strict=False)) if one != other
                )
                agreed = min(agreed, at)
                self._findings.add(
                    "incompatible-order",
                    [self._transactions[node], self._reader(longest)],
                    (
                        f"{self._name(node)} read {self.key!r} = {brief(value)}, and "
                        f"{self._reader(longest).name} read {brief(longest)}: neither continues the other"
                    ),
                )
        seen = set()
        for place, element in enumerate(longest[:agreed]):
            try:
                if element in seen:
                    self.whole = False
                    return longest[:place]
                seen.add(element)
            except TypeError:
                raise Unusable(
                    f"line {self._reader(longest).returned}: a read of key {self.key!r} has the element "
                    f"{str(element)[:40]}; elements must be numbers or texts"
                ) from None
        return longest[:agreed]

    def _reader(self, value: list[Any]) -> Transaction:
        return next(self._transactions[node] for node, read, _ in self._history.reads if read is value)

    def _name(self, node: int) -> str:
        return self._transactions[node].name

    def _ended(self, node: int) -> str:
        return self._transactions[node].ended

    def _follow(self) -> None:
        """Finds whose elements follow one another."""
        aborted: dict[int, Any] = {}
        for place, element in enumerate(self.order):
            node = self._history.writer.get(element)
            if node is None or self._ended(node) == "fail":
                self._strange = min(self._strange, place)
                if node is not None:
                    aborted.setdefault(node, element)
            else:
                if not self.runs or self.runs[-1] != node:
                    self.runs.append(node)
                for other, below in aborted.items():
                    self._findings.add(
                        "dirty-update",
                        [self._transactions[other], self._transactions[node]],
                        (
                            f"{self._name(other)} appended {below!r} to {self.key!r} and was aborted, yet "
                            f"{self._name(node)} appended {element!r} after it and committed"
                        ),
                    )
                aborted.clear()
            self.run_at.append(len(self.runs) - 1)

    def _check_reads(self) -> None:
        history = self._history
        agreed = len(self.order)
        for node, value, before in history.reads:
            if len(value) > self._strange or len(value) > agreed:
                self._check_elements(node, value)
            if value:
                last = value[-1]
                writer = history.writer.get(last)
                if (
                    writer is not None
                    and writer != node
                    and history.writes[writer][-1] != last
                    and self._ended(writer) != "fail"
                ):
                    self._findings.add(
                        "G1b",
                        [self._transactions[node], self._transactions[writer]],
                        (
                            f"{self._name(node)} read {self.key!r} = {brief(value)}, but "
                            f"{self._name(writer)}, which appended {value[-1]!r}, went on to append "
                            f"{history.writes[writer][-1]!r}"
                        ),
                    )
            own = history.writes.get(node)
            if own is not None:
                self._check_own(node, value, own, before)

    def _check_elements(self, node: int, value: list[Any]) -> None:
        """Finds the elements of a read that should not be there."""
        try:
            twice = len(set(value)) < len(value)
        except TypeError:
            raise Unusable(
                f"line {self._transactions[node].returned}: a read of key {self.key!r} returned "
                f"{brief(value)}; elements must be numbers or texts"
            ) from None
        reader = self._transactions[node]
        if twice:
            self._findings.add(
                "duplicates",
                [reader],
                (
                    f"{reader.name} read {self.key!r} = {brief(value)}, where "
                    f"{next(e for n, e in enumerate(value) if e in value[:n])!r} stands twice"
                ),
            )
        writers = [self._history.writer.get(element) for element in value]
        if None in writers:
            self._findings.add(
                "unwritten",
                [reader],
                (
                    f"{reader.name} read {self.key!r} = {brief(value)}, but nobody appended "
                    f"{value[writers.index(None)]!r}"
                ),
            )
        failed = next((w for w in writers if w is not None and self._ended(w) == "fail"), None)
        if failed is not None:
            self._findings.add(
                "G1a",
                [reader, self._transactions[failed]],
                (
                    f"{reader.name} read {self.key!r} = {brief(value)}, with "
                    f"{value[writers.index(failed)]!r}, which {self._name(failed)} appended before it "
                    "was aborted"
                ),
            )

    def _check_own(self, node: int, value: list[Any], own: list[Any], before: int) -> None:
        """Checks that a read has what its own transaction had appended by then, and no more."""
        if len(value) <= len(self.order):
            place, length, beyond = self.place, len(value), len(value)
            good = all(place.get(element, beyond) < length for element in own[:before]) and not any(
                place.get(element, beyond) < length for element in own[before:]
            )
        else:
            mine = set(own)
            good = [element for element in value if element in mine] == own[:before]
        if not good:
            self._findings.add(
                "internal",
                [self._transactions[node]],
                (
                    f"{self._name(node)} read {self.key!r} = {brief(value)} after it had itself appended "
                    f"{brief(own[:before]) if before else 'nothing'} there"
                    + (f" (and before it appended {brief(own[before:])})" if own[before:] else "")
                ),
            )

    def _check_own_order(self) -> None:
        """Checks that each transaction's elements came in its own order, none left out."""
        for node, own in self._history.writes.items():
            if len(own) < 2 or self._ended(node) == "fail":
                continue
            places = [self.place.get(element, len(self.order)) for element in own]
            if places != sorted(places):
                self._findings.add(
                    "incompatible-order",
                    [self._transactions[node]],
                    (
                        f"{self._name(node)} appended {brief(own)} to {self.key!r} in this order, but "
                        f"the list is {brief(self.order)}"
                    ),
                )

    def mark(self, committed: bytearray) -> None:
        """Marks who must have committed, for somebody saw what it appended."""
        writer = self._history.writer
        for element in self.order:
            if (node := writer.get(element)) is not None and self._ended(node) == "info":
                committed[node] = 1
        if not self.whole:
            for _, value, _ in self._history.reads:
                for element in value[len(self.order) :]:
                    if (node := writer.get(element)) is not None and self._ended(node) == "info":
                        committed[node] = 1

    def connect(self, graph: Graph, number: int) -> dict[int, list[int]]:
        """Adds the edges of this key.

        Args:
            number: the key's in the graph.

        Returns:
            By run: who read it, the list as it was then, and appended to it.
        """
        runs, history = self.runs, self._history
        for before, after in pairwise(runs):
            graph.add(before, after, WW, number)
        replaced: dict[int, list[int]] = {}
        finals = []
        agreed = len(self.order)
        for node, value, own in history.reads:
            if len(value) > agreed:
                writer = history.writer.get(value[-1])
                if writer is not None and graph.committed[writer]:
                    graph.add(writer, node, WR, number)
                continue
            run = self.run_at[len(value)]
            if not own and self._will_write(node, len(value)):
                replaced.setdefault(run, []).append(node)
            if run >= 0:
                if runs[run] == node:
                    continue
                graph.add(runs[run], node, WR, number)
            if run + 1 < len(runs):
                graph.add(node, runs[run + 1], RW, number)
            else:
                finals.append(node)
        if self.whole:
            last = runs[-1] if runs else -1  # also if nobody saw the end of what it appended
            unseen = [node for node in self.unseen(graph.committed) if node != last]
            for node in unseen:
                if runs:
                    graph.add(last, node, WW, number)
            graph.fan(list(dict.fromkeys(finals)), unseen, RW, number)
            if len(unseen) > 1:
                graph.unordered.append((number, unseen, None))
        return replaced

    def _will_write(self, node: int, count: int) -> bool:
        """Says whether a transaction appends to the list, and none of that is among its first elements."""
        mine = self._history.writes.get(node)
        return mine is not None and all(self.place.get(element, count) >= count for element in mine)

    def unseen(self, committed: bytearray) -> list[int]:
        """Returns the committed transactions whose last element nobody saw."""
        return [
            node
            for node, own in self._history.writes.items()
            if committed[node] and own[-1] not in self.place
        ]

    def tell(self, kind: int, source: int, target: int) -> Evidence:
        """Says why there is an edge of a kind between two transactions."""
        one, other = self._transactions[source], self._transactions[target]
        if kind == WR:
            for place, (f, key, value) in enumerate(other.operations):
                if f == READ and key == self.key and value and self._last_of(value) == source:
                    mine = self._last_element(value)
                    return Evidence(
                        f"{other.name} read {self.key!r} = {brief(value)}, and {one.name} had appended "
                        f"{mine!r}",
                        self._appended(one, mine),
                        place,
                    )
        if kind == WW:
            return self._tell_ww(one, other, source, target)
        for place, (f, key, value) in enumerate(one.operations):
            if f != READ or key != self.key:
                continue
            value = value or []
            after = [element for element in self._history.writes[target] if element not in value]
            if after and self._last_of(value) != source:
                seen = "" if after[0] in self.place else " and nobody ever saw"
                return Evidence(
                    f"{one.name} read {self.key!r} = {brief(value)}, without {after[0]!r}, which "
                    f"{other.name} appended{seen}",
                    place,
                    self._appended(other, after[0]),
                )
        raise AssertionError(f"no {kind} edge from {one.name} to {other.name} by {self.key!r}")

    def _tell_ww(self, one: Transaction, other: Transaction, source: int, target: int) -> Evidence:
        for run, (before, after) in enumerate(pairwise(self.runs)):
            if (before, after) == (source, target):
                end = next(n for n, at in enumerate(self.run_at) if at == run + 1)
                last, first = self._last_element(self.order[: end - 1]), self.order[end - 1]
                return Evidence(
                    f"{other.name} appended {first!r} to {self.key!r} next after {one.name}'s {last!r}",
                    self._appended(one, last),
                    self._appended(other, first),
                )
        mine, unseen = self._history.writes[source], self._history.writes[target][-1]
        last = next((element for element in reversed(mine) if element in self.place), mine[-1])
        if last in self.place:
            words = (
                f"{one.name} appended {last!r} to {self.key!r}, the last that anybody saw; {other.name}'s "
                f"{unseen!r} came later"
            )
        else:
            words = (
                f"suppose that {one.name} appended {last!r} to {self.key!r} before {other.name} "
                f"its {unseen!r}"
            )
        return Evidence(words, self._appended(one, last), self._appended(other, unseen))

    def _last_of(self, value: list[Any]) -> int:
        element = self._last_element(value)
        return -1 if element is None else self._history.writer[element]

    def _last_element(self, value: list[Any]) -> Any:
        for element in reversed(value):
            node = self._history.writer.get(element)
            if node is not None and self._ended(node) != "fail":
                return element
        return None

    def _appended(self, transaction: Transaction, element: Any) -> int:
        return next(
            place
            for place, (f, key, value) in enumerate(transaction.operations)
            if f == APPEND and key == self.key and value == element
        )


def brief(value: list[Any]) -> str:
    """Returns a list in words; of a long one its end."""
    shown = ", ".join(repr(element) for element in value[-4:])
    return f"[{'..., ' if len(value) > 4 else ''}{shown}]"
