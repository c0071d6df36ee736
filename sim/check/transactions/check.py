"""Which anomalies a history of transactions shows, and which isolation levels that breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

from sim.check.operations import Call, calls
from sim.check.transactions.cycles import Search, Step, hops, tangles
from sim.check.transactions.findings import Anomaly, Findings
from sim.check.transactions.graph import RW, Edges, Graph
from sim.check.transactions.history import APPEND, SNAPSHOT, TRANSACTION, WRITE, transactions
from sim.check.transactions.keys import collect
from sim.check.transactions.levels import LEVELS
from sim.check.transactions.lists import ListOrder
from sim.check.transactions.orders import LOOKS, Conflict, Unknown, settle
from sim.check.transactions.registers import RegisterOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation

Answer: TypeAlias = Literal["holds", "broken", "unknown"]


class Verdict(Struct):
    """What is known of a history.

    Attributes:
        committed, aborted: transactions; `possible` are those of which nobody knows.
        lists, registers: keys of each kind.
        unordered: registers of which the order of versions is known in part only: there, an anomaly that
            needs the rest cannot be seen.
        anomalies: by name, those that break the weakest level first.
        proven: the strongest level of which is certain that it holds: some execution explains the history.
    """

    committed: int
    aborted: int
    possible: int
    lists: int
    registers: int
    unordered: int
    anomalies: list[Anomaly]
    proven: str | None = None

    @property
    def weakest(self) -> str | None:
        """The weakest level that is broken; with it, all stronger ones are."""
        broken = [anomaly.breaks for anomaly in self.anomalies]
        return min(broken, key=LEVELS.index, default=None)

    def answer(self, level: str) -> Answer:
        """Says whether a level holds."""
        weakest = self.weakest
        if weakest is not None and LEVELS.index(weakest) <= LEVELS.index(level):
            return "broken"
        return "holds" if self.certain(level) or self.registers else "unknown"

    def certain(self, level: str) -> bool:
        """Says whether it is certain that a level holds; else only no anomaly was found."""
        return self.proven is not None and LEVELS.index(level) <= LEVELS.index(self.proven)

    def breaking(self, level: str) -> list[Anomaly]:
        """Returns the anomalies that break a level."""
        return [one for one in self.anomalies if LEVELS.index(one.breaks) <= LEVELS.index(level)]


def check(history: Sequence[Call], *, own_writes: bool = True, by_timestamp: bool = False) -> Verdict:
    """Finds the anomalies of a history.

    Args:
        history: its transactions, as `sim.check.operations.calls` returns them.
        own_writes: reads see what their own transaction wrote before (see `transactions`).
        by_timestamp: the versions of a register are in the order of their writers' timestamps; else their
            order is inferred.

    Raises:
        Unusable: an operation is no transaction, or it cannot be told who wrote what was read.
    """
    found = transactions(history, own_writes=own_writes)
    keys = collect(found)
    findings = Findings()
    orders = [(ListOrder if key.is_list else RegisterOrder)(key, found, findings) for key in keys]
    committed = bytearray(transaction.ended == "ok" for transaction in found)
    for order in orders:
        order.mark(committed)
    graph = Graph(found, committed)
    updates = _connect(graph, orders, by_timestamp, findings)
    graph.order_by_process()
    graph.order_by_time()
    edges = graph.edges()
    search = Search(graph, updates)
    search.run(tangles(graph, edges))
    search.report(findings)
    proven = _settle(graph, edges, search, findings)
    ends = [transaction.ended for transaction in found]
    registers = [order for order in orders if isinstance(order, RegisterOrder)]
    return Verdict(
        ends.count("ok"),
        ends.count("fail"),
        ends.count("info"),
        sum(key.f == APPEND for key in keys),
        sum(key.f == WRITE for key in keys),
        sum(not order.known for order in registers),
        findings.list(),
        proven,
    )


def _connect(
    graph: Graph, orders: Sequence[ListOrder | RegisterOrder], by_timestamp: bool, findings: Findings
) -> dict[int, set[tuple[int, Any]]]:
    """Adds the edges of all keys. Returns by transaction: in which lost updates it took part."""
    updates: dict[int, set[tuple[int, Any]]] = {}
    lost = []
    for number, order in enumerate(orders):
        graph.orders.append(order)
        groups: dict[Any, list[int]] = (
            order.connect(graph, number)
            if isinstance(order, ListOrder)
            else order.connect(graph, number, by_timestamp)
        )
        for version, group in groups.items():
            nodes = list(dict.fromkeys(group))
            if len(nodes) > 1:
                lost.append((nodes[1], nodes[0], number))
                for node in nodes:
                    updates.setdefault(node, set()).add((number, version))
    if lost:
        other, one, number = min(lost)
        ends = [Step(one, other, RW, number), Step(other, one, RW, number)]
        findings.add_cycle("lost-update", len(lost), True, hops(graph, ends))
    return updates


def _settle(graph: Graph, edges: Edges, search: Search, findings: Findings) -> str | None:
    """Looks for an order of the versions of which it is not known, or for two that no order suits.

    Returns:
        The strongest level that holds for certain.
    """
    proven: str | None = None if findings.breaks(LEVELS[0]) else LEVELS[0]  # every order suits it
    weakest: tuple[str, Conflict] | None = None
    budget = [LOOKS]
    for level in reversed(LEVELS[1:]):
        if findings.breaks(*LEVELS[: LEVELS.index(level) + 1]):
            continue
        try:
            conflict = settle(graph, edges, level, budget)
        except Unknown:
            continue
        if conflict is None:
            proven = level
            break
        weakest = level, conflict
    if weakest is not None:
        level, conflict = weakest
        one, other = (hops(graph, steps) for steps in conflict.cycles)
        name = search.suppose(conflict.cycles, level)
        findings.add_cycle(name, 1, False, one)
        findings.amend(name, [hop.why.words for hop in other])
    return proven


class Isolation:
    """A check for `@scenario(checks=...)`: the transactions of the history keep to an isolation level.

    Args:
        level: one of `LEVELS`.
        only: the operations (`f`) that are transactions; the others are not looked at.
        own_writes, by_timestamp: see `check`.
    """

    def __init__(
        self,
        level: str = "strict-serializable",
        *,
        only: Sequence[str] = (TRANSACTION, SNAPSHOT),
        own_writes: bool = True,
        by_timestamp: bool = False,
    ) -> None:
        if level not in LEVELS:
            raise ValueError(f"there is no isolation level {level!r}; there are: {', '.join(LEVELS)}")
        self._level = level
        self._only = tuple(only)
        self._own_writes = own_writes
        self._by_timestamp = by_timestamp
        self.name = level

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        from sim.check.transactions.told import sentence

        found = calls(event for event in history if event.f in self._only)
        if not found:
            return False, "the history has no transactions"
        verdict = check(found, own_writes=self._own_writes, by_timestamp=self._by_timestamp)
        return verdict.answer(self._level) == "holds", sentence(verdict, self._level)
