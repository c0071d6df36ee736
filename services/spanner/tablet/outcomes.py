"""What became of transactions: a commit that comes again is not done again, participants get their answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.spanner.tablet.errors import demand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RETENTION = 600 * 1_000_000_000
"""Nanoseconds of timestamps for which an outcome is kept at least. An older transaction that has none here
may have had one: see `Outcomes.forgotten`."""


class Decision(Struct, frozen=True, array_like=True, gc=False):
    """An outcome.

    Attributes:
        transaction: whose.
        commit: s; None: aborted.
        decided: the timestamp of the log entry that says so.
        participants: groups that may yet ask for it: it is kept until `Finished`, however long that takes.
    """

    transaction: str
    commit: int | None
    decided: int
    participants: tuple[int, ...] = ()


class Outcomes:
    """The outcomes that are kept, in the order of the log.

    Attributes:
        forgotten: outcomes decided up to this timestamp may have been dropped. Whoever is asked for a
            transaction that began
            no later and has no outcome here must not decide it (again).
    """

    def __init__(self, decisions: Iterable[Decision] = (), forgotten: int = 0) -> None:
        self._decisions = {decision.transaction: decision for decision in decisions}
        self.forgotten = forgotten

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._decisions.values())

    def __len__(self) -> int:
        return len(self._decisions)

    def get(self, transaction: str) -> Decision | None:
        """Returns what became of a transaction; None where that is not known here."""
        return self._decisions.get(transaction)

    def add(self, decision: Decision) -> bool:
        """Keeps an outcome; says whether it is new.

        Raises:
            Contradiction: there is another (invariant 8).
        """
        known = self._decisions.get(decision.transaction)
        if known is not None:
            demand(
                known.commit == decision.commit,
                f"{decision.transaction} had the outcome {known.commit}, and now {decision.commit}",
            )
            return False
        self._decisions[decision.transaction] = decision
        return True

    def finish(self, transaction: str) -> None:
        """Notes that no participant will ask for an outcome any more."""
        decision = self._decisions.get(transaction)
        if decision is not None and decision.participants:
            self._decisions[transaction] = Decision(transaction, decision.commit, decision.decided)

    def collect(self, before: int) -> None:
        """Drops those that were decided before a timestamp, and that nobody will ask for."""
        if before <= self.forgotten:
            return
        self.forgotten = before
        gone = []
        for decision in self._decisions.values():
            if decision.decided >= before:
                break
            if not decision.participants:
                gone.append(decision.transaction)
        for transaction in gone:
            del self._decisions[transaction]
