"""Orders of versions that nobody knows: is there one that a level allows?

Of some writers of a key it is not known which came first: those of a register that nobody read between,
or whose appends to a list nobody saw. One of them did come first, and then everybody who had read its
version had read it before the other's. So for each pair one of two choices must be possible, and all
choices together.

First an order is guessed, in the way in which a store would have carried the transactions out; mostly it
fits, and so the level holds. Where it does not, the pairs in question are looked at one by one: a choice
that closes a cycle is out; if both are, no execution explains the history. What then is left open is
tried, up to a limit. (Finding such an order is NP-complete: Papadimitriou 1979.)

For serializability only registers matter; snapshot isolation, which lets no two writers of a key overlap,
also allows not every order of appends that nobody saw.
"""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.check.transactions.components import components, rows
from sim.check.transactions.cycles import Step, whole
from sim.check.transactions.graph import PASS, RW, RW_TIME, WR, WW, Edges, Graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SNAPSHOT, SERIAL, STRICT = "snapshot-isolation", "serializable", "strict-serializable"
TRIES = 100
"""Choices that are tried at most where neither is ruled out."""

LOOKS = 4_000_000
"""Edges that are looked at, at most, to rule out choices."""


class Pair(NamedTuple):
    """Two writers of a key: the choice that `one` came before `other`."""

    one: int
    other: int
    key: int

    def turned(self) -> Pair:
        """Returns the other choice."""
        return Pair(self.other, self.one, self.key)


class Conflict(NamedTuple):
    """Two writers of which neither can have come first, and a cycle for each choice."""

    pair: Pair
    cycles: tuple[list[Step], list[Step]]


class Unknown(Exception):
    """Finding out would take too long."""


class _Known:
    """What is known of the order of transactions, and what was chosen.

    Nodes are states, as in `cycles.py`: for snapshot isolation each transaction has two.
    """

    def __init__(self, graph: Graph, edges: Edges, level: str, budget: list[int]) -> None:
        self.graph = graph
        self.size = len(graph.transactions)
        self.doubled = level == SNAPSHOT
        self.budget = budget
        self.positions: list[int] = []  # of each state, in the last guess
        self.unordered = [
            (key, nodes, readers)
            for key, nodes, readers in graph.unordered
            if readers is not None or self.doubled
        ]
        self.readers = {
            (key, node): found
            for key, _, readers in self.unordered
            for node, found in (readers or {}).items()
        }
        kept = (
            np.ones(len(edges.kinds), bool) if level == STRICT else np.isin(edges.kinds, (WW, WR, RW, PASS))
        )
        self._kinds, self._keys = edges.kinds[kept], edges.keys[kept]
        sources, targets = edges.sources[kept], edges.targets[kept]
        against = np.isin(self._kinds, (RW, RW_TIME))
        if self.doubled:
            passes, free = self._kinds == PASS, ~against
            self.sources = np.concatenate((2 * sources, 2 * sources[free] + 1))
            self.targets = np.concatenate((2 * targets + against, 2 * targets[free] + passes[free]))
            origin = np.concatenate((np.arange(len(sources)), np.flatnonzero(free)))
        else:
            self.sources, self.targets, origin = 2 * sources, 2 * targets, np.arange(len(sources))
        self.count = 2 * graph.nodes
        self.origin: list[int] = origin[np.argsort(self.sources, kind="stable")].tolist()
        begins, ends = rows(self.count, self.sources, self.targets)
        self._begins: list[int] = begins.tolist()
        self._ends: list[int] = ends.tolist()
        self.chosen: list[Pair] = []
        self._more: dict[int, list[tuple[int, Step]]] = {}

    def steps(self, pair: Pair) -> Iterator[Step]:
        """Yields the edges that a choice means."""
        yield Step(pair.one, pair.other, WW, pair.key)
        for reader in self.readers.get((pair.key, pair.one), ()):
            if reader != pair.other:
                yield Step(reader, pair.other, RW, pair.key)

    def _states(self, step: Step) -> list[tuple[int, int]]:
        """Returns an edge between transactions as edges between states."""
        source, target = 2 * step.source, 2 * step.target
        if not self.doubled:
            return [(source, target)]
        return [(source, target + 1)] if step.kind == RW else [(source, target), (source + 1, target)]

    def choose(self, pair: Pair) -> None:
        """Makes a choice."""
        self.chosen.append(pair)
        for step in self.steps(pair):
            for source, target in self._states(step):
                self._more.setdefault(source, []).append((target, step))

    def undo(self, count: int) -> None:
        """Takes back all choices but the first few."""
        while len(self.chosen) > count:
            for step in self.steps(self.chosen.pop()):
                for source, _ in self._states(step):
                    self._more[source].pop()

    def cycle(self, pair: Pair) -> list[Step] | None:
        """Returns a cycle that a choice would close; of those that need other choices, perhaps not all.

        Raises:
            Unknown: it would take too long to find out.
        """
        for kind, start in ((WW, 2 * pair.other), (RW, 2 * pair.other + self.doubled)):
            closing = [step for step in self.steps(pair) if step.kind == kind]
            goals = {2 * step.source: step for step in closing}
            if kind == WW and self.doubled:
                goals |= {2 * step.source + 1: step for step in closing}
            if goals and (found := self._way(start, goals)) is not None:
                return found
        return None

    def _way(self, start: int, goals: dict[int, Step]) -> list[Step] | None:
        """Returns a way closed by one of some steps. What comes after the last of them leads to none."""
        positions, ends, begins = self.positions, self._ends, self._begins
        last = max(positions[goal] for goal in goals)
        came: dict[int, tuple[int, int | Step]] = {}
        met = {start}
        waiting = [start]
        for current in waiting:
            if current in goals:
                steps = []
                end = current
                while end != start:
                    before, edge = came[end]
                    if isinstance(edge, int):
                        edge = Step(before // 2, end // 2, int(self._kinds[edge]), int(self._keys[edge]))
                    steps.append(edge)
                    end = before
                return whole([goals[current], *reversed(steps)], self.size)
            for place in range(begins[current], begins[current + 1]):
                after = ends[place]
                if after not in met and positions[after] <= last:
                    met.add(after)
                    came[after] = (current, self.origin[place])
                    waiting.append(after)
            for after, step in self._more.get(current, ()):
                if after not in met and positions[after] <= last:
                    met.add(after)
                    came[after] = (current, step)
                    waiting.append(after)
            self.spend(1 + begins[current + 1] - begins[current])
        return None

    def spend(self, looks: int) -> None:
        """Counts edges that are looked at.

        Raises:
            Unknown: these were too many.
        """
        self.budget[0] -= looks
        if self.budget[0] < 0:
            raise Unknown

    def guess(self) -> bool:
        """Carries the transactions out, as a store might have done; sets `positions`. Says whether it could.

        Of those that could come next it takes one that replaces nothing that others are still to read, and of
        these the one that was first in real time. It fails if choices contradict each other.
        """
        self.spend(len(self._ends))
        degrees = np.bincount(self.targets, minlength=self.count).tolist()
        for out in self._more.values():
            for target, _ in out:
                degrees[target] += 1
        writes: dict[int, list[int]] = {}
        reads: dict[int, list[tuple[int, int]]] = {}
        left: dict[tuple[int, int], int] = {}
        for key, nodes, readers in self.unordered:
            for node in nodes:
                writes.setdefault(node, []).append(key)
            for node, found in (readers or {}).items():
                left[key, node] = len(found)
                for reader in found:
                    reads.setdefault(reader, []).append((key, node))
        current: dict[int, int] = {}
        blocked: dict[int, list[int]] = {}
        positions = [0] * self.count
        ready = [(self._time(one), one) for one in range(self.count) if not degrees[one]]
        heapq.heapify(ready)
        kept: list[tuple[int, int]] = []
        count = 0
        while ready or kept:
            forced = not ready
            at = heapq.heappop(ready if ready else kept)
            one = at[1]
            if positions[one]:
                continue
            node = one // 2
            if not one % 2 and node < self.size and not self.doubled:
                mine = reads.get(node, ())
                stop = next(
                    (
                        key
                        for key in writes.get(node, ())
                        if key in current and left.get((key, current[key]), 0) > ((key, current[key]) in mine)
                    ),
                    None,
                )
                if stop is not None and not forced:
                    blocked.setdefault(stop, []).append(one)
                    heapq.heappush(kept, at)
                    continue
                touched = set(writes.get(node, ()))
                for read in mine:
                    left[read] -= 1
                    touched.add(read[0])
                for key in writes.get(node, ()):
                    current[key] = node
                for key in touched:
                    for other in blocked.pop(key, ()):
                        heapq.heappush(ready, (self._time(other), other))
            count += 1
            positions[one] = count
            for place in range(self._begins[one], self._begins[one + 1]):
                degrees[self._ends[place]] -= 1
                if not degrees[self._ends[place]]:
                    heapq.heappush(ready, (self._time(self._ends[place]), self._ends[place]))
            for target, _ in self._more.get(one, ()):
                degrees[target] -= 1
                if not degrees[target]:
                    heapq.heappush(ready, (self._time(target), target))
        self.positions = positions
        return count == self.count

    def _time(self, one: int) -> int:
        if one // 2 >= self.size:
            return -1
        transaction = self.graph.transactions[one // 2]
        return transaction.called + (transaction.returned or transaction.called)

    def suspects(self) -> list[list[Pair]]:
        """Returns the choices of the guess that close cycles together, by component; none if it fits."""
        positions = self.positions
        guessed: list[tuple[Pair, int, int]] = []
        for key, nodes, _ in self.unordered:
            in_order = sorted(nodes, key=lambda node: positions[2 * node])
            for one, other in pairwise(in_order):
                pair = Pair(one, other, key)
                for step in self.steps(pair):
                    guessed += [(pair, source, target) for source, target in self._states(step)]
        sources = [source for _, source, _ in guessed]
        targets = [target for _, _, target in guessed]
        for source, out in self._more.items():
            for target, _ in out:
                sources.append(source)
                targets.append(target)
        found = components(self.count, _joined(self.sources, sources), _joined(self.targets, targets))
        part = {one: number for number, component in enumerate(found) for one in component}
        decided = set(self.chosen)
        pairs: dict[int, dict[Pair, None]] = {}
        for pair, source, target in guessed:
            if source in part and part[source] == part.get(target) and pair not in decided:
                pairs.setdefault(part[source], {})[pair] = None
        return [list(found) for found in pairs.values()]


def _joined(array: NDArray[np.int64], more: list[int]) -> NDArray[np.int64]:
    return np.concatenate((array, np.array(more, dtype=np.int64)))


def settle(graph: Graph, edges: Edges, level: str, budget: list[int]) -> Conflict | None:
    """Says whether a level allows some order of the versions of which it is not known.

    Args:
        graph: has no cycle that the level forbids.
        level: any but read-committed, which every order suits.
        budget: `[LOOKS]`, of all levels together.

    Returns:
        None if it does; else two writers of which neither can have come first, perhaps given other choices.

    Raises:
        Unknown: finding out would take too long.
    """
    if level == SNAPSHOT or any(readers is not None for _, _, readers in graph.unordered):
        return _settle(_Known(graph, edges, level, budget), [TRIES])
    return None


def _settle(known: _Known, tries: list[int]) -> Conflict | None:
    begun = len(known.chosen)
    while True:
        known.guess()
        suspects = known.suspects()
        if not suspects:
            return None
        conflict, ruled = _rule_out(known, [pair for part in suspects for pair in part])
        if conflict is not None:
            known.undo(begun)
            return conflict
        if not ruled:
            break
    chosen = len(known.chosen)
    turned = [part[0].turned() for part in suspects]
    attempts = [turned, turned[:1], [turned[0].turned()]]  # what does not hang together is tried together
    for choices in attempts if len(turned) > 1 else attempts[1:]:
        tries[0] -= 1
        if tries[0] < 0:
            raise Unknown
        for choice in choices:
            known.choose(choice)
        conflict = _settle(known, tries)
        if conflict is None:
            return None
        known.undo(chosen)
    known.undo(begun)
    return conflict


def _rule_out(known: _Known, suspects: list[Pair]) -> tuple[Conflict | None, bool]:
    """Makes those choices of which the other closes a cycle. Says whether there are any."""
    begun = len(known.chosen)
    for most in (len(suspects), 1):  # all; one, if all at once contradict each other
        for pair in suspects:
            here, there = known.cycle(pair), known.cycle(pair.turned())
            if here is not None and there is not None:
                return Conflict(pair, (here, there)), False
            if here is not None or there is not None:
                known.choose(pair if here is None else pair.turned())
                if len(known.chosen) - begun == most:
                    break
        if len(known.chosen) == begun:
            return None, False
        positions = known.positions
        if known.guess() or most == 1:
            return None, True
        known.positions = positions
        known.undo(begun)
    return None, True
