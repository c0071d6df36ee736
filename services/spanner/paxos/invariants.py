"""Paxos's and the lease's invariants that one replica can see broken, asserted as it runs.

Each costs a comparison or two, and they are always on. What they find is a bug here or in a driver, a disk
that has forgotten what it confirmed, or a clock outside its interval: going on would lose what was committed,
so the replica has to stop. What only an observer of all replicas can see (one value a slot, disjoint leases)
is checked in the tests and in the simulated world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.paxos.ballots import text

if TYPE_CHECKING:
    from services.spanner.paxos.ballots import Ballot


class InvariantBroken(AssertionError):
    """A rule that must hold does not: the replica must not go on."""


def promises_grow(promised: Ballot, ballot: Ballot) -> None:
    """A replica never goes back behind a promise."""
    if ballot < promised:
        raise InvariantBroken(f"ballot {text(ballot)} would be accepted where {text(promised)} was promised")


def single_vote(vote: Ballot, until: int, earliest: int, ballot: Ballot) -> None:
    """A vote is given to one ballot at a time, until TT.after(t_end) (Appendix A)."""
    if vote not in (0, ballot) and earliest <= until:
        raise InvariantBroken(f"a vote for {text(ballot)} while the one for {text(vote)} holds until {until}")


def timestamps_grow(before: int, timestamp: int) -> None:
    """Timestamps strictly increase along the log, across leaders (4.1.2)."""
    if timestamp <= before:
        raise InvariantBroken(f"an entry of timestamp {timestamp} would come after one of {before}")


def keeps_its_promise(index: int, timestamp: int, after: int, promise: int) -> None:
    """No entry after index n has a timestamp below MinNextTS(n) (4.2.4)."""
    if index > after and timestamp <= promise:
        raise InvariantBroken(
            f"entry {index} has timestamp {timestamp}; after {after} all should be above {promise}"
        )


def is_safe(timestamp: int, safe: int) -> None:
    """Nothing is applied at or below t_Paxos_safe (4.1.3)."""
    if timestamp <= safe:
        raise InvariantBroken(f"an entry of timestamp {timestamp} is applied where {safe} was safe")


def chosen_stays(committed: int, first: int) -> None:
    """What is known to be chosen is never taken out of a log."""
    if first <= committed:
        raise InvariantBroken(f"the log would change from {first} on, and it is chosen up to {committed}")


def chosen_is_here(last: int, index: int) -> None:
    """Only what is in the own log becomes chosen here."""
    if index > last:
        raise InvariantBroken(f"{index} is chosen, and the log ends at {last}")


def within_lease(start: int, end: int, timestamp: int) -> None:
    """What a leader assigns or promises lies in its lease (3.C 3)."""
    if not start < timestamp < end:
        raise InvariantBroken(f"timestamp {timestamp} is outside the lease from {start} to {end}")


def covered(s_max: int, timestamp: int) -> None:
    """s_max covers what was assigned and promised (4.1.1)."""
    if timestamp > s_max:
        raise InvariantBroken(f"{timestamp} was assigned or promised, and s_max is {s_max}")


def s_max_has_passed(earliest: int, s_max: int) -> None:
    """A leader releases its votes only after TT.after(s_max) (4.1.1)."""
    if earliest <= s_max:
        raise InvariantBroken(f"votes would be released at {earliest}, and s_max is {s_max}")
