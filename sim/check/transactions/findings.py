"""What was found: anomalies by name, with how many there are and the clearest instance of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from sim.check.transactions.graph import Evidence
from sim.check.transactions.history import Transaction
from sim.check.transactions.levels import broken_level, rank

if TYPE_CHECKING:
    from collections.abc import Sequence


class Hop(Struct):
    """An edge of a cycle.

    Attributes:
        kind: "ww", "wr", "rw", "process" or "realtime".
        key: of ww, wr and rw.
    """

    source: Transaction
    target: Transaction
    kind: str
    key: object
    why: Evidence


class Anomaly(Struct):
    """One kind of anomaly in a history.

    Attributes:
        name: as in `levels.py`.
        count: how many there are.
        all: False: there may be more; counting ended at a limit.
        transactions: of the instance that is told.
        words: what happened there; one sentence, or one for each edge of the cycle.
        cycle: its edges in order, if it is one.
    """

    name: str
    count: int
    all: bool
    transactions: list[Transaction]
    words: list[str]
    cycle: list[Hop] = []

    @property
    def breaks(self) -> str:
        """The weakest level that it breaks."""
        return broken_level(self.name)


class Findings:
    """Collects anomalies."""

    def __init__(self) -> None:
        self._found: dict[str, Anomaly] = {}

    def add(self, name: str, transactions: Sequence[Transaction], words: str) -> None:
        """Adds an anomaly that is no cycle; the first in the history is kept."""
        found = self._found.get(name)
        if found is None:
            self._found[name] = Anomaly(name, 1, True, list(transactions), [words])
            return
        found.count += 1
        if transactions[0].called < found.transactions[0].called:
            found.transactions, found.words = list(transactions), [words]

    def add_cycle(self, name: str, count: int, all_: bool, cycle: list[Hop]) -> None:
        """Adds the cycles of a name, with the shortest."""
        self._found[name] = Anomaly(
            name, count, all_, [hop.source for hop in cycle], [hop.why.words for hop in cycle], cycle
        )

    def amend(self, name: str, otherwise: Sequence[str]) -> None:
        """Adds to the words of a cycle what would be if two transactions came in the other order."""
        found = self._found[name]
        found.words = [*found.words, "and in the other order:", *otherwise]

    def list(self) -> list[Anomaly]:
        """Returns them, those that break the weakest level first."""
        return sorted(self._found.values(), key=lambda anomaly: rank(anomaly.name))

    def breaks(self, *levels: str) -> bool:
        """Says whether one of these levels is the weakest that something found breaks."""
        return any(anomaly.breaks in levels for anomaly in self._found.values())
