"""`Replicas`: all replicas of one spanserver, and what they share: log, links, clock, and turns."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.paxos import Paxos, Position, Recovered, Settings, State, messages
from services.spanner.paxos.messages import LogEntry
from services.spanner.replica.alarms import Alarms
from services.spanner.replica.fetching import fetch, serve
from services.spanner.replica.links import Links
from services.spanner.replica.replica import Replica
from services.spanner.truetime import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Mapping

    import grpc

    from services.host import Context, Host
    from services.spanner.group import Member, StateMachine
    from services.spanner.storage import Storage
    from services.spanner.truetime import Interval, TrueTime

BLIND = 0.1  # seconds after which it is tried again where this host does not know the time

log = logging.getLogger(__name__)


class Replicas:
    """The replicas.

    Args:
        host: the door.
        universe: its name: spanservers of others are not talked to.
        storage: opened.
        truetime: the host's.
        settings: how long groups wait for what.

    Attributes:
        host, storage, truetime: as given.
        links: the ways to other spanservers.
        alarms: when groups want to be told the time.
    """

    def __init__(
        self,
        host: Host,
        universe: str,
        storage: Storage,
        truetime: TrueTime,
        settings: Settings | None = None,
    ) -> None:
        self.host = host
        self.storage = storage
        self.truetime = truetime
        self._settings = settings if settings is not None else Settings()
        self.links = Links(host, universe, self._heard)
        self.alarms: Alarms[Replica] = Alarms(truetime, self._ring)
        self._groups: dict[int, Replica] = {}
        self._dirty: dict[Replica, None] = {}  # who may want something done
        self._confirmed: dict[Replica, int] = {}  # what is durable, and its rules do not know yet
        self._scheduled = self._draining = False
        self._tasks: dict[asyncio.Task[None], Replica] = {}
        self._unreadable: dict[str, None] = {}  # who sends what is no message
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        storage.wanted = self._checkpoint

    # The spanserver's side

    def add_to(self, server: grpc.aio.Server) -> None:
        """Has a gRPC server take what other spanservers send and fetch."""
        rpc.add_ReplicasServicer_to_server(_Door(self), server)

    async def create(self, group: int, described: bytes) -> None:
        """Notes durably that a group has a replica here; `add` then makes it, now and after each restart.

        Args:
            group: its number; it was never here before.
            described: what one will want to know of it then (`storage.groups[group].members`).
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.storage.create(group, described, lambda: None if done.done() else done.set_result(None))
        await done

    async def add(
        self, group: int, members: tuple[Member, ...], machine: StateMachine | None, preferred: str = ""
    ) -> Replica:
        """Returns the replica of a group that was created here, loaded from what is on the disk.

        Args:
            group: its number.
            members: the group's; they never change.
            machine: the state machine, as new; None for a witness.
            preferred: who should lead, if it can.

        Raises:
            StorageRefused: its checkpoint is damaged.
            ValueError: this server is no member, or nobody may lead.
        """
        image = self.storage.groups[group]
        base = msgspec.convert(image.about, Position) if image.base else Position()
        image.entries = [msgspec.convert(entry, LogEntry) for entry in image.entries]
        state = msgspec.convert(image.state, State) if image.state is not None else State()
        if image.checkpoint:
            assert machine is not None, "a witness has a checkpoint"
            await machine.load(self.storage.pieces(group))
        recovered = Recovered(state, base, base, tuple(image.entries))
        name = self.host.name
        rules = Paxos(name, members, recovered, self._settings, self.host.rng, preferred)
        replica = self._groups[group] = Replica(group, members, machine, rules, base, self)
        self.soon(replica)
        return replica

    async def drop(self, group: int) -> None:
        """Forgets the replica of a group, durably; no effect where there is none."""
        replica = self._groups.pop(group, None)
        if replica is None:
            return
        tasks = [task for task, owner in self._tasks.items() if owner is replica]
        for task in tasks:
            task.cancel()
        replica.stop()
        self._dirty.pop(replica, None)
        await asyncio.gather(*tasks, return_exceptions=True)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.storage.drop(group, lambda: None if done.done() else done.set_result(None))
        await done

    def get(self, group: int) -> Replica | None:
        """Returns the replica of a group here."""
        return self._groups.get(group)

    @property
    def groups(self) -> Mapping[int, Replica]:
        """All of them."""
        return self._groups

    async def run(self) -> None:
        """Takes part until cancelled.

        Raises:
            StorageFailed: the disk failed; nothing more is acknowledged.
            InvariantBroken: the rules found themselves broken.
            whatever a state machine raises where it must not.
        """
        writing = asyncio.create_task(self.storage.run(), name="log")
        try:
            await asyncio.wait((writing, self._failed), return_when=asyncio.FIRST_COMPLETED)
            for one in (writing, self._failed):
                if one.done():
                    one.result()
        finally:
            writing.cancel()
            await self._stop(writing)

    async def _stop(self, writing: asyncio.Task[None]) -> None:
        """Whoever waits is told; nothing is sent or written any more."""
        if not self._failed.done():
            self._failed.cancel()
        self.alarms.close()
        tasks = [writing, *self._tasks]
        for task in tasks:
            task.cancel()
        for replica in self._groups.values():
            replica.stop()
        await self.links.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.storage.close()

    # What happens

    def _heard(self, sender: str, letters: Iterable[pb.Letter]) -> None:
        """Passes messages on, then does what comes of all of them."""
        if self._failed.done():
            return
        try:
            now = self.truetime.now()
        except Unsynchronized:
            return  # as if they were lost
        groups, dirty, decode = self._groups, self._dirty, messages.decode
        try:
            for letter in letters:
                replica = groups.get(letter.group)
                if replica is None:
                    continue
                try:
                    message = decode(letter.message)
                except msgspec.DecodeError as exc:
                    if sender not in self._unreadable:
                        self._unreadable[sender] = None
                        log.error("%s sends what is no message: %s", sender, exc)
                    continue
                replica.receive(sender, message, now)
                dirty[replica] = None
        except Exception as exc:
            self._fail(exc)
        self._drain()

    def durable(self, replica: Replica, number: int) -> None:
        """Notes that a write of a replica is durable, and all before it."""
        self._confirmed[replica] = number
        self._soon()

    def _ring(self, replica: Replica, now: Interval) -> None:
        try:
            replica.tick(now)
        except Exception as exc:
            self._fail(exc)
        self.soon(replica)

    def _checkpoint(self, group: int) -> None:
        replica = self._groups.get(group)
        if replica is not None:
            replica.checkpoint()

    def soon(self, replica: Replica) -> None:
        """Does what a replica's rules want, once the caller, who may ask for more, has ended."""
        self._dirty[replica] = None
        self._soon()

    def _soon(self) -> None:
        if not (self._scheduled or self._draining):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._due)

    def _due(self) -> None:
        self._scheduled = False
        self._drain()

    def _drain(self) -> None:
        """Does what all rules want, and what comes of that."""
        if self._draining or self._failed.done():
            return
        self._draining = True
        try:
            while True:
                if self._confirmed:
                    self._confirm()
                if not self._dirty:
                    break
                dirty, self._dirty = self._dirty, {}
                for replica in dirty:
                    replica.carry_out()
        except Exception as exc:  # an invariant that is broken, or a fault of a state machine
            self._fail(exc)
        finally:
            self._draining = False
        if self._confirmed:  # this host does not know the time
            asyncio.get_running_loop().call_later(BLIND, self._soon)

    def _confirm(self) -> None:
        """Tells rules what is durable."""
        try:
            now = self.truetime.now()
        except Unsynchronized:
            return
        confirmed, self._confirmed = self._confirmed, {}
        for replica, number in confirmed.items():
            if self._groups.get(replica.number) is replica:
                replica.durable(number, now)
                self._dirty[replica] = None

    def _fail(self, exc: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(exc)

    def task(self, replica: Replica, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts what takes time; its failure is the server's."""
        task = asyncio.create_task(work)
        self._tasks[task] = replica
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())  # type: ignore[arg-type]

    # States for others, and of others

    async def fetch(self, group: int, server: str, *, data: bool) -> Position | None:
        """Fetches the state of a group from another spanserver, and puts it beside the own (`fetching`)."""
        return await fetch(self.host, self.links.metadata, self.storage, group, server, data=data)

    def room(self) -> Awaitable[None] | None:
        """Returns what to wait for before more is taken from others, if anything."""
        return self.storage.room() if self.storage.full else None


class _Door(rpc.ReplicasServicer):
    """Lets other spanservers in."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    async def Deliver(self, requests: Any, context: Context) -> None:  # type: ignore[override]
        """Takes messages, on a stream that it reads and answers itself."""
        del requests
        await self._replicas.links.deliver(context, self._replicas.room)

    async def Checkpoint(self, request: pb.CheckpointRequest, context: Context) -> None:  # type: ignore[override]
        """Gives the state of a group."""
        await self._replicas.links.sender(context)
        replica = self._replicas.get(request.group)
        await serve(replica.state() if replica is not None else None, context)
