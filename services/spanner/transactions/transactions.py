"""A group's transactions, as its replica serves them: the state machine on its Paxos group, and its doors."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from services.spanner.entries import Collect, Commit, Prepare, decode, encode
from services.spanner.group import NotLeader
from services.spanner.transactions import read_only, reading, staging
from services.spanner.transactions.coordinator import Coordinator
from services.spanner.transactions.leading import Reign, no_time, unavailable
from services.spanner.transactions.load import Load
from services.spanner.transactions.participant import Participant
from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from services.host import Host
    from services.spanner.group import Group
    from services.spanner.tablet import Tablet
    from services.spanner.transactions.coordinators import Coordinators
    from services.spanner.transactions.settings import TransactionSettings
    from services.spanner.truetime.interval import Interval

STEPS = 8  # versions are collected so many times in the time for which they are kept, at the most


class Transactions:
    """A replica's tablet with its transactions; implements `group.StateMachine`.

    It is made before its group (`Replica(..., machine=transactions, ...)`), and attached to it before
    anything is asked. Requests are those of `protos/spanner.proto`; nothing here knows gRPC. All methods
    that serve
    raise `SpannerError` only: UNAVAILABLE "not-leader" where another replica leads, "no-time" where
    TrueTime is not synchronized; ABORTED ("wounded", "lost-locks", "schema", or for a time-out) with
    `retry_s`; ABORTED "moved" where the group does not own a key that is asked for.

    Args:
        tablet: the state of the group at this replica.
        host: the door.
        coordinators: reaches the leaders of other groups.
        settings: times.

    Attributes:
        demand: what is asked of this replica: reads, and at the leader writes.
    """

    def __init__(
        self, tablet: Tablet, host: Host, coordinators: Coordinators, settings: TransactionSettings
    ) -> None:
        self._tablet = tablet
        self._host = host
        self._coordinators = coordinators
        self._settings = settings
        self._reign: Reign | None = None
        self._collect_at = 0
        self.demand = Load()

    def attach(self, group: Group) -> None:
        """Tells which Paxos group it is on; once, before anything else is called."""
        self._group = group

    # The state machine of the group.

    def apply(self, index: int, timestamp: int, entry: bytes) -> None:
        """Applies an entry; see `StateMachine`."""
        decoded = decode(entry)
        self._tablet.apply(index, timestamp, decoded)
        if self._reign is not None:
            if isinstance(decoded, (Commit, Prepare)) and decoded.effects.writes:
                self.demand.note(decoded.effects.writes[0][0])
            if timestamp >= self._collect_at:
                self._collect(self._reign, timestamp)

    def leads(self, term: int) -> None:
        """Begins a reign: prepared transactions get their locks again, and their coordinators are asked."""
        self.follows()
        self._reign = Reign(term, self._group, self._tablet, self._host, self._coordinators, self._settings)
        self._coordinator = Coordinator(self._reign)
        self._participant = Participant(self._reign)
        self._participant.restore()

    def follows(self) -> None:
        """Ends the reign: locks are gone, and whoever waits for one is refused."""
        if self._reign is not None:
            self._reign.finish()
            self._reign = None

    def save(self) -> Iterator[bytes]:
        """Yields the state; see `StateMachine`."""
        return self._tablet.save()

    async def load(self, pieces: AsyncIterator[bytes]) -> None:
        """Takes over a state; see `StateMachine`."""
        await self._tablet.load(pieces)

    # What clients ask.

    async def read(self, request: pb.ReadRequest) -> AsyncIterator[pb.PartialResultSet]:
        """Reads: under shared locks at the leader (a read-write transaction), or without locks
        (`read_only.py`).

        A read under locks returns the latest committed rows, which the transaction itself has not
            changed: its writes are buffered at the client. Every part tells the leader's term. All
            answers of one group to a transaction must tell the same one; where they do not, its locks are
            lost, and the client gives it up.

        Raises:
            SpannerError: see the class; OUT_OF_RANGE for versions that were collected.
        """
        if request.ranges:
            self.demand.note(request.ranges[0].start)
        if request.transaction.HasField("read_write"):
            parts = reading.read(await self._lead(), request)
        else:
            waits = self._settings.commit_wait
            parts = read_only.read(self._group, self._tablet, request, commit_wait=waits)
        async for part in parts:
            yield part

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        """Commits, as the coordinator: of one group at once, of several when all participants have prepared.

        The answer comes after the commit wait. The caller must not be cancelled, even if nobody wants the
        answer any more: what was begun goes on.
        The same commit again gets the same outcome, also from a later leader, and while the first is
        under way.

        Raises:
            SpannerError: see the class; ABORTED: it did not and will not commit; UNAVAILABLE: it may have,
                or may yet: ask again, the same group. ALREADY_EXISTS, NOT_FOUND, FAILED_PRECONDITION,
                INVALID_ARGUMENT: a mutation cannot be; nothing was committed.
        """
        arrived = self._now()
        await self._lead(arrived)
        commit, waited, count = await self._coordinator.commit(request, arrived.latest)
        return pb.CommitReply(commit_timestamp=commit, waited=waited, mutation_count=count)

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepares, as a participant. The same again gets the same answer. Not to be cancelled, as `commit`.

        Groups that were only read are participants too, without mutations: their locks must hold at the
            commit.

        Raises:
            SpannerError: as `commit`; with a refusal that is final the coordinator has been told to abort.
        """
        arrived = self._now()
        await self._lead(arrived)
        return pb.PrepareReply(prepare_timestamp=await self._participant.prepare(request, arrived.latest))

    async def rollback(self, request: pb.TransactionRequest) -> None:
        """Gives a transaction up: its locks are freed. What is decided, or prepared, is left as it is.

        Raises:
            SpannerError: see the class.
        """
        (await self._lead()).give_up(request.transaction)

    async def keep_alive(self, request: pb.TransactionRequest) -> None:
        """Says that the client is there (4.2.1).

        Raises:
            SpannerError: ABORTED: the transaction has lost its locks.
        """
        (await self._lead()).enter(request.transaction)

    # What the leaders of other groups ask.

    async def decide(self, request: pb.DecideRequest) -> pb.Decision:
        """Takes a participant's vote, and returns the outcome when it may be known: after the commit wait.

        A transaction that nobody has heard of is aborted, in the log, after `undecided_s`.

        Raises:
            SpannerError: see the class: ask again.
        """
        await self._lead()
        return pb.Decision(commit_timestamp=await self._coordinator.decide(request))

    async def wound(self, request: pb.WoundRequest) -> None:
        """Aborts a transaction that this group coordinates, unless it is decided.

        Raises:
            SpannerError: see the class: ask again.
        """
        await self._lead()
        self._coordinator.wound(request.transaction)

    # What placement asks.

    async def stage(self, request: pb.ImportRequest) -> None:
        """Takes in a piece of a range that is being moved here, or drops what was staged for a move (2.2).

        Raises:
            SpannerError: see the class; FAILED_PRECONDITION: the range is being acquired, or is owned
                already; INVALID_ARGUMENT: the piece cannot be read.
        """
        await staging.stage(await self._lead(), request)

    @property
    def garbage(self) -> bool:
        """Whether versions are kept that nobody may read any more, though nothing is written that would have
        them collected: of ranges that were released, of tables that were dropped."""
        try:
            now = self._group.truetime.now().earliest
        except Unsynchronized:
            return False
        return self._tablet.garbage(now - round(self._settings.keep_s * 1e9))

    def tidy(self) -> None:
        """Has a leader's garbage collected, where nothing is written."""
        if self._reign is not None and self.garbage:
            now = self._group.truetime.now().earliest
            if now >= self._collect_at:
                self._collect(self._reign, now)

    def _collect(self, reign: Reign, timestamp: int) -> None:
        """Has versions collected that nobody may read any more, now and then: only where something is
        written.

        What is prepared may yet commit at its prepare timestamp: nothing from there on is collected.
        """
        tablet, keep = self._tablet, round(self._settings.keep_s * 1e9)
        began = tablet.schemas[0][0] if tablet.schemas else timestamp
        prepared = min((one.timestamp for one in tablet.prepared.values()), default=timestamp)
        horizon = min(timestamp - keep, prepared - 1)
        if horizon - max(tablet.horizon, began) >= keep // STEPS:
            reign.spawn(self._log_collect(reign, horizon))
        self._collect_at = timestamp + keep // STEPS

    async def _log_collect(self, reign: Reign, horizon: int) -> None:
        with suppress(NotLeader, Unsynchronized):  # a later reign does it
            await self._group.write(lambda _: encode(Collect(horizon)), 0, reign.term)

    async def _lead(self, now: Interval | None = None) -> Reign:
        """Returns the present reign, once this replica leads and its lease holds.

        Nothing may be awaited between this and the use of what belongs to the reign.
        """
        try:
            term = await self._group.lead(now)
        except NotLeader as error:
            raise unavailable(error) from None
        except Unsynchronized:
            raise no_time(self._host) from None
        reign = self._reign
        if reign is None or reign.term != term:
            raise unavailable(NotLeader(self._group.leader))
        return reign

    def _now(self) -> Interval:
        """Returns TT.now()."""
        try:
            return self._group.truetime.now()
        except Unsynchronized:
            raise no_time(self._host) from None
