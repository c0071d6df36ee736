"""The seam between a Paxos group and the tablet on it: what each may ask of the other.

Paxos orders entries that it does not understand, gives them timestamps, and says who leads and until when
(implemented by `replica/`, over the rules of `paxos/`). The state machine applies them, and while its
replica leads, it also decides what is written (`transactions/`, over `tablet/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from services.spanner.truetime import Interval, TrueTime


class Member(Struct, frozen=True):
    """A replica of a group.

    Attributes:
        server: the host's name of its spanserver.
        zone: where that is.
        kind: "read-write", "read-only" (does not vote), or "witness" (votes, has no data, never leads).
    """

    server: str
    zone: str
    kind: str = "read-write"

    @property
    def votes(self) -> bool:
        """Whether it counts in quorums."""
        return self.kind != "read-only"

    @property
    def holds_data(self) -> bool:
        """Whether it has a tablet, and can be read."""
        return self.kind != "witness"


class NotLeader(Exception):
    """This replica does not lead (any more).

    Attributes:
        leader: who does, as far as this replica knows; "" where it does not.
    """

    def __init__(self, leader: str = "") -> None:
        super().__init__(f"the leader is {leader}" if leader else "there is no leader")
        self.leader = leader


class Deposed(NotLeader):
    """It led as the entry was proposed, and no longer: nobody here knows what becomes of the entry."""


class TooFar(ValueError):
    """A timestamp is so far in the future that no lease will reach it; nothing was written."""


class Group(Protocol):
    """A Paxos group, as the state machine of one of its replicas sees it."""

    @property
    def number(self) -> int:
        """Which group."""
        ...

    @property
    def members(self) -> tuple[Member, ...]:
        """Its replicas; they never change."""
        ...

    @property
    def truetime(self) -> TrueTime:
        """The host's TrueTime."""
        ...

    @property
    def leader(self) -> str:
        """Who leads, as far as this replica knows; "" where it does not."""
        ...

    @property
    def term(self) -> int:
        """The number of the present leader's reign while this replica leads and holds the lease; else 0.

        Another reign has a larger one, also of the same replica.
        """
        ...

    async def lead(self, now: Interval | None = None) -> int:
        """Returns `term` once this replica leads and its lease holds; takes votes again if need be.

        Every read under locks begins with it.

        Args:
            now: TT.now(), where the caller has just asked.

        Raises:
            NotLeader: another leads, or no quorum was found.
        """
        ...

    async def write(self, entry: Callable[[int], bytes], at_least: int = 0, term: int = 0) -> int:
        """Replicates an entry, and returns its timestamp once it is chosen and applied here.

        Waits until the lease covers a timestamp that may be assigned, then assigns it, calls `entry`
        with it, and in the same step puts what that returns into the log: what is checked inside
        `entry` holds at that place.

        Args:
            entry: makes the entry for its timestamp; what it raises is raised here, and nothing is written.
            at_least: the timestamp is not below it, and above all that were assigned or promised before.
            term: the reign in which this must happen; 0 for the present one.

        Raises:
            NotLeader: nothing was written.
            Deposed: it may have been written, or may be yet.
            TooFar: no lease reaches `at_least`; nothing was written.
        """
        ...

    def assigned(self) -> int:
        """Returns the last timestamp assigned or promised: later writes are above it. Only while it leads."""
        ...

    async def paxos_safe(self, t: int) -> None:
        """Waits until t_Paxos_safe ≥ t here: no entry that is still to be applied here has a timestamp ≤ t.

        A leader promises it to itself once all that it has assigned up to t is applied; others wait for
        entries, or ask the leader for MinNextTS (4.2.4). Waits as long as it takes: callers set the deadline.
        """
        ...

    @property
    def paxos_safe_now(self) -> int:
        """t_Paxos_safe, as it is."""
        ...


class StateMachine(Protocol):
    """The tablet of a replica, as the Paxos group sees it. Nothing here waits."""

    def apply(self, index: int, timestamp: int, entry: bytes) -> None:
        """Applies the entry at that place of the log: each once, in order, in the life of a process."""
        ...

    def leads(self, term: int) -> None:
        """Tells that this replica leads now: all that was chosen before is applied, its lease has begun."""
        ...

    def follows(self) -> None:
        """Tells that it does not lead (any more)."""
        ...

    def save(self) -> Iterator[bytes]:
        """Yields the state as of this call in pieces, however much is applied before they are all taken."""
        ...

    async def load(self, pieces: AsyncIterator[bytes]) -> None:
        """Puts what `save` yielded in the place of the state.

        Raises:
            ValueError: it is damaged.
        """
        ...
