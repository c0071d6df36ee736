"""Snapshot isolation and the appends that nobody saw.

Two committed transactions appended to the same list and nobody saw it: one of them came first, and nobody
knows which. For serializability it does not matter. Snapshot isolation, however, lets no two transactions
that write the same key overlap: whichever came later must have seen everything that the other had seen
committed. So for each such pair one of two edges must be possible, and all choices together.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.check.transactions.components import components, rows
from sim.check.transactions.cycles import Step, whole
from sim.check.transactions.graph import PASS, RW, WR, WW, Edges, Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRIES = 200
"""Orders that are tried at most before the answer is: unknown."""


class Pair(NamedTuple):
    """Two writers of a key."""

    one: int
    other: int
    key: int


class Conflict(NamedTuple):
    """Two transactions that snapshot isolation allows in neither order, and a cycle for each."""

    pair: Pair
    cycles: tuple[list[Step], list[Step]]


class Unknown(Exception):
    """Too many orders would have to be tried."""


class _Doubled:
    """The graph of `cycles.py` for snapshot isolation, on which edges can be added and removed."""

    def __init__(self, graph: Graph, edges: Edges) -> None:
        plain = np.isin(edges.kinds, (WW, WR, RW, PASS))
        self.kinds, self.keys = edges.kinds[plain], edges.keys[plain]
        sources, targets = edges.sources[plain], edges.targets[plain]
        self.size, self.count = len(graph.transactions), 2 * graph.nodes
        passes, against = self.kinds == PASS, self.kinds == RW
        free = ~against
        self.sources: NDArray[np.int64] = np.concatenate((2 * sources, 2 * sources[free] + 1))
        self.targets: NDArray[np.int64] = np.concatenate(
            (2 * targets + against, 2 * targets[free] + passes[free])
        )
        self.origin = np.concatenate((np.flatnonzero(np.ones(len(sources), bool)), np.flatnonzero(free)))
        self.added: list[Pair] = []
        self._rows: tuple[list[int], list[int], list[int]] | None = None

    def cyclic(self, more: list[Pair]) -> bool:
        """Says whether there is a cycle, with some ww edges more."""
        extra = [*self.added, *more]
        sources = [2 * pair.one + flag for pair in extra for flag in (0, 1)]
        targets = [2 * pair.other for pair in extra for _ in (0, 1)]
        return bool(
            components(
                self.count,
                np.concatenate((self.sources, np.array(sources, dtype=np.int64))),
                np.concatenate((self.targets, np.array(targets, dtype=np.int64))),
            )
        )

    def way(self, start: int, goal: int) -> list[Step] | None:
        """Returns a way from a transaction that a ww edge has led to, to another."""
        if self._rows is None:
            order = np.argsort(self.sources, kind="stable")
            first, sorted_targets = rows(self.count, self.sources, self.targets)
            self._rows = (first.tolist(), sorted_targets.tolist(), self.origin[order].tolist())
        starts, ends, origin = self._rows
        extra: dict[int, list[Pair]] = {}
        for pair in self.added:
            extra.setdefault(pair.one, []).append(pair)
        came: dict[int, tuple[int, Step]] = {}
        waiting = [2 * start]
        met = {2 * start}
        for current in waiting:
            if current // 2 == goal:
                steps: list[Step] = []
                while current != 2 * start:
                    current, step = came[current]
                    steps.append(step)
                return steps[::-1]
            for place in range(starts[current], starts[current + 1]):
                if (after := ends[place]) not in met:
                    edge = origin[place]
                    met.add(after)
                    step = Step(current // 2, after // 2, int(self.kinds[edge]), int(self.keys[edge]))
                    came[after] = (current, step)
                    waiting.append(after)
            for pair in extra.get(current // 2, ()):
                if 2 * pair.other not in met:
                    met.add(2 * pair.other)
                    came[2 * pair.other] = (current, Step(pair.one, pair.other, WW, pair.key))
                    waiting.append(2 * pair.other)
        return None


def settle(graph: Graph, edges: Edges) -> Conflict | None:
    """Says whether snapshot isolation allows an order of the appends that nobody saw.

    Args:
        graph: has no cycle that snapshot isolation forbids.

    Returns:
        None if it does; else two that it allows in neither order, perhaps given others before.

    Raises:
        Unknown: finding out would take too long.
    """
    if not graph.unordered:
        return None
    doubled = _Doubled(graph, edges)
    guess = []
    for key, nodes in graph.unordered:
        ends = [(graph.transactions[node].returned or 1 << 62, node) for node in nodes]
        in_order = [node for _, node in sorted(ends)]
        guess += [Pair(one, other, key) for one, other in pairwise(in_order)]
    if not doubled.cyclic(guess):
        return None
    pairs = [
        Pair(one, other, key)
        for key, nodes in graph.unordered
        for one, other in combinations(sorted(nodes), 2)
    ]
    if len(pairs) > 100 * TRIES:
        raise Unknown
    return _choose(doubled, pairs, [TRIES])


def _choose(doubled: _Doubled, pairs: list[Pair], left: list[int]) -> Conflict | None:
    """Decides the order of each pair, first where there is no choice."""
    left[0] -= 1
    if left[0] < 0:
        raise Unknown
    kept = len(doubled.added)
    open_ = pairs
    while True:
        still = []
        for pair in open_:
            back = doubled.way(pair.other, pair.one)  # the first cannot be first
            forth = doubled.way(pair.one, pair.other)
            if back is not None and forth is not None:
                cycles = (
                    whole([Step(pair.one, pair.other, WW, pair.key), *back], doubled.size),
                    whole([Step(pair.other, pair.one, WW, pair.key), *forth], doubled.size),
                )
                del doubled.added[kept:]
                return Conflict(pair, cycles)
            if back is None and forth is None:
                still.append(pair)
            else:
                doubled.added.append(pair if back is None else Pair(pair.other, pair.one, pair.key))
        if len(still) == len(open_):
            break
        open_ = still
    if not open_ or not doubled.cyclic(open_):
        return None
    first, rest = open_[0], open_[1:]
    conflict = None
    for choice in (first, Pair(first.other, first.one, first.key)):
        doubled.added.append(choice)
        conflict = _choose(doubled, rest, left)
        doubled.added.pop()
        if conflict is None:
            return None
    del doubled.added[kept:]
    return conflict
