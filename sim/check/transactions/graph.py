"""The dependency graph of a history: who must come before whom, and why.

The nodes are the committed transactions, and some that stand for nobody: a set of edges from each of m
transactions to each of n is m + n edges through such nodes, and so is real time, by which almost every
transaction comes before almost every other. An edge that leaves such a node is `PASS`; the edge that entered
it says what the two together are. Adya (1999) defines the kinds:

- `WW` a to b: b's version of a key is the next after a's;
- `WR`: b read a's version;
- `RW`, an anti-dependency: a read a version, and b's is the next;
- `PROCESS`: a was the same process's transaction before b; `REALTIME`: a had ended before b began;
- `WW_TIME`, `RW_TIME`: as without, where only real time says which version came first.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sim.check.transactions.history import SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.check.transactions.history import Transaction

WW, WR, RW, PROCESS, REALTIME, WW_TIME, RW_TIME, PASS = (1 << bit for bit in range(8))
NAMES = {
    WW: "ww",
    WR: "wr",
    RW: "rw",
    PROCESS: "process",
    REALTIME: "realtime",
    WW_TIME: "ww",
    RW_TIME: "rw",
}
DIRECT = 4  # times as many edges as a detour would need are still better


class Evidence(Struct):
    """Why there is an edge.

    Attributes:
        words: a sentence.
        source, target: which operation of the two transactions makes it, by its place there; -1 for none.
    """

    words: str
    source: int = -1
    target: int = -1


class VersionOrder(Protocol):
    """What is known of the versions of a key."""

    key: Any

    def tell(self, kind: int, source: int, target: int) -> Evidence:
        """Says why there is an edge of a kind between two transactions."""
        ...


class Edges(Struct):
    """Edges as arrays, one entry an edge; `keys` are places in `Graph.orders`, -1 where there is none."""

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    kinds: NDArray[np.int64]
    keys: NDArray[np.int64]


class Graph:
    """The dependency graph.

    Attributes:
        transactions: all of the history; node n is `transactions[n]`.
        committed: by transaction: it took place.
        nodes: how many there are, with those that stand for nobody.
        orders: of each key, what is known of its versions.
        unordered: key, committed writers of whom it is not known which came first, and who read the version
            of each; None if nobody did.
    """

    def __init__(self, transactions: Sequence[Transaction], committed: bytearray) -> None:
        self.transactions = transactions
        self.committed = committed
        self.nodes = len(transactions)
        self.orders: list[VersionOrder] = []
        self.unordered: list[tuple[int, list[int], dict[int, list[int]] | None]] = []
        self._sources, self._targets = array("q"), array("q")
        self._kinds, self._keys = array("B"), array("q")

    def add(self, source: int, target: int, kind: int, key: int = -1) -> None:
        """Adds an edge; from a node to itself there is none."""
        if source != target:
            self._sources.append(source)
            self._targets.append(target)
            self._kinds.append(kind)
            self._keys.append(key)

    def fan(self, sources: Sequence[int], targets: Sequence[int], kind: int, key: int) -> None:
        """Adds an edge from each of some transactions to each of others, but from none to itself."""
        if len(sources) * len(targets) <= DIRECT * (len(sources) + len(targets)):
            for source in sources:
                for target in targets:
                    self.add(source, target, kind, key)
            return
        # A walk through `after` nodes reaches all targets from some place on, one through `before` nodes
        # all up to some place: so who is both source and target reaches all but itself.
        places = {target: place for place, target in enumerate(targets)}
        count = len(targets)
        after, before = self.nodes, self.nodes + count
        self.nodes += 2 * count
        for place, target in enumerate(targets):
            self.add(after + place, target, PASS)
            self.add(before + place, target, PASS)
            if place:
                self.add(after + place - 1, after + place, PASS)
                self.add(before + place, before + place - 1, PASS)
        for source in sources:
            place = places.get(source, -1)
            if place + 1 < count:
                self.add(source, after + place + 1, kind, key)
            if place > 0:
                self.add(source, before + place - 1, kind, key)

    def order_by_process(self) -> None:
        """Adds the order of each process."""
        last: dict[int | str, list[int]] = {}
        for node, transaction in enumerate(self.transactions):
            if not self.committed[node]:
                continue
            before = last.setdefault(transaction.process, [])
            if transaction.f != SNAPSHOT:  # a snapshot may be of long ago
                for other in before:
                    self.add(other, node, PROCESS)
                before.clear()
            before.append(node)

    def order_by_time(self) -> None:
        """Adds real time: a chain of moments; who ends leads to the next, who begins follows the last."""
        events = []
        for node, transaction in enumerate(self.transactions):
            if self.committed[node]:
                if transaction.f != SNAPSHOT:  # a snapshot may be of long ago
                    events.append((transaction.called, node, False))
                if transaction.returned:
                    events.append((transaction.returned, node, True))
        events.sort()
        moment = -1  # the current one; some transaction has ended in it
        closed = True  # somebody began after it
        for _, node, ended in events:
            if not ended:
                if moment >= 0:
                    self.add(moment, node, PASS)
                closed = True
                continue
            if closed:
                if moment >= 0:
                    self.add(moment, self.nodes, PASS)
                moment = self.nodes
                self.nodes += 1
                closed = False
            self.add(node, moment, REALTIME)

    def edges(self) -> Edges:
        """Returns all edges."""
        return Edges(
            np.frombuffer(self._sources, dtype=np.int64).copy(),
            np.frombuffer(self._targets, dtype=np.int64).copy(),
            np.frombuffer(self._kinds, dtype=np.uint8).astype(np.int64),
            np.frombuffer(self._keys, dtype=np.int64).copy(),
        )

    def tell(self, kind: int, source: int, target: int, key: int) -> Evidence:
        """Says why there is an edge."""
        one, other = self.transactions[source], self.transactions[target]
        if kind == REALTIME:
            return Evidence(
                f"{one.name} had ended (line {one.returned:,}) before {other.name} began (line "
                f"{other.called:,})"
            )
        if kind == PROCESS:
            return Evidence(f"process {one.process} ran {one.name} before {other.name}")
        return self.orders[key].tell(kind, source, target)
