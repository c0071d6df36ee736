"""A group's transactions, as its replica serves them: the state machine on its Paxos group, and its doors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from protos import spanner_pb2 as pb
    from services.host import Host
    from services.spanner.group import Group
    from services.spanner.tablet import Tablet
    from services.spanner.transactions.coordinators import Coordinators
    from services.spanner.transactions.settings import TransactionSettings


class Transactions:
    """A replica's tablet with its transactions; implements `group.StateMachine`.

    It is made before its group (`Replica(..., machine=transactions, ...)`), and attached to it before anything is
    asked. Requests are those of `protos/spanner.proto`; nothing here knows gRPC. All methods that serve
    raise `SpannerError` only: UNAVAILABLE "not-leader" where another replica leads, "no-time" where TrueTime is
    not synchronized; ABORTED ("wounded", "lost-locks", "schema", or for a time-out) with `retry_s`; ABORTED "moved"
    where the group does not own a key that is asked for.

    Args:
        tablet: the state of the group at this replica.
        host: the door.
        coordinators: reaches the leaders of other groups.
        settings: times.
    """

    def __init__(
        self, tablet: Tablet, host: Host, coordinators: Coordinators, settings: TransactionSettings
    ) -> None:
        raise NotImplementedError

    def attach(self, group: Group) -> None:
        """Tells which Paxos group it is on; once, before anything else is called."""
        raise NotImplementedError

    # The state machine of the group.

    def apply(self, index: int, timestamp: int, entry: bytes) -> None:
        """Applies an entry; see `StateMachine`."""
        raise NotImplementedError

    def leads(self, term: int) -> None:
        """Begins a reign: prepared transactions get their locks again, and their coordinators are asked."""
        raise NotImplementedError

    def follows(self) -> None:
        """Ends the reign: locks are gone, and whoever waits for one is refused."""
        raise NotImplementedError

    def save(self) -> Iterator[bytes]:
        """Yields the state; see `StateMachine`."""
        raise NotImplementedError

    async def load(self, pieces: AsyncIterator[bytes]) -> None:
        """Takes over a state; see `StateMachine`."""
        raise NotImplementedError

    # What clients ask.

    def read(self, request: pb.ReadRequest) -> AsyncIterator[pb.PartialResultSet]:
        """Reads: under shared locks at the leader (a read-write transaction), or without locks (`read_only.py`).

        A read under locks returns the latest committed rows, which the transaction itself has not changed: its
        writes are buffered at the client. Every part tells the leader's term. All answers of one group to a
        transaction must tell the same one; where they do not, its locks are lost, and the client gives it up.

        Raises:
            SpannerError: see the class; OUT_OF_RANGE for versions that were collected.
        """
        raise NotImplementedError

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        """Commits, as the coordinator: of one group at once, of several when all participants have prepared.

        The answer comes after the commit wait. What was begun is not called off when the caller is cancelled.
        The same commit again gets the same outcome, also from a later leader, and while the first is under way.

        Raises:
            SpannerError: see the class; ABORTED: it did not and will not commit; UNAVAILABLE: it may have,
                or may yet: ask again, the same group. ALREADY_EXISTS, NOT_FOUND, FAILED_PRECONDITION,
                INVALID_ARGUMENT: a mutation cannot be; nothing was committed.
        """
        raise NotImplementedError

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepares, as a participant. The same again gets the same answer.

        Groups that were only read are participants too, without mutations: their locks must hold at the commit.

        Raises:
            SpannerError: as `commit`; with a refusal that is final the coordinator has been told to abort.
        """
        raise NotImplementedError

    async def rollback(self, request: pb.TransactionRequest) -> None:
        """Gives a transaction up: its locks are freed. What is decided, or prepared, is left as it is.

        Raises:
            SpannerError: see the class.
        """
        raise NotImplementedError

    async def keep_alive(self, request: pb.TransactionRequest) -> None:
        """Says that the client is there (4.2.1).

        Raises:
            SpannerError: ABORTED: the transaction has lost its locks.
        """
        raise NotImplementedError

    # What the leaders of other groups ask.

    async def decide(self, request: pb.DecideRequest) -> pb.Decision:
        """Takes a participant's vote, and returns the outcome when it may be known: after the commit wait.

        A transaction that nobody has heard of is aborted, in the log, after `undecided_s`.

        Raises:
            SpannerError: see the class: ask again.
        """
        raise NotImplementedError

    async def wound(self, request: pb.WoundRequest) -> None:
        """Aborts a transaction that this group coordinates, unless it is decided.

        Raises:
            SpannerError: see the class: ask again.
        """
        raise NotImplementedError
