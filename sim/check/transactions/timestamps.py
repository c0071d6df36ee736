"""Stores that tell timestamps: do these explain what was read, and do they agree with real time?

Spanner (OSDI 2012) promises more than that some order exists: its commit timestamps are one. Two checks:

- `TimestampReplay`: the transactions, carried out in the order of their timestamps, read what they did read
  (`replay.py`).
- `ExternalConsistency`: if a transaction that wrote had ended before another one began, its timestamp is the
  smaller one; it may be equal to that of one that only reads. A `snapshot` chose its own, perhaps of long
  ago, so nothing follows for it; neither for who comes after one
  that only read, which promises others nothing.

They need no unique values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sim.check.operations import Unusable, calls
from sim.check.transactions.findings import Hop
from sim.check.transactions.graph import Evidence
from sim.check.transactions.history import READ, SNAPSHOT, TRANSACTION, Transaction, transactions
from sim.check.transactions.replay import Disagreement, replay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from sim.check.operations import Call


def real_time(history: Sequence[Transaction]) -> tuple[Disagreement | None, str]:
    """Compares timestamps with real time.

    Returns:
        The first two transactions for which they disagree, if any; and in words how many were looked at.
    """
    events = []
    looked = 0
    for one in history:
        if one.ended == "ok" and one.timestamp is not None and one.f != SNAPSHOT:
            writes = any(f != READ for f, _, _ in one.operations)
            events.append((one.called, False, writes, one))
            looked += 1
            if writes:
                events.append((one.returned, True, writes, one))
    events.sort(key=lambda event: event[0])
    latest: Transaction | None = None  # of those that have ended: the one with the greatest timestamp
    found: Disagreement | None = None
    for _, ended, writes, one in events:
        stamp = one.timestamp
        assert stamp is not None
        if ended:
            if latest is None or latest.timestamp is None or stamp > latest.timestamp:
                latest = one
        elif latest is not None and latest.timestamp is not None and stamp < latest.timestamp + writes:
            if found is not None:
                found.count += 1
                continue
            time = (
                f"{latest.name} had ended (line {latest.returned:,}) before {one.name} began (line "
                f"{one.called:,})"
            )
            stamps = f"{one.name} has timestamp {stamp}, {latest.name} {latest.timestamp}"
            cycle = [
                Hop(latest, one, "realtime", None, Evidence(time)),
                Hop(one, latest, "timestamp", None, Evidence(stamps)),
            ]
            found = Disagreement(1, [latest, one], f"{time}, but {stamps}", cycle)
    return found, f"{looked:,} timestamps agree with real time"


def look(history: Sequence[Call], *, own_writes: bool = False) -> list[tuple[str, Disagreement | None, str]]:
    """Makes both checks on a history that was read: of each its name, what is wrong, and the words of it.

    Raises:
        Unusable: an operation is no transaction, or none has a timestamp.
    """
    read = transactions(history, any_value=True)
    if not any(one.timestamp is not None for one in read):
        raise Unusable('no transaction has a timestamp: an "ok" tells it as "timestamp"')
    found = []
    for name, (wrong, words) in (
        ("timestamp-replay", replay(read, own_writes=own_writes)),
        ("timestamp-order", real_time(read)),
    ):
        found.append((name, wrong, words if wrong is None else wrong.words))
    return found


class _TimestampCheck(ABC):
    """What both checks do with a history."""

    name: str

    def __init__(self, *, only: Sequence[str] = (TRANSACTION, SNAPSHOT), own_writes: bool = False) -> None:
        self._only = tuple(only)
        self._own_writes = own_writes

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        found = calls(event for event in history if event.f in self._only)
        return self.judge(found)

    def judge(self, history: Sequence[Call]) -> tuple[bool, str]:
        """Judges a history that was read."""
        read = transactions(history, own_writes=True, any_value=True, known=self._only)
        if not any(one.timestamp is not None for one in read):
            return False, "no transaction of the history has a timestamp"
        found, words = self._look(read)
        if found is None:
            return True, words
        more = f" (and {found.count - 1:,} more)" if found.count > 1 else ""
        return False, f"{found.words}{more}"

    @abstractmethod
    def _look(self, history: Sequence[Transaction]) -> tuple[Disagreement | None, str]:
        """Returns what disagrees, and in words what the verdict rests on."""


class TimestampReplay(_TimestampCheck):
    """A check for `@scenario(checks=...)`: replayed in the order of timestamps, each reads what it read.

    Source: Spanner, sections 4.1.2 to 4.1.4.

    Args:
        only: the operations (`f`) that are transactions; the others are not looked at.
        own_writes: reads see what their transaction wrote before; False: as in Spanner, they do not.
    """

    name = "replay by timestamp"

    def _look(self, history: Sequence[Transaction]) -> tuple[Disagreement | None, str]:
        return replay(history, own_writes=self._own_writes)


class ExternalConsistency(_TimestampCheck):
    """A check for `@scenario(checks=...)`: timestamps agree with real time.

    Source: Spanner, section 4.1.2.

    Args:
        only: the operations (`f`) that are transactions; the others are not looked at.
    """

    name = "external consistency"

    def _look(self, history: Sequence[Transaction]) -> tuple[Disagreement | None, str]:
        return real_time(history)
