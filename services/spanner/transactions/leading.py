"""What a leader knows of transactions in memory, for one reign: locks, who holds them, what is being decided.

All of it is lost with the reign, and with it the transactions: they were told its number (the *term*), say it
again, and are refused by the next one. Only what is prepared lives on, in the log: the next reign
begins with its locks (`restore`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, NamedTuple

from services.spanner.errors import SpannerError
from services.spanner.group import NotLeader
from services.spanner.keys import only
from services.spanner.transactions.locks import Holder, LockTable
from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from protos import spanner_pb2 as pb
    from services.host import Host
    from services.spanner.errors import Reason
    from services.spanner.group import Group
    from services.spanner.keys import KeyRange
    from services.spanner.tablet import Tablet
    from services.spanner.transactions.coordinators import Coordinators
    from services.spanner.transactions.settings import TransactionSettings
    from services.spanner.transactions.tally import Tally


class Done(NamedTuple):
    """What came of a commit or prepare.

    Attributes:
        timestamp: of the commit, or the prepare timestamp.
        waited: nanoseconds of commit wait that were left after Paxos.
        mutations: how many there were.
    """

    timestamp: int
    waited: int = 0
    mutations: int = 0


class Transaction(Holder):
    """A read-write transaction that has come to this leader.

    Attributes:
        id: which.
        state: "open"; "logged": the entry that commits it, or prepares it, is on its way into the log,
            and it can no more be ended here at will; "ended".
        coordinator: who decides, if not this group, once its prepare has come.
        refusal: with "ended", what requests of it get.
        work: what comes of its commit or prepare, once that has begun.
        heard: when its client was last heard of, in the loop's seconds.
        pursued: it is being wounded at its coordinator.
    """

    __slots__ = ("coordinator", "heard", "id", "pursued", "refusal", "state", "work")

    def __init__(self, id: str, age: int) -> None:
        super().__init__(age, id)
        self.id = id
        self.state: Literal["open", "logged", "ended"] = "open"
        self.coordinator: int | None = None
        self.refusal: SpannerError | None = None
        self.work: asyncio.Future[Done] | None = None
        self.heard = 0.0
        self.pursued = False


class Change:
    """A schema change that is prepared, or on its way into the log.

    Attributes:
        timestamp: it takes place at this one, or later.
        settled: its outcome is applied.
    """

    __slots__ = ("settled", "timestamp")

    def __init__(self, timestamp: int) -> None:
        self.timestamp = timestamp
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Reign:
    """A leader's memory of transactions.

    Args:
        term: the number of the reign.
        group, tablet, host, coordinators, settings: see `Transactions`.

    Attributes:
        over: it does not lead any more.
        table: its locks.
        transactions: those that are not ended.
        tallies: of transactions of several groups that this one coordinates and has not decided.
        changes: schema changes under way, by transaction.
        staging: ranges of pieces, and of ends of moves, that are on their way into the log.
    """

    def __init__(
        self,
        term: int,
        group: Group,
        tablet: Tablet,
        host: Host,
        coordinators: Coordinators,
        settings: TransactionSettings,
    ) -> None:
        self.term = term
        self.group = group
        self.tablet = tablet
        self.host = host
        self.coordinators = coordinators
        self.settings = settings
        self.over = False
        self.loop = asyncio.get_running_loop()
        self.table = LockTable(self._wounded)
        self.transactions: dict[str, Transaction] = {}
        self.tallies: dict[str, Tally] = {}
        self.changes: dict[str, Change] = {}
        self.staging: dict[object, KeyRange] = {}
        self._ended: dict[str, tuple[SpannerError, float]] = {}
        self._heard: dict[Transaction, None] = {}  # those whose clients must be heard of, longest ago first
        self._sweep: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    # Transactions.

    def enter(self, who: pb.Transaction) -> Transaction:
        """Returns the transaction that a request is of; its client has been heard of.

        Raises:
            SpannerError: ABORTED: it was ended here, or its locks were those of an earlier reign.
        """
        id = who.id
        one = self.transactions.get(id)
        if one is None or (who.term and who.term != self.term):
            if (ended := self._ended.get(id)) is not None:
                raise again(ended[0])
            if who.term:
                raise self.aborted(f"transaction {id} has lost its locks", "lost-locks")
            if not id:
                raise SpannerError("INVALID_ARGUMENT", "a transaction needs an id")
            one = self.transactions[id] = Transaction(id, who.age)
        if one.work is None and one.state == "open":
            self._heard.pop(one, None)
            self._heard[one] = None
            one.heard = self.loop.time()
            if self._sweep is None:
                self._sweep = self.loop.call_later(self.settings.idle_transaction_s, self._look)
        return one

    def known(self, who: pb.Transaction) -> None:
        """Does nothing where it can be known whether a transaction has ended before.

        Raises:
            SpannerError: FAILED_PRECONDITION: it began so long ago that its outcome may be forgotten, and
                nothing here shows that it goes on: it may have committed.
        """
        if who.age <= self.tablet.forgotten and who.id not in self.transactions and not self.refused(who.id):
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"transaction {who.id} began too long ago: whether it has committed is not known any more",
                "forgotten",
            )

    def refused(self, id: str) -> bool:
        """Says whether a transaction was ended here without an outcome in the log, not long ago."""
        return id in self._ended

    def give_up(self, who: pb.Transaction) -> None:
        """Ends a transaction because its client wants it; no effect on one that is logged."""
        one = self.transactions.get(who.id)
        refusal = self.aborted(f"transaction {who.id} was rolled back")
        if one is None:
            if self.tablet.outcome(who.id) is None:
                self.remember(who.id, refusal)
        elif one.state == "open":
            self.end(one, refusal)

    def begin(self, one: Transaction) -> asyncio.Future[Done]:
        """Begins the commit or prepare of a transaction: who asks for the same meanwhile waits for what this
        returns. `carry_out` is next."""
        self._heard.pop(one, None)
        one.work = self.loop.create_future()
        return one.work

    async def carry_out(self, future: asyncio.Future[Done], work: Coroutine[None, None, Done]) -> Done:
        """Does what was begun; its caller must not be called off, whoever stops waiting for it."""
        try:
            done = await work
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as exc:
            future.set_exception(exc)
            future.exception()  # perhaps nobody waits for it
            raise
        future.set_result(done)
        return done

    def check(self, one: Transaction) -> None:
        """Does nothing while a transaction goes on here.

        Raises:
            SpannerError: its refusal; UNAVAILABLE: the reign is over.
        """
        if self.over:
            raise self.gone()
        if one.refusal is not None:
            raise again(one.refusal)

    def end(self, one: Transaction, refusal: SpannerError | None = None) -> None:
        """Ends a transaction and frees its locks; a second call has no effect.

        Args:
            one: which.
            refusal: what further requests of it get; None: its outcome is in the log.
        """
        if one.state == "ended" or self.over:
            return
        one.state, one.refusal = "ended", refusal
        del self.transactions[one.id]
        self._heard.pop(one, None)
        if refusal is not None:
            self.remember(one.id, refusal)
        self.table.release(one)
        if refusal is not None and (tally := self.tallies.get(one.id)) is not None:
            tally.refuse()

    def lose(self, one: Transaction) -> None:
        """Ends a transaction whose entry was not written because the lease was lost.

        Where it may have been written, nothing is known here, and its locks stay until the reign is over.
        """
        if one.state == "open":
            self.end(one, self.aborted(f"transaction {one.id} has lost its locks", "lost-locks"))

    def settle(self, id: str) -> None:
        """Notes that the outcome of a transaction is applied; if it changes the schema, others wait for
        that."""
        change = self.changes.pop(id, None)
        if change is not None and not change.settled.done():
            change.settled.set_result(None)

    def remember(self, id: str, refusal: SpannerError) -> None:
        """Has requests of a transaction refused from now on, for a while."""
        ended = self._ended
        now = self.loop.time()
        while ended:
            first = next(iter(ended))
            if now - ended[first][1] < self.settings.remembered_s:
                break
            del ended[first]
        ended[id] = refusal, now

    # Locks.

    async def lock(
        self, one: Transaction, ranges: Iterable[KeyRange], exclusive: bool, until: float | None = None
    ) -> None:
        """Takes locks, one after the other.

        Args:
            one: for whom.
            ranges: of what.
            exclusive: of which kind.
            until: in the loop's seconds; None: as long as it takes.

        Raises:
            SpannerError: see `check`; ABORTED: not within the time.
        """
        waited = False
        for range in ranges:
            self.check(one)  # it may have ended since it was let in, and then nobody would free the lock
            request = self.table.acquire(one, range, exclusive)
            if request is not None:
                waited = True
                try:
                    async with asyncio.timeout_at(until):
                        if not await request.granted:
                            break
                except TimeoutError:
                    raise self.aborted(f"transaction {one.id} waited too long for a lock") from None
                finally:
                    self.table.withdraw(request)
        self.check(one)
        if waited:
            await self.confirm()
            self.check(one)

    async def confirm(self) -> None:
        """Makes sure that this reign still has its lease.

        Raises:
            SpannerError: it has not.
        """
        try:
            term = await self.group.lead()
        except NotLeader as error:
            raise unavailable(error) from None
        except Unsynchronized:
            raise no_time(self.host) from None
        if term != self.term:
            raise self.aborted("the leader's lease ran out, and its locks with it", "lost-locks")

    def restore(self) -> None:
        """Gives prepared transactions their locks again."""
        for prepare in self.tablet.prepared.values():
            one = Transaction(prepare.transaction, prepare.age)
            one.state, one.coordinator = "logged", prepare.coordinator
            self.transactions[one.id] = one
            effects = prepare.effects
            for key, _ in effects.writes:
                self.table.restore(one, only(key), True)
            for range in (*effects.acquired, *effects.released, *prepare.locked):
                self.table.restore(one, range, True)
            for range in prepare.reads:
                self.table.restore(one, range, False)
            if effects.schema:
                self.changes[one.id] = Change(prepare.timestamp)

    def _wounded(self, victim: Holder, by: Holder) -> None:
        assert isinstance(victim, Transaction)
        if not self.settings.wound_wait or victim.pursued or victim.state == "ended":
            return
        self.host.trace(
            "wounded", group=self.group.number, transaction=victim.id, order=victim.order, by=by.order
        )
        if victim.state == "open":
            words = f"transaction {victim.id} was wounded by an older one"
            self.end(victim, self.aborted(words, "wounded"))
        elif victim.state == "logged" and victim.coordinator is not None:
            victim.pursued = True
            self.spawn(self._pursue(victim, victim.coordinator))

    async def _pursue(self, victim: Transaction, coordinator: int) -> None:
        """Wounds a prepared transaction at its coordinator, until it is decided."""
        pause = 0.01
        while victim.state != "ended":
            try:
                async with asyncio.timeout(self.settings.ask_again_s):
                    await self.coordinators.wound(coordinator, victim.id)
            except (SpannerError, TimeoutError):
                pass
            await asyncio.sleep(self.jittered(pause))
            pause = min(2 * pause, self.settings.ask_again_s)

    # Time.

    def _look(self) -> None:
        """Ends transactions whose clients were not heard of."""
        self._sweep = None
        idle = self.settings.idle_transaction_s
        while self._heard:
            one = next(iter(self._heard))
            left = one.heard + idle - self.loop.time()
            if left > 1e-6:
                self._sweep = self.loop.call_later(left, self._look)
                return
            words = f"transaction {one.id} was not heard of for {idle:g} s"
            self.end(one, self.aborted(words, "lost-locks"))

    def jittered(self, seconds: float) -> float:
        """Returns a pause around so many seconds."""
        return seconds * self.host.rng.uniform(0.5, 1.5)

    # The end of it.

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Runs something that ends with the reign."""
        task = self.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def finish(self) -> None:
        """Ends the reign: whoever waits is refused. What is on its way into the log goes its way."""
        self.over = True
        if self._sweep is not None:
            self._sweep.cancel()
        for task in list(self._tasks):
            task.cancel()
        for one in list(self.transactions.values()):
            self.table.release(one)
        for tally in list(self.tallies.values()):
            tally.give_up(self.gone())
        for change in self.changes.values():
            if not change.settled.done():
                change.settled.set_result(None)

    # Refusals.

    def aborted(self, detail: str, reason: Reason = "") -> SpannerError:
        """Returns a refusal that says to try the transaction again."""
        return SpannerError("ABORTED", detail, reason, retry_s=self.settings.retry_s)

    def gone(self) -> SpannerError:
        """Returns what those get who ask a reign that is over."""
        return unavailable(NotLeader(self.group.leader))


def unavailable(error: NotLeader) -> SpannerError:
    """Returns what a client gets where this replica does not lead."""
    return SpannerError("UNAVAILABLE", str(error), "not-leader", hint=error.leader)


def no_time(host: Host) -> SpannerError:
    """Returns what a client gets from a host that does not know the time."""
    return SpannerError("UNAVAILABLE", f"the clock of {host.name} is not synchronized", "no-time")


def again(error: SpannerError) -> SpannerError:
    """Returns the same refusal once more: an exception that was raised already has its own history."""
    return SpannerError(error.code, error.detail, error.reason, hint=error.hint, retry_s=error.retry_s)
