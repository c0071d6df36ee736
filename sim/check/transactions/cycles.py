"""Finds cycles of the dependency graph and names them.

Whether there is a cycle of a kind is decided by strongly connected components, in linear time and for
certain. For snapshot isolation this needs a trick: a cycle without two adjacent anti-dependencies is a
cycle of a graph that has each transaction twice, as one that was come to by an anti-dependency and as one
that was not; only the latter is left by an anti-dependency. Then, inside each component, breadth-first
searches from the edges that could close a cycle find the shortest of each name; they end at a limit, but
not before each component has been told.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sim.check.transactions.components import components
from sim.check.transactions.findings import Hop
from sim.check.transactions.graph import (
    NAMES,
    PASS,
    PROCESS,
    REALTIME,
    RW,
    RW_TIME,
    WR,
    WW,
    WW_TIME,
    Edges,
    Graph,
)
from sim.check.transactions.levels import broken_level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sim.check.transactions.findings import Findings

STEPS = 300_000  # edges that the searches look at to find shorter cycles and to count them
AGAINST = RW | RW_TIME


class Step(NamedTuple):
    """An edge of a cycle, between transactions."""

    source: int
    target: int
    kind: int
    key: int


FAMILIES = (
    0,
    PROCESS,
    PROCESS | REALTIME,
    PROCESS | REALTIME | RW_TIME,
    PROCESS | REALTIME | RW_TIME | WW_TIME,
)
"""What a cycle may be made of beside the dependencies of data; those come first that rest on the least."""


class Tangle:
    """The part of a graph that is one strongly connected component: its edges by node.

    Attributes:
        out: by node, by target: the kinds of the edges.
        keys: by edge and kind: the key.
    """

    def __init__(self) -> None:
        self.out: dict[int, dict[int, int]] = {}
        self.keys: dict[tuple[int, int, int], int] = {}

    def add(self, source: int, target: int, kind: int, key: int) -> None:
        """Adds an edge."""
        targets = self.out.setdefault(source, {})
        self.out.setdefault(target, {})
        targets[target] = targets.get(target, 0) | kind
        self.keys.setdefault((source, target, kind), key)

    def parts(self, free: int, once: int = 0) -> list[set[int]]:
        """Returns the components of the graph of some edges, in states (see `state`).

        Args:
            free: kinds of edges that may follow any other.
            once: kinds of which none may follow another.
        """
        numbers = {node: place for place, node in enumerate(self.out)}
        sources, targets = [], []
        for node, out in self.out.items():
            for other, kinds in out.items():
                for flag in (0, 1) if once else (0,):
                    if (kind := best(kinds, free, once if not flag else 0)) == 0:
                        continue
                    into = flag if kind == PASS else int(bool(kind & once))
                    sources.append(2 * numbers[node] + flag)
                    targets.append(2 * numbers[other] + into)
        nodes = list(self.out)
        found = components(
            2 * len(nodes), np.array(sources, dtype=np.int64), np.array(targets, dtype=np.int64)
        )
        return [{state(nodes[part // 2], part % 2) for part in component} for component in found]


def state(node: int, flag: int) -> int:
    """Returns a node as it was come to: `flag` 1: by an edge of which no other may follow."""
    return 2 * node + flag


def best(kinds: int, free: int, once: int) -> int:
    """Returns which of the edges between two nodes to use: the first of `free`, or else of `once`."""
    usable = kinds & (free | PASS) or kinds & once
    return usable & -usable


def tangles(graph: Graph, edges: Edges) -> Iterator[Tangle]:
    """Yields the strongly connected components of a graph, in the order of their first transactions."""
    found = components(graph.nodes, edges.sources, edges.targets)
    if not found:
        return
    part: NDArray[np.int64] = np.full(graph.nodes, -1, dtype=np.int64)
    for number, component in enumerate(found):
        part[component] = number
    inside = np.flatnonzero((part[edges.sources] == part[edges.targets]) & (part[edges.sources] >= 0))
    inside = inside[np.argsort(part[edges.sources[inside]], kind="stable")]
    made = Tangle()
    current = 0
    for edge in inside.tolist():
        if (number := int(part[edges.sources[edge]])) != current:
            yield made
            made, current = Tangle(), number
        made.add(
            int(edges.sources[edge]), int(edges.targets[edge]), int(edges.kinds[edge]), int(edges.keys[edge])
        )
    yield made


class Search:
    """Finds the cycles of a history.

    Args:
        graph: gives names and evidence.
        updates: by transaction: in which lost updates it took part.
    """

    def __init__(self, graph: Graph, updates: dict[int, set[tuple[int, Any]]]) -> None:
        self._graph = graph
        self._updates = updates
        self._size = len(graph.transactions)
        self._shortest: dict[str, list[Step]] = {}
        self._seen: dict[str, set[frozenset[int]]] = {}
        self._left: dict[str, int] = {}
        self._cut = False

    def run(self, found: Iterable[Tangle]) -> None:
        """Searches each component."""
        for tangle in found:
            for family in FAMILIES:
                if self._search(tangle, family):
                    break  # what needs more than that is not told where this is wrong already

    def report(self, findings: Findings) -> None:
        """Adds what was found."""
        for name, steps in self._shortest.items():
            findings.add_cycle(name, len(self._seen[name]), not self._cut, hops(self._graph, steps))

    def _search(self, tangle: Tangle, family: int) -> bool:
        """Finds the cycles of a family. Says whether there is one."""
        against, rest = RW | (family & RW_TIME), family & (PROCESS | REALTIME)
        writes = WW | (family & WW_TIME)
        certain = writes | WR | rest
        everything = tangle.parts(certain | against)
        if not everything:
            return False
        apart = tangle.parts(certain, against)
        if apart:
            self._close(tangle, tangle.parts(writes | rest), writes, writes | rest)
            self._close(tangle, tangle.parts(certain), WR, certain)
            single = [{state(one // 2, 0) for one in part} for part in apart]
            self._close(tangle, single, against, certain, sure=False)
            self._close(tangle, apart, against, certain, against)
        self._close(tangle, everything, against, certain | against)
        return True

    def _close(
        self,
        tangle: Tangle,
        parts: list[set[int]],
        closing: int,
        free: int,
        once: int = 0,
        *,
        sure: bool = True,
    ) -> None:
        """Looks, for each edge of some kinds within a component, for the shortest way back.

        Args:
            sure: there is one from each, so that in each component one is found, whatever it takes.
        """
        purpose = f"{closing}/{free}/{once}/{sure}"
        left = self._left.setdefault(purpose, STEPS)
        flag = int(bool(once))
        for part in parts:
            must = sure
            for source, target, kind in _closing(tangle, part, closing, free & ~closing, flag):
                if left <= 0 and not must:
                    self._cut = True
                    break
                steps, looked = way(
                    tangle, part, state(target, flag), state(source, 0), free, once, self._size
                )
                left -= looked
                if steps is None:
                    continue
                must = False
                first = Step(source, target, kind, tangle.keys[source, target, kind])
                self._keep(whole([first, *steps], self._size))
        self._left[purpose] = left

    def _keep(self, steps: list[Step]) -> None:
        name = self.name(steps)
        if name is None:
            return
        members = frozenset(step.source for step in steps)
        seen = self._seen.setdefault(name, set())
        seen.add(members)
        shortest = self._shortest.get(name)
        if shortest is None or len(steps) < len(shortest):
            self._shortest[name] = steps

    def name(self, steps: list[Step]) -> str | None:
        """Returns what a cycle is called; None for one that is told as a lost update."""
        kinds = [step.kind for step in steps]
        against = [bool(kind & AGAINST) for kind in kinds]
        number = sum(against)
        if len(steps) == 2 and number:
            parts = [self._updates.get(step.source, set()) for step in steps]
            if parts[0] & parts[1]:
                return None
        adjacent = any(against[n] and against[n - 1] for n in range(len(against))) and len(steps) > 1
        if not number:
            base = "G1c" if any(kind == WR for kind in kinds) else "G0"
        elif number == 1:
            base = "G-single"
        elif adjacent:
            base = "G2-item"
        else:
            forks = number == 2 and len(steps) == 4 and kinds.count(WR) == 2
            base = "long-fork" if forks else "G-nonadjacent"
        if any(kind & (REALTIME | WW_TIME | RW_TIME) for kind in kinds):
            return f"{base}-realtime"
        return f"{base}-process" if PROCESS in kinds else base

    def suppose(self, cycles: Iterable[list[Step]], level: str) -> str:
        """Returns the name of what no choice of an order avoids, given a cycle of each choice."""
        names = [name for steps in cycles if (name := self.name(steps)) is not None]
        fitting = [name for name in names if broken_level(name) == level]
        if fitting:
            return fitting[0]
        return {"snapshot-isolation": "G-single", "serializable": "G2-item"}.get(level, "G2-item-realtime")


def _closing(
    tangle: Tangle, part: set[int], closing: int, stronger: int, flag: int
) -> Iterator[tuple[int, int, int]]:
    """Yields the edges of some kinds within a component that no stronger one makes needless."""
    for one in sorted(part):
        node = one // 2
        if one % 2:
            continue
        for target, kinds in tangle.out[node].items():
            usable = kinds & closing
            if usable and not kinds & stronger and state(target, flag) in part:
                yield node, target, usable & -usable


def way(
    tangle: Tangle, part: set[int], start: int, goal: int, free: int, once: int, size: int
) -> tuple[list[Step] | None, int]:
    """Returns the shortest way from one state to another, and how many edges were looked at.

    Nodes that stand for nobody (from `size` on) lengthen no way.

    Args:
        part: the states that it may go through.
        free, once: see `Tangle.parts`.
    """
    came: dict[int, tuple[int, int]] = {start: (-1, 0)}
    length = {start: 0}
    done: set[int] = set()
    waiting = deque([start])
    looked = 0
    while waiting:
        current = waiting.popleft()
        if current == goal:
            return _back(tangle, came, current), looked
        if current in done:
            continue
        done.add(current)
        node, flag = divmod(current, 2)
        far = length[current] + (node < size)
        allowed = 0 if flag else once
        for target, kinds in tangle.out[node].items():
            looked += 1
            kind = best(kinds, free, allowed)
            if not kind:
                continue
            follows = state(target, flag if kind == PASS else int(bool(kind & once)))
            if follows in part and far < length.get(follows, far + 1):
                came[follows] = (current, kind)
                length[follows] = far
                if node < size:
                    waiting.append(follows)
                else:
                    waiting.appendleft(follows)
    return None, looked


def _back(tangle: Tangle, came: dict[int, tuple[int, int]], end: int) -> list[Step]:
    steps: list[Step] = []
    while True:
        before, kind = came[end]
        if before < 0:
            return steps[::-1]
        source, target = before // 2, end // 2
        steps.append(Step(source, target, kind, tangle.keys[source, target, kind]))
        end = before


def whole(steps: list[Step], size: int) -> list[Step]:
    """Returns a cycle without the nodes that stand for nobody, beginning with its first transaction."""
    joined: list[Step] = []
    while steps[0].source >= size:
        steps = [*steps[1:], steps[0]]
    for step in steps:
        if step.source >= size:
            last = joined[-1]
            joined[-1] = Step(last.source, step.target, last.kind, last.key)
        else:
            joined.append(step)
    first = min(range(len(joined)), key=lambda place: joined[place].source)
    return joined[first:] + joined[:first]


def hops(graph: Graph, steps: Iterable[Step]) -> list[Hop]:
    """Returns a cycle with the reasons of its edges."""
    return [
        Hop(
            graph.transactions[step.source],
            graph.transactions[step.target],
            NAMES[step.kind],
            graph.orders[step.key].key if step.key >= 0 else None,
            graph.tell(step.kind, step.source, step.target, step.key),
        )
        for step in steps
    ]
