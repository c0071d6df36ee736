"""`Replica`: hands the rules what happens, and carries out what they want, in their order."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from protos.coordination_pb2 import Notification, Pong
from services.coordination.configuration import Configuration
from services.coordination.peer.delivery import Delivery
from services.coordination.peer.drive import Drive
from services.coordination.peer.encoding import encode, messages
from services.coordination.peer.sources import history, state
from services.coordination.peer.streams import Handlers, Streams
from services.coordination.peer.votes import Votes
from services.coordination.storage import Storage
from services.coordination.zab import outputs as out
from services.coordination.zab.peer import Peer, Recovered
from services.outbox import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import grpc

    from services.coordination.broadcast import Phase, StateMachine
    from services.coordination.peer.iteration import Iteration
    from services.coordination.zab.timing import Timing
    from services.host import Context, Host

SERVER_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""For the gRPC server that serves `Replica.add_to`: histories and large transactions are not cut off."""

SNAP_COUNT = 100_000
"""Transactions from one snapshot to the next (`snapCount`)."""

log = logging.getLogger(__name__)


class Replica:
    """One server's part in the ensemble; implements `broadcast.Broadcast`.

    Args:
        host: its door.
        server: its id.
        configuration: the ensemble, as this server is told it; its disk may know a newer one.
        ensemble: a name; servers of different names do not talk to each other, nor use each other's disks.
        timing: how long to wait for what.
        snap_count: a snapshot is written after a number of transactions from half of this to this.
        keep_snapshots: how many stay.
        batch: bytes of messages that travel together, and one message more; 1: each travels alone.
    """

    def __init__(
        self,
        host: Host,
        server: int,
        configuration: Configuration,
        *,
        ensemble: str = "",
        timing: Timing | None = None,
        snap_count: int = SNAP_COUNT,
        keep_snapshots: int = 3,
        batch: int = MESSAGE,
    ) -> None:
        self._host = host
        self._server = server
        self._initial = configuration
        self._ensemble = ensemble
        self._timing = timing
        self._snap_count = max(2, snap_count)
        self._keep_snapshots = keep_snapshots
        self._streams = Streams(host, server, ensemble, self, batch)
        self._votes = Votes(host, self._streams.metadata, self._reachable, self._voted)
        self._phase: Phase = "looking"
        self._started = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._snapshot: asyncio.Task[None] | None = None
        self._do: dict[type, Callable[[Any], None]] = {
            out.Send: self._send,
            out.SendAll: self._send_all,
            out.Append: self._append,
            out.Deliver: self._deliver,
            out.Heard: self._heard,
            out.Follow: self._follow,
            out.Hangup: self._hangup,
            out.SaveAcceptedEpoch: self._save_accepted_epoch,
            out.SaveCurrentEpoch: self._save_current_epoch,
            out.Truncate: self._truncate,
            out.Install: self._install,
            out.SendHistory: self._send_history,
            out.SendSnapshot: self._send_snapshot,
            out.Activated: self._activated,
            out.Ready: self._ready,
            out.Synchronized: self._synchronized,
            out.Looking: self._looking,
            out.Lost: self._lost,
        }

    def add_to(self, server: grpc.aio.Server) -> None:
        """Has a gRPC server take the streams of other members, at this member's `quorum_port`."""

        async def begin(context: Context) -> None:
            await self._started.wait()
            await self._streams.admit(context)

        handlers = Handlers(begin, self._votes.serve, self._streams.lead)
        server.add_generic_rpc_handlers((cast("grpc.GenericRpcHandler", handlers),))

    # broadcast.Broadcast

    @property
    def server(self) -> int:
        """This server's id."""
        return self._server

    @property
    def phase(self) -> Phase:
        """What this server is, as the state machine was told."""
        return self._phase

    @property
    def epoch(self) -> int:
        """f.a; 0 before the disk is read."""
        return self._rules.epoch if self._started.is_set() else 0

    @property
    def leader(self) -> int | None:
        """Whom it follows (itself, when it leads)."""
        return self._rules.leader if self._phase != "looking" else None

    @property
    def configuration(self) -> Configuration:
        """The ensemble, as of the last transaction delivered."""
        return self._rules.configuration if self._started.is_set() else self._initial

    @property
    def next_zxid(self) -> int:
        """What the next proposal will be numbered. Raises `NotLeading`."""
        return self._rules.next_zxid

    @property
    def synchronized(self) -> Collection[int]:
        """The servers in sync with this leader, itself too; none unless it leads."""
        return self._rules.synchronized

    def propose(self, transaction: bytes, reconfigure: Configuration | None = None) -> int:
        """Broadcasts a transaction and returns its zxid.

        Raises:
            NotLeading: this server does not lead, or no longer.
            ValueError: a reconfiguration while another is under way.
        """
        zxid = self._rules.propose(transaction, reconfigure)
        self._drive.soon()
        return zxid

    def send(self, to: int, message: Any) -> None:
        """Sends what rides along, after everything that was sent or proposed before."""
        self._drive.add(out.Send(to, message))

    # What others may want to know

    @property
    def delivered(self) -> int:
        """The last transaction that the state machine has applied."""
        return self._delivery.delivered

    @property
    def last_zxid(self) -> int:
        """The last transaction that this server has accepted."""
        return self._rules.last_zxid

    @property
    def storage(self) -> Storage:
        """What is on the disk."""
        return self._storage

    # Running

    async def run(self, machine: StateMachine) -> None:
        """Takes part until cancelled.

        Args:
            machine: the state machine: restored from the newest snapshot, then told what happens.

        Raises:
            StorageRefused: what is on the disk is damaged, or not this server's.
            StorageFailed: the disk failed; nothing more is acknowledged.
            InvariantBroken: Zab's rules found themselves broken.
        """
        self._machine = machine
        storage = self._storage = await Storage.open(
            self._host.disk, self._host.rng, self._ensemble, self._server, self._keep_snapshots
        )
        for line in storage.repaired:
            self._host.trace("repaired", what=line)
        if storage.snapshot is not None:
            await machine.restore(storage.pieces())
        base = storage.snapshot.zxid if storage.snapshot is not None else 0
        self._delivery = Delivery(storage, machine, base)
        self._rules = Peer(self._server, self._recovered(base), self._timing)
        self._threshold = self._draw_threshold()
        self._drive = Drive(self._host, self._rules, self._do, self._drained)
        self._started.set()
        self._host.trace("recovered", zxid=storage.last, snapshot=base, epoch=storage.current_epoch)
        parts = [
            asyncio.create_task(storage.run(self._logged), name="storage"),
            asyncio.create_task(self._delivery.run(), name="delivery"),
        ]
        self._drive.input(self._rules.start)
        why = "the server stops"
        try:
            ends = (*parts, self._drive.failed)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for part in ends:
                if part.done():
                    why = str(part.exception())
                    part.result()
        finally:
            await self._stop(why, parts)

    async def _stop(self, why: str, parts: list[asyncio.Task[None]]) -> None:
        """Steps down: the state machine is told, streams end, nothing is written any more."""
        tasks = [*parts, *self._tasks]
        for task in tasks:
            task.cancel()
        self._drive.stop(why)
        await self._votes.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._storage.close()

    def _recovered(self, base: int) -> Recovered:
        """Returns what the rules must know of the disk."""
        storage = self._storage
        known = [self._initial]
        known += [Configuration.parse(text) for text in (storage.configuration, storage.members) if text]
        return Recovered(
            max(known, key=lambda configuration: configuration.version),
            storage.accepted_epoch,
            storage.current_epoch,
            base,
            base,
            tuple(sorted(storage.epochs.values())),
            tuple(
                Configuration(Configuration.parse(text).members, zxid)
                for zxid, text in sorted(storage.reconfigurations.items())
            ),
        )

    # What happens

    def _logged(self, zxid: int) -> None:
        self._drive.input(self._rules.logged, zxid)

    def _reachable(self, server: int) -> None:
        self._drive.input(self._rules.reachable, server)

    def _voted(self, vote: Notification) -> None:
        self._drive.input(self._rules.heard, vote.sender, vote)

    # streams.Events

    def connected(self, server: int) -> None:
        """An iteration has opened."""
        self._drive.input(self._rules.connected, server)

    def closed(self, server: int) -> None:
        """An iteration has ended."""
        self._drive.input(self._rules.closed, server)

    def received(self, server: int, batch: Any) -> bool:
        """Takes the messages of an iteration; says whether the disk keeps up."""
        self._drive.input(self._hear_all, server, batch)
        return not self._storage.full

    async def room(self) -> None:
        """Returns when the disk keeps up."""
        await self._storage.room()

    def unreadable(self, why: Exception) -> None:
        """Sends others snapshots from now on: the history cannot be read."""
        log.error("server %d: %s", self._server, why)
        self._rules.purged(self._delivery.delivered)

    def _hear_all(self, sender: int, batch: Any, now: float) -> None:
        heard = self._rules.heard
        for message in messages(batch):
            heard(sender, message, now)

    # Messages

    def _send(self, output: out.Send) -> None:
        message = output.message
        if type(message) is Notification:
            self._votes.send(output.to, message)
            return
        iteration = self._streams.get(output.to)
        if iteration is not None:
            if type(message) is Pong:
                message.sessions.extend(self._machine.touched())
            if not iteration.outbox.put(encode(message)):
                self._overflows(iteration)

    def _send_all(self, output: out.SendAll) -> None:
        data = encode(output.message)
        for server in output.to:
            iteration = self._streams.get(server)
            if iteration is not None and not iteration.outbox.put(data):
                self._overflows(iteration)

    def _overflows(self, iteration: Iteration) -> None:
        """Cuts off who does not take what is sent."""
        self._host.trace("cut off", server=iteration.server)
        iteration.end()

    # Iterations

    def _follow(self, output: out.Follow) -> None:
        self._task(self._streams.learn(self._streams.open(output.leader), self._address(output.leader)))

    def _hangup(self, output: out.Hangup) -> None:
        if self._streams.hang_up(output.server):
            self._host.trace("hangup", server=output.server, why=output.why)

    def _address(self, server: int) -> str | None:
        return next((address for number, address in self._addresses() if number == server), None)

    def _addresses(self) -> Iterator[tuple[int, str]]:
        """Yields where others are: by the configuration that holds, then by one that may come to hold."""
        for configuration in (self._rules.configuration, self._rules.reconfiguring):
            for member in configuration.members if configuration is not None else ():
                yield member.id, f"{member.host}:{member.quorum_port}"

    def _connect_votes(self) -> None:
        members: dict[int, str] = {}
        for number, address in self._addresses():
            if number != self._server:
                members.setdefault(number, address)
        self._votes.connect(members)

    # Histories and snapshots for learners

    def _send_history(self, output: out.SendHistory) -> None:
        iteration = self._streams.get(output.to)
        if iteration is not None:
            iteration.outbox.put_source(history(self._storage, output.after, output.upto))

    def _send_snapshot(self, output: out.SendSnapshot) -> None:
        iteration = self._streams.get(output.to)
        if iteration is not None:
            zxid = self._delivery.delivered
            self._host.trace("send snapshot", server=output.to, zxid=zxid)
            iteration.outbox.put_source(state(self._machine.snapshot(), zxid, output.members))
            iteration.outbox.put_source(history(self._storage, zxid, output.upto))

    # What must be durable

    def _append(self, output: out.Append) -> None:
        record = (output.zxid, output.transaction, output.members)
        self._storage.append(record)
        self._delivery.append(record)
        if output.members:
            self._connect_votes()

    def _truncate(self, output: out.Truncate) -> None:
        self._host.trace("truncate", zxid=output.zxid)
        self._storage.truncate(output.zxid, lambda: None)
        self._delivery.truncate(output.zxid)
        self._connect_votes()

    def _save_accepted_epoch(self, output: out.SaveAcceptedEpoch) -> None:
        epoch = output.epoch
        self._storage.save_accepted_epoch(
            epoch, lambda: self._drive.input(self._rules.saved_accepted_epoch, epoch)
        )

    def _save_current_epoch(self, output: out.SaveCurrentEpoch) -> None:
        epoch = output.epoch
        self._storage.save_current_epoch(
            epoch, lambda: self._drive.input(self._rules.saved_current_epoch, epoch)
        )

    def _install(self, output: out.Install) -> None:
        zxid = output.zxid
        if not output.last:
            self._storage.install(zxid, output.chunk, "", False, lambda: None)
            return
        whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            whole.set_result(None)
            self._drive.input(self._rules.logged, zxid)

        if self._snapshot is not None:
            self._snapshot.cancel()
        self._host.trace("install snapshot", zxid=zxid)
        self._storage.install(zxid, output.chunk, output.members, True, done)
        self._delivery.replace(zxid, whole)

    def _activated(self, output: out.Activated) -> None:
        self._storage.save_configuration(str(output.configuration))
        self._host.trace("configuration", version=output.configuration.version)
        self._connect_votes()

    async def _save_snapshot(self) -> None:
        """Writes a snapshot, and has the rules forget the history that goes with the oldest."""
        self._delivery.count = 0
        self._threshold = self._draw_threshold()
        zxid = self._delivery.delivered
        try:
            with self._host.span("snapshot", zxid=zxid):
                await self._storage.save_snapshot(
                    zxid,
                    str(self.configuration),
                    self._machine.snapshot(),
                    lambda: self._delivery.delivered,
                    self._rules.purged,
                )
        except OSError as exc:
            log.warning("server %d: no snapshot as of %x: %s", self._server, zxid, exc)
            self._host.trace("no snapshot", zxid=zxid, why=str(exc))
        finally:
            self._snapshot = None

    def _drained(self) -> None:
        """Sends what was said, and begins a snapshot when it is time for one."""
        self._streams.flush()
        if self._delivery.count >= self._threshold and self._snapshot is None:
            self._snapshot = self._task(self._save_snapshot())

    def _draw_threshold(self) -> int:
        """Returns after how many transactions to write a snapshot: not all servers at once."""
        return self._host.rng.randint(self._snap_count // 2 + 1, self._snap_count)

    # The state machine

    def _deliver(self, output: out.Deliver) -> None:
        self._streams.flush()  # others need not wait for what this server does with it
        self._delivery.deliver(output.zxid)

    def _heard(self, output: out.Heard) -> None:
        self._delivery.tell(self._machine.heard, output.sender, output.message)

    def _lost(self, output: out.Lost) -> None:
        self._delivery.tell(self._machine.lost, output.server)

    def _ready(self, output: out.Ready) -> None:
        self._delivery.tell(self._become, "leading", self._server, "", self._machine.ready, output.epoch)

    def _synchronized(self, output: out.Synchronized) -> None:
        phase, leader = self._rules.phase, output.leader
        self._delivery.tell(self._become, phase, leader, "", self._machine.following, leader)

    def _looking(self, output: out.Looking) -> None:
        """Ends all iterations."""
        self._streams.end_all()
        self._storage.abandon_install()
        self._connect_votes()
        why = output.why
        self._delivery.tell(self._become, "looking", 0, why, self._machine.looking, why)

    def _become(
        self, phase: Phase, leader: int, why: str, tell: Callable[[Any], None], what: int | str
    ) -> None:
        """Is in another phase, and tells the state machine so."""
        self._phase = phase
        self._host.trace("phase", phase=phase, epoch=self._rules.epoch, leader=leader, why=why)
        tell(what)

    def _task(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._drive.fail(task.exception())  # type: ignore[arg-type]
