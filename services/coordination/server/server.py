"""One server: its replica of the tree, driven by Zab from below and asked by its clients from above.

Nothing here waits. A delivery is applied, what watches saw goes out, and then the answer to whoever asked:
all in one step, so a reply never shows a change before the watches that look at it have fired (2.3). There
is no task for a request: an update costs a message to the leader and a look into a table when it is
delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from protos import coordination_pb2 as pb
from services.coordination import api
from services.coordination.api import Code, CoordinationError
from services.coordination.server.admission import Admission
from services.coordination.server.connection import CLOSED, EXPIRED, MOVED
from services.coordination.server.figures import Figures
from services.coordination.server.leading import Leading
from services.coordination.server.pipeline import ROUTES, Throttle, Waiting
from services.coordination.state.acl import authenticate
from services.coordination.state.reads import Reader
from services.coordination.state.snapshot import Restoration, snapshot
from services.coordination.state.transactions import OpenSessionTxn, decode
from services.coordination.state.tree import Tree
from services.coordination.state.watches import Watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from services.coordination.api import AnyResult, Identity, Update
    from services.coordination.broadcast import Broadcast
    from services.coordination.configuration import Configuration
    from services.coordination.server.connection import ClientConnection
    from services.coordination.server.settings import Settings
    from services.coordination.state.limits import Limits
    from services.host import Host

NO_QUORUM = "there is no quorum"
QUORUM = "there is a quorum again: not read-only any more"
DIGESTS_KEPT = 128  # as Apache: 128 digests, of every 128th transaction
DIGESTS_EVERY = 128
COUNTER = (1 << 32) - 1  # of a zxid: the transaction within its epoch

WATCHING: dict[type, Callable[[Any], int]] = {
    **dict.fromkeys((api.GetData, api.Exists, api.GetChildren), attrgetter("watch")),
    api.MultiRead: lambda request: sum(one.watch for one in request.operations),
    api.AddWatch: lambda request: 1,
    api.SetWatches: lambda request: sum(
        len(paths)
        for paths in (
            request.data,
            request.exist,
            request.child,
            request.persistent,
            request.persistent_recursive,
        )
    ),
}
"""How many watches a request may set."""

_NOTHING = api.Nothing()
_encode = msgspec.msgpack.Encoder().encode


class Server:
    """The state machine above Zab (`broadcast.StateMachine`), and what is behind its clients' connections.

    Args:
        host: clock, chance, trace.
        configuration: the ensemble that it is started with.
        settings, limits: the operator's.

    Attributes:
        tree: the replica.
        watches: of the clients connected here.
        connections: by session.
        leading: the leader's duties, while it leads.
        serving: whether there is a leader whom it follows, or is.
    """

    def __init__(self, host: Host, configuration: Configuration, settings: Settings, limits: Limits) -> None:
        self.host = host
        self.settings = settings
        self.tree = Tree(configuration)
        self.watches = Watches()
        self._reader = Reader(self.tree, self.watches, not settings.skip_acl)
        self.throttle = Throttle(settings.outstanding)
        self.figures_of = Figures()
        self.connections: dict[int, ClientConnection] = {}
        self.leading: Leading | None = None
        self.serving = False
        self.digests: deque[tuple[int, str]] = deque(maxlen=DIGESTS_KEPT)
        self.clock = asyncio.get_running_loop().time
        self.admission = Admission(self)
        self._limits = limits
        self._tag = 0
        self._touched: dict[int, None] = {}
        self._number = 0
        self._syncs: dict[int, Callable[[], None]] = {}
        self._later: deque[tuple[int, Callable[[], None]]] = deque()  # what waits for a zxid to be delivered

    def attach(self, broadcast: Broadcast) -> None:
        """Tells what it stands on. Once, before anything else."""
        self.broadcast = broadcast

    async def run(self) -> None:
        """Does what is done from time to time; never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._expire())
            group.create_task(self._remove())

    # From Zab

    def deliver(self, zxid: int, transaction: bytes) -> None:
        """Applies a committed transaction, tells who watches, and answers who asked."""
        decoded = decode(transaction)
        tree, session = self.tree, decoded.session
        applied = tree.apply(zxid, decoded)
        if self.leading is not None:
            self.leading.delivered(zxid, session)
        connections = self.connections
        if applied.changes and connections:
            for watcher, event in self.watches.fire(zxid, applied.changes, self._may_read):
                watching = connections.get(watcher)
                if watching is not None:
                    watching.tell(event)
        connection = connections.get(session)
        if connection is not None:
            connection.delivered(zxid, decoded.cxid, applied.code, applied.result)
            if session not in tree.sessions:
                why = CLOSED if decoded.cxid else EXPIRED
                self.host.trace("session ended", session=f"{session:x}", why=why)
                connection.end(why)
        elif type(decoded.change) is OpenSessionTxn:
            self.admission.opened(zxid, session, decoded.cxid)
        later = self._later
        while later and later[0][0] <= zxid:
            later.popleft()[1]()
        counter = zxid & COUNTER
        if tree.fuzzy or zxid < tree.zxid:
            return  # replayed onto a fuzzy snapshot: the tree is not as it was at any zxid
        if not counter % DIGESTS_EVERY:
            self.digests.append((zxid, f"{tree.digest:016x}"))
        every = self.settings.digest_every
        if every and not counter % every:
            self.trace_digest()

    def ready(self, epoch: int) -> None:
        """Begins to lead: every session gets its full time-out from now on."""
        self.leading = Leading(
            self.host,
            self.broadcast,
            self.tree,
            self.settings,
            self._limits,
            self.clock,
            self._touched,
            lambda message: self.heard(self.broadcast.server, message),
        )
        self.host.trace("leads", epoch=epoch, sessions=len(self.tree.sessions))
        self._serve()

    def following(self, leader: int) -> None:
        """Begins to serve clients, as a follower or an observer."""
        self.host.trace("follows", leader=leader, epoch=self.broadcast.epoch)
        self._serve()

    def looking(self, why: str) -> None:
        """Ends all connections: what they wait for may or may not happen, and nobody here can know."""
        self.host.trace("looks for a leader", why=why)
        self.serving = False
        if self.leading is not None:
            self.leading.over = True
            self.leading = None
        self._syncs.clear()
        self._later.clear()
        self._touched.clear()
        self.admission.abandon(NO_QUORUM)
        self._end_all(NO_QUORUM, read_only=False)

    def heard(self, sender: int, message: Any) -> None:
        """Gets what another server (or this one, leading itself) sent along."""
        match message:
            case pb.Synced():
                self._synced(message.number, message.zxid)
            case pb.Refused():
                self._refused(message.session, message.cxid, Code(message.code))
            case pb.Revalidated():
                if message.number:
                    self.admission.revalidated(message.number, message.valid, message.zxid)
                elif message.session in self.connections:
                    self.connections[message.session].end(MOVED)
            case _:
                if self.leading is not None:
                    self.leading.heard(sender, message)

    def lost(self, server: int) -> None:
        """Nothing to do: that server's clients come back through another, or expire."""

    def touched(self) -> list[int]:
        """Returns the sessions heard from since the last call."""
        touched = list(self._touched)
        self._touched.clear()
        return touched

    def snapshot(self) -> Iterator[bytes]:
        """Yields the state in pieces (4.3)."""
        return snapshot(self.tree)

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        """Puts what `snapshot` yielded in the place of the state.

        Raises:
            ValueError: it is damaged.
        """
        restoration = Restoration()
        async for piece in pieces:
            restoration.add(piece)
        tree = restoration.finish()
        self._end_all("the state is replaced by the leader's", read_only=True)
        self.tree, self.watches = tree, Watches()
        self._reader = Reader(self.tree, self.watches, not self.settings.skip_acl)

    # From connections

    @property
    def zxid(self) -> int:
        """The last transaction delivered here."""
        return self.tree.zxid

    def hear(self, connection: ClientConnection) -> None:
        """Takes note of a session's sign of life."""
        if self.serving:
            self._touched[connection.session] = None

    def forward(self, connection: ClientConnection, waiting: Waiting) -> None:
        """Sends an update to the leader."""
        waiting.tag = self.order(connection.session, waiting.request, connection.identities)

    def order(self, session: int, request: Update, identities: Sequence[Identity]) -> int:
        """Sends an update to the leader, and returns the tag by which its transaction will be known."""
        self._tag = tag = (self._tag + 1) & 0x7FFFFFFF or 1
        if self.leading is not None:
            self.leading.take(self.broadcast.server, session, tag, request, identities)
        else:
            message = pb.Forward(session=session, cxid=tag, request=_encode(request))
            for who in identities:
                message.identities.add(scheme=who.scheme, id=who.id)
            self.to_leader(message)
        return tag

    def synchronize(self, connection: ClientConnection, waiting: Waiting) -> None:
        """Asks the leader how far this server must be before the client's `sync` is answered."""
        self.synchronized(lambda: connection.settle(waiting, Code.OK, _NOTHING))

    def synchronized(self, then: Callable[[], None]) -> None:
        """Calls `then` when all that the leader has is here; never, if the leader is lost before."""
        self._number += 1
        self._syncs[self._number] = then
        if self.leading is not None:
            self.leading.synchronize(self.broadcast.server, self._number)
        else:
            self.to_leader(pb.SyncRequest(number=self._number))

    def authenticate(self, connection: ClientConnection, request: api.Authenticate) -> Code:
        """Adds to who the session is."""
        try:
            proven = authenticate(request.scheme, request.credentials, self.settings.super_digest)
        except CoordinationError as exc:
            return exc.code
        connection.identities = tuple(dict.fromkeys((*connection.identities, *proven)))
        return Code.OK

    def perform(self, connection: ClientConnection, request: Any) -> AnyResult:
        """Answers what needs no transaction.

        Raises:
            CoordinationError: why it cannot be.
        """
        kind = type(request)
        if kind is api.Ping:
            return _NOTHING
        asked, most = WATCHING.get(kind), self.settings.watches
        if asked is not None and most and (more := asked(request)) and len(self.watches) + more > most:
            raise CoordinationError(Code.THROTTLED)
        if kind is api.SetWatches:
            for event in self.watches.set_again(self.tree, connection.session, request, self._may_read):
                connection.tell(event)
            return _NOTHING
        if kind in ROUTES:  # the connection is read-only, else it had been forwarded
            if kind is api.CloseSession:
                return _NOTHING
            raise CoordinationError(Code.NOT_READ_ONLY)
        if kind is api.CreateSession:
            raise CoordinationError(Code.BAD_ARGUMENTS)
        return self._reader.read(request, connection.session, connection.identities)

    def gone(self, connection: ClientConnection) -> None:
        """Forgets a connection and its watches; the session stays."""
        if self.connections.get(connection.session) is connection:
            del self.connections[connection.session]
            self.watches.drop(connection.session)
        self.admission.left(connection.address)

    # For those nearby

    def to_leader(self, message: Any) -> None:
        """Sends something to the leader; without one, `looking` has ended or ends who waits."""
        leader = self.broadcast.leader
        if leader is not None:
            self.broadcast.send(leader, message)

    def trace_digest(self) -> None:
        """Writes the tree's digest to the trace: all servers must have the same one at the same zxid."""
        self.host.trace("digest", zxid=self.tree.zxid, digest=f"{self.tree.digest:016x}")

    def _serve(self) -> None:
        self._end_all(QUORUM, read_only=True)
        self.serving = True

    def _end_all(self, why: str, *, read_only: bool) -> None:
        for connection in list(self.connections.values()):
            if connection.read_only == read_only:
                connection.end(why)

    def _synced(self, number: int, zxid: int) -> None:
        then = self._syncs.pop(number, None)
        if then is None:
            return
        if zxid <= self.tree.zxid:
            then()
        else:
            self._later.append((zxid, then))

    def _refused(self, session: int, tag: int, code: Code) -> None:
        connection = self.connections.get(session)
        if connection is not None:
            connection.refused(tag, code)
        else:
            self.admission.refused(session, tag)

    def _may_read(self, session: int, acl: Any) -> bool:
        connection = self.connections.get(session)
        return connection is not None and acl.permits(api.Permission.READ, connection.identities)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(self.settings.tick)
            if self.leading is not None:
                self.figures_of.expired += self.leading.expire()

    async def _remove(self) -> None:
        while True:
            await asyncio.sleep(self.settings.container_interval)
            if self.leading is not None:
                self.leading.remove_due()
