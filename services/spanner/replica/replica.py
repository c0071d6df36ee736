"""`Replica`: one replica of a group; the rules of `paxos/` at work for the tablet on it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from services.spanner.group import Deposed, NotLeader
from services.spanner.paxos import messages
from services.spanner.paxos import outputs as out
from services.spanner.replica.links import letter
from services.spanner.truetime import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from services.spanner.group import Member, StateMachine
    from services.spanner.paxos import Paxos, Position
    from services.spanner.replica.replicas import Replicas
    from services.spanner.truetime import Interval, TrueTime

CHECKPOINT_ENTRIES = 20_000  # applied from one checkpoint to the next, or ...
CHECKPOINT_BYTES = 8 << 20  # ... so many bytes of them
KEEP = 1000  # entries before a checkpoint that stay in memory, for others that are a little behind
OUTSTANDING = 10_000  # entries that may be proposed and not yet applied
AGAIN = 0.1  # seconds
OVERHEAD = 24  # bytes of an entry besides its value, about
LEASE_NOTE = 100_000_000  # ns that a lease may move without a note in the trace

LATER = frozenset((out.Apply, out.Leads, out.Renewed, out.Follows, out.Elsewhere, out.Safe))
"""What waits while a checkpoint is loaded: all that the state machine hears of."""

log = logging.getLogger(__name__)


class Replica:
    """A replica of a group; implements `group.Group`. Made by `Replicas.add`.

    It has no task and no timer of its own: it is told, and what comes of that is carried out in one go.

    Attributes:
        alarm: when its rules want to be told the time, as far as that is set; for `Alarms`.
    """

    __slots__ = (
        "_again",
        "_checkpoint",
        "_count",
        "_do",
        "_held",
        "_leaders",
        "_lease",
        "_machine",
        "_noted",
        "_position",
        "_proposed",
        "_reign",
        "_replicas",
        "_rules",
        "_safe",
        "_since",
        "_since_bytes",
        "_waiting",
        "alarm",
        "members",
        "number",
    )

    def __init__(
        self,
        number: int,
        members: tuple[Member, ...],
        machine: StateMachine | None,
        rules: Paxos,
        position: Position,
        replicas: Replicas,
    ) -> None:
        """Makes one.

        Args:
            number: of the group.
            members: of the group.
            machine: loaded from the checkpoint; None for a witness.
            rules: of this replica.
            position: that of the checkpoint.
            replicas: all of this spanserver.
        """
        self.number = number
        self.members = members
        self.alarm = 0
        self._machine = machine
        self._rules = rules
        self._position = position  # the state machine's
        self._replicas = replicas
        self._reign = 0  # since the state machine was told that it leads
        self._lease = self._noted = (0, 0)  # the lease, now and as of the last note in the trace
        self._proposed: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._leaders: list[asyncio.Future[int]] = []  # who waits in `lead`
        self._again: list[asyncio.Future[None]] = []  # who tries to assign again when something has changed
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # for t_Paxos_safe: a heap
        self._count = 0
        self._held: deque[Any] | None = None  # what waits for a checkpoint to be loaded
        self._safe = 0  # t_Paxos_safe meanwhile
        self._since = self._since_bytes = 0  # applied since the last checkpoint
        self._checkpoint: asyncio.Task[None] | None = None
        self._do: dict[type, Callable[[Any], None]] = {
            out.Write: self._write,
            out.Send: self._send,
            out.Apply: self._apply,
            out.Install: self._install,
            out.FetchCheckpoint: self._fetch,
            out.Trim: self._trim,
            out.Leads: self._leads,
            out.Renewed: self._renewed,
            out.Follows: self._follows,
            out.Elsewhere: self._elsewhere,
            out.Safe: self._is_safe,
        }

    # group.Group

    @property
    def truetime(self) -> TrueTime:
        """The host's TrueTime."""
        return self._replicas.truetime

    @property
    def leader(self) -> str:
        """Who leads, as far as this replica knows; "" where it does not."""
        return self._rules.leader

    @property
    def term(self) -> int:
        """The present reign, while this replica leads and holds the lease; else 0."""
        try:
            return self._term(self.truetime.now()) if self._reign else 0
        except Unsynchronized:
            return 0

    @property
    def reign(self) -> int:
        """As `term`, also while the lease has run out: the next request renews it, if nobody else leads."""
        return self._reign

    def _term(self, now: Interval) -> int:
        """Returns the reign that the state machine knows of, if the lease holds; else 0."""
        term = self._rules.term(now)
        return term if term == self._reign else 0

    async def lead(self, now: Interval | None = None) -> int:
        """Returns `term` once this replica leads and its lease holds; see `Group.lead`.

        Raises:
            NotLeader: another leads, or no quorum was found.
            Unsynchronized: this host does not know the time.
        """
        while True:
            if now is None:
                now = self.truetime.now()
            term = self._term(now)
            if term:
                if self._rules.use(now):
                    self._replicas.soon(self)
                return term
            self._alive()
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._leaders.append(future)
            self._rules.lead(now)
            self._replicas.soon(self)
            term, now = await future, None
            if term:
                return term

    async def write(self, entry: Callable[[int], bytes], at_least: int = 0, term: int = 0) -> int:
        """Replicates an entry, and returns its timestamp once it is chosen and applied; see `Group.write`.

        Raises:
            NotLeader: nothing was written; also where this host does not know the time: then it leads nobody.
            Deposed: it may have been written, or may be yet.
            TooFar: no lease reaches that timestamp; nothing was written.
        """
        rules = self._rules
        while True:
            if term and self._reign != term:
                raise NotLeader(self.leader)
            try:
                now = self.truetime.now()
                if not self._term(now):
                    await self.lead()
                    continue
            except Unsynchronized:
                raise NotLeader from None
            if len(self._proposed) < OUTSTANDING:
                timestamp = rules.assign(at_least, now)
                if timestamp:
                    break
            self._replicas.soon(self)
            again: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._again.append(again)
            await again
        index = rules.propose(timestamp, entry(timestamp))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proposed.append((index, future))
        self._replicas.soon(self)
        await future
        return timestamp

    def assigned(self) -> int:
        """Returns the last timestamp assigned or promised. Only while it leads."""
        return self._rules.assigned

    async def paxos_safe(self, t: int) -> None:
        """Waits until t_Paxos_safe ≥ t here; see `Group.paxos_safe`.

        Raises:
            Unsynchronized: this host does not know the time.
            NotLeader: the replica was dropped.
        """
        if self.paxos_safe_now >= t:
            return
        self._alive()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        waiter = (t, self._count, future)
        heapq.heappush(self._waiting, waiter)
        try:
            if self._waiting[0] is waiter:
                self._rules.safe(t, self.truetime.now())
                self._replicas.soon(self)
            await future
        finally:
            if not future.done() or future.cancelled():
                self._stop_waiting(waiter)

    @property
    def paxos_safe_now(self) -> int:
        """t_Paxos_safe, as it is."""
        return self._safe

    # For the spanserver

    @property
    def lease(self) -> tuple[int, int]:
        """The lease's start and end, of this replica's reign; 0, 0 where there was none."""
        return self._rules.lease

    @property
    def applied(self) -> Position:
        """Up to where the state machine has applied the log."""
        return self._position

    def abdicate(self, successor: str = "") -> None:
        """Gives leadership away, if this replica leads; `StateMachine.follows` tells when it has gone.

        Args:
            successor: a read-write member; "" or one that does not follow: the most up to date.

        Raises:
            Unsynchronized: this host does not know the time.
        """
        self._rules.abdicate(self.truetime.now(), successor)
        self._replicas.soon(self)

    def checkpoint(self) -> None:
        """Begins a checkpoint, unless one is being written, or there is nothing new."""
        if self._checkpoint is None and self._held is None and self._machine is not None and self._since:
            self._since = self._since_bytes = 0
            pieces, position = self._machine.save(), self._position
            self._checkpoint = self._replicas.task(self, self._save(pieces, position))

    def state(self) -> tuple[Position, Iterator[bytes]] | None:
        """Returns the state as of now with its position; None where there is none to be had."""
        if self._machine is None or self._held is not None:
            return None
        return self._position, self._machine.save()

    # For `Replicas`: what happens. What comes of it is carried out by `carry_out`

    def receive(self, sender: str, message: messages.Message, now: Interval) -> None:
        """Takes a message of another member."""
        self._rules.receive(sender, message, now)

    def tick(self, now: Interval) -> None:
        """Tells the rules the time."""
        self._rules.tick(now)

    def durable(self, number: int, now: Interval) -> None:
        """Tells the rules that a write is durable, and all before it."""
        self._rules.durable(number, now)

    def carry_out(self) -> None:
        """Does what the rules want, in their order."""
        do = self._do
        for output in self._rules.take():
            kind = type(output)
            if self._held is not None and kind in LATER:
                self._held.append(output)
            else:
                do[kind](output)
        if self._held is None:
            self._safe = self._rules.paxos_safe
        deadline = self._rules.next_deadline()
        if deadline is not None:
            self._replicas.alarms.set(self, deadline)
        if self._reign:
            self._note_lease()

    def stop(self) -> None:
        """Ends it: whoever waits is told."""
        self.alarm = 0
        if self._reign:
            self._follow("")
        self._refuse(NotLeader())
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(NotLeader())

    def _alive(self) -> None:
        if self._replicas.get(self.number) is not self:
            raise NotLeader

    # What the rules want

    def _write(self, output: out.Write) -> None:
        entries = output.entries
        size = OVERHEAD * len(entries) + sum([len(entry.value) for entry in entries])
        durable, number = self._replicas.durable, output.number
        self._replicas.storage.write(
            self.number, output.state, output.first, entries, size, lambda: durable(self, number)
        )

    def _send(self, output: out.Send) -> None:
        letters = letter(self.number, messages.encode(output.message))
        send = self._replicas.links.send
        for server in output.to:
            send(server, letters)

    def _trim(self, output: out.Trim) -> None:
        self._replicas.storage.trim(self.number, output.position.index, output.position)

    def _apply(self, output: out.Apply) -> None:
        machine, proposed = self._machine, self._proposed
        if machine is not None:
            apply = machine.apply
            for entry in output.entries:
                apply(entry.index, entry.timestamp, entry.value)
                self._since_bytes += len(entry.value)
            self._since += len(output.entries)
        self._position = output.position
        upto = output.position.index
        while proposed and proposed[0][0] <= upto:
            _, future = proposed.popleft()
            if not future.done():
                future.set_result(None)
        if self._again and len(proposed) < OUTSTANDING:
            self._try_again()
        if self._since >= CHECKPOINT_ENTRIES or self._since_bytes >= CHECKPOINT_BYTES:
            self.checkpoint()

    def _leads(self, output: out.Leads) -> None:
        assert self._machine is not None, "a witness leads"
        self._reign = output.term
        self._noted = (0, 0)
        self._note_lease()
        self._machine.leads(output.term)
        self._answer()

    def _renewed(self, output: out.Renewed) -> None:
        self._answer()
        self._try_again()

    def _follows(self, output: out.Follows) -> None:
        if self._reign:
            self._follow(output.leader)
        self._refuse(NotLeader(output.leader))

    def _elsewhere(self, output: out.Elsewhere) -> None:
        self._refuse(NotLeader(output.leader))

    def _is_safe(self, output: out.Safe) -> None:
        waiting, safe = self._waiting, self._rules.paxos_safe
        self._safe = max(self._safe, safe)
        while waiting and (waiting[0][0] <= safe or waiting[0][2].done()):
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)
        if waiting:
            self._ask_safe(waiting[0][0])

    def _ask_safe(self, t: int) -> None:
        """Says what is waited for; 0 for nothing."""
        try:
            self._rules.safe(t, self.truetime.now())
        except Unsynchronized:
            return  # it is asked for again, or nobody minds
        self._replicas.soon(self)

    # Who waits

    def _answer(self) -> None:
        """Tells those who need this replica to lead that it does."""
        leaders, self._leaders = self._leaders, []
        for future in leaders:
            if not future.done():
                future.set_result(self.term)

    def _try_again(self) -> None:
        again, self._again = self._again, []
        for future in again:
            if not future.done():
                future.set_result(None)

    def _refuse(self, why: NotLeader) -> None:
        """Tells those who need this replica to lead that it does not."""
        leaders, self._leaders = self._leaders, []
        for future in leaders:
            if not future.done():
                future.set_exception(why)
        again, self._again = self._again, []
        for waiting in again:
            if not waiting.done():
                waiting.set_exception(why)

    def _follow(self, leader: str) -> None:
        """Ends the own reign."""
        start, end = self._lease
        # It uses the lease no more; others may have theirs from now on, if it has released its votes.
        with contextlib.suppress(Unsynchronized):
            end = min(end, self.truetime.now().earliest)
        self._replicas.host.trace("lease-end", group=self.number, term=self._reign, start=start, end=end)
        self._reign = 0
        proposed, self._proposed = self._proposed, deque()
        for _, future in proposed:
            if not future.done():
                future.set_exception(Deposed(leader))
        assert self._machine is not None
        self._machine.follows()

    def _note_lease(self) -> None:
        """Writes to the trace how far the lease goes: when it begins, and now and then as it moves."""
        start, end = self._lease = self._rules.lease
        if start != self._noted[0] or end >= self._noted[1] + LEASE_NOTE:
            self._noted = self._lease
            self._replicas.host.trace("lease", group=self.number, term=self._reign, start=start, end=end)

    def _stop_waiting(self, waiter: tuple[int, int, asyncio.Future[None]]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            heapq.heapify(self._waiting)
            if not self._waiting:
                self._ask_safe(0)

    # Checkpoints

    async def _save(self, pieces: Iterator[bytes], position: Position) -> None:
        """Writes a checkpoint, and has the rules forget most of what comes before."""
        host, storage = self._replicas.host, self._replicas.storage
        try:
            with host.span("checkpoint", group=self.number, index=position.index):
                done = await storage.save(self.number, position.index, position, each(pieces))
            if done and self._replicas.get(self.number) is self:
                self._rules.compacted(max(0, position.index - KEEP))
        except OSError as exc:
            log.warning("group %d: no checkpoint as of %d: %s", self.number, position.index, exc)
            host.trace("no checkpoint", group=self.number, index=position.index, why=str(exc))
        finally:
            self._checkpoint = None

    def _fetch(self, output: out.FetchCheckpoint) -> None:
        self._replicas.task(self, self._fetched(output.server))

    async def _fetched(self, server: str) -> None:
        """Fetches the state of another member."""
        replicas = self._replicas
        position = await replicas.fetch(self.number, server, data=self._machine is not None)
        while True:
            try:
                if self._held is None:
                    self._rules.fetched(position, self.truetime.now())
                    replicas.soon(self)
                    return
            except Unsynchronized:
                pass
            await asyncio.sleep(AGAIN)  # an earlier one is being loaded, or it is not known what time it is

    def _install(self, output: out.Install) -> None:
        number, position = output.number, output.position
        replicas, machine = self._replicas, self._machine
        whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not whole.done():
                whole.set_result(None)
            replicas.durable(self, number)

        data = machine is not None
        replicas.storage.install(self.number, position.index, position, output.keep, done, data=data)
        if machine is None:
            self._position = position
        else:
            assert self._held is None, "a checkpoint comes while another is loaded"
            replicas.host.trace("install", group=self.number, index=position.index)
            self._held = deque()
            replicas.task(self, self._load(machine, position, whole))

    async def _load(self, machine: StateMachine, position: Position, whole: asyncio.Future[None]) -> None:
        """Puts a checkpoint in the place of the state, and goes on with what has waited for that."""
        held = self._held
        assert held is not None
        await whole
        await machine.load(self._replicas.storage.pieces(self.number))
        self._position = position
        self._since = self._since_bytes = 0
        self._held = None
        for output in held:
            self._do[type(output)](output)
        self._is_safe(out.Safe())
        self._replicas.soon(self)


async def each(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yields pieces, and lets others have their turn between them."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)
