"""The gRPC door without a service behind it: one tree in memory that several servers share.

It does what the client and the recipes can see of a real ensemble (order, sessions and their expiry, watches
and their registration, sequential and ephemeral znodes, transactions), executes each request as it arrives,
and knows nothing of replication. It outlives the crashes of its servers.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from msgspec.msgpack import Decoder, Encoder

from protos import coordination_pb2 as pb
from services.coordination.api import (
    OPEN_ACL,
    Acl,
    AclOf,
    AddWatch,
    AnyRequest,
    Authenticate,
    Check,
    Children,
    CloseSession,
    Code,
    CoordinationError,
    Count,
    Create,
    Created,
    Data,
    Delete,
    Event,
    EventType,
    Exists,
    Failed,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    Identities,
    Identity,
    Multi,
    Nothing,
    Paths,
    Ping,
    Reconfigure,
    RemoveWatches,
    Reply,
    SetAcl,
    SetData,
    SetWatches,
    Several,
    Stat,
    Sync,
    WatchKind,
    WhoAmI,
    Written,
)

encode = Encoder().encode
decode = Decoder(AnyRequest).decode

UPDATES = (Create, Delete, SetData, SetAcl, Multi, CloseSession)


class Znode:
    def __init__(self, data: bytes, acl: tuple[Acl, ...], zxid: int, owner: int) -> None:
        self.data, self.acl, self.owner = data, acl, owner
        self.czxid = self.mzxid = self.pzxid = zxid
        self.version = self.cversion = self.aversion = self.sequence = 0

    def stat(self, children: int) -> Stat:
        return Stat(
            self.czxid, self.mzxid, 0, 0, self.version, self.cversion, self.aversion,
            self.owner, len(self.data), children, self.pzxid,
        )  # fmt: skip


class Session:
    def __init__(self, number: int, timeout: float) -> None:
        self.number, self.timeout = number, timeout
        self.password = b"secret %d" % number
        self.heard = 0.0
        self.connection: Connection | None = None
        self.identities: dict[Identity, None] = {}


class Connection:
    """A session's stream: its watches, and what is to be written."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.data: dict[str, None] = {}
        self.child: dict[str, None] = {}
        self.persistent: dict[str, None] = {}
        self.recursive: dict[str, None] = {}
        self.outbox: list[bytes] = []
        self.wake = asyncio.Event()
        self.over = asyncio.Event()

    def deliver(self, answer: Reply | Event) -> None:
        self.outbox.append(encode(answer))
        self.wake.set()


class Ensemble:
    """The state that the servers share.

    Attributes:
        nodes: by path; "/" is always there.
        log: every request that was executed: session, request, code.
        events: every event that was delivered: session, event.
        expired: the sessions that were.
        minimum: of session time-outs, in seconds.
        taken: requests so far.
        breaks_at: at which of them the connection breaks.
        breaks_after: after it was executed, but not answered; otherwise before.
    """

    def __init__(self, minimum: float = 0.1) -> None:
        self.nodes: dict[str, Znode] = {"/": Znode(b"", OPEN_ACL, 0, 0)}
        self.sessions: dict[int, Session] = {}
        self.log: list[tuple[int, AnyRequest, Code]] = []
        self.events: list[tuple[int, Event]] = []
        self.expired: list[int] = []
        self.expired_at: dict[int, float] = {}
        self.zxid = 0
        self.minimum = minimum
        self.taken = self.breaks_at = 0
        self.breaks_after = True
        self.count = 0

    # Sessions

    def open(self, hello: pb.Connect) -> Session | None:
        if hello.session:
            session = self.sessions.get(hello.session)
            return session if session is not None and session.password == hello.password else None
        self.count += 1
        session = Session(self.count, max(self.minimum, hello.timeout_ms / 1000))
        self.sessions[session.number] = session
        return session

    def expire(self, number: int) -> None:
        session = self.sessions.pop(number)
        self.zxid += 1
        for path in [path for path, node in self.nodes.items() if node.owner == number]:
            self._delete(path)
        if session.connection is not None:
            session.connection.over.set()

    def tick(self, now: float) -> None:
        for session in [*self.sessions.values()]:
            if now > session.heard + session.timeout:
                self.expired.append(session.number)
                self.expired_at[session.number] = now
                self.expire(session.number)

    # Requests

    def execute(self, connection: Connection, xid: int, request: AnyRequest) -> None:
        code, result = Code.OK, None
        before = self.zxid
        if isinstance(request, UPDATES):
            self.zxid += 1
        try:
            result = self._do(connection, request)
            if isinstance(request, Multi) and result is not None:
                failed = [r.code for r in result.results if isinstance(r, Failed)]
                code = next((c for c in failed if c is not Code.RUNTIME_INCONSISTENCY), Code.OK)
                if code:
                    self.zxid = before
        except CoordinationError as exc:
            code = exc.code
            self.zxid = before
        self.log.append((connection.session.number, request, code))
        connection.deliver(Reply(xid, self.zxid, code, result))

    def _do(self, connection: Connection, request: Any) -> Any:
        session = connection.session
        match request:
            case Ping() | Sync():
                return Nothing()
            case Create() | Delete() | SetData() | Check():
                return self._update(session, request)
            case Multi():
                return self._multi(session, request)
            case SetAcl():
                node = self._node(request.path)
                if request.version not in (-1, node.aversion):
                    raise CoordinationError(Code.BAD_VERSION)
                node.acl, node.aversion = request.acl, node.aversion + 1
                return Written(self.stat(request.path))
            case GetAcl():
                return AclOf(self._node(request.path).acl, self.stat(request.path))
            case GetData():
                node = self._node(request.path)
                if request.watch:
                    connection.data[request.path] = None
                return Data(node.data, self.stat(request.path))
            case Exists():
                if request.watch:
                    connection.data[request.path] = None
                self._node(request.path)
                return Written(self.stat(request.path))
            case GetChildren():
                self._node(request.path)
                if request.watch:
                    connection.child[request.path] = None
                return Children(tuple(sorted(self.children(request.path))), self.stat(request.path))
            case GetEphemerals():
                mine = [p for p, node in self.nodes.items() if node.owner == session.number]
                return Paths(tuple(p for p in mine if p.startswith(request.prefix)))
            case GetAllChildrenNumber():
                self._node(request.path)
                below = request.path.rstrip("/") + "/"
                return Count(sum(p.startswith(below) and p != "/" for p in self.nodes))
            case WhoAmI():
                return Identities(tuple(session.identities))
            case Authenticate():
                if request.scheme != "digest":
                    raise CoordinationError(Code.AUTH_FAILED)
                session.identities[Identity("digest", request.credentials.decode())] = None
                return Nothing()
            case AddWatch():
                (connection.recursive if request.recursive else connection.persistent)[request.path] = None
                return Nothing()
            case RemoveWatches():
                return self._remove_watches(connection, request)
            case SetWatches():
                return self._register(connection, request)
            case Reconfigure():
                return Data("\n".join(request.joining).encode(), self.stat("/"))
            case CloseSession():
                self.expire(session.number)
                return Nothing()
        raise CoordinationError(Code.UNIMPLEMENTED)

    def _update(self, session: Session, request: Any) -> Any:
        path = request.path
        if isinstance(request, Create):
            parent = self._node(path.rpartition("/")[0] or "/")
            if parent.owner:
                raise CoordinationError(Code.NO_CHILDREN_FOR_EPHEMERALS)
            if request.mode.sequential:
                path += f"{parent.sequence:010d}"
                parent.sequence += 1
            if path in self.nodes:
                raise CoordinationError(Code.NODE_EXISTS)
            owner = session.number if request.mode.ephemeral else 0
            self.nodes[path] = Znode(request.data, request.acl, self.zxid, owner)
            parent.cversion += 1
            parent.pzxid = self.zxid
            self._fire(EventType.CREATED, path)
            return Created(path, self.stat(path))
        node = self._node(path)
        if request.version not in (-1, node.version):
            raise CoordinationError(Code.BAD_VERSION)
        if isinstance(request, SetData):
            node.data, node.version, node.mzxid = request.data, node.version + 1, self.zxid
            self._fire(EventType.DATA_CHANGED, path)
            return Written(self.stat(path))
        if isinstance(request, Delete):
            if self.children(path):
                raise CoordinationError(Code.NOT_EMPTY)
            self._delete(path)
        return Nothing()

    def _multi(self, session: Session, request: Multi) -> Several:
        before, quiet = copy.deepcopy(self.nodes), []
        fire, self._fire = self._fire, lambda *event: quiet.append(event)  # type: ignore[method-assign]
        results: list[Any] = []
        try:
            results.extend(self._update(session, operation) for operation in request.operations)
        except CoordinationError as exc:
            self.nodes, quiet = before, []
            rest = len(request.operations) - len(results) - 1
            results = [Failed(Code.OK)] * len(results)
            results += [Failed(exc.code), *[Failed(Code.RUNTIME_INCONSISTENCY)] * rest]
        finally:
            self._fire = fire  # type: ignore[method-assign]
        for event in quiet:
            self._fire(*event)
        return Several(tuple(results))

    def _remove_watches(self, connection: Connection, request: RemoveWatches) -> Nothing:
        kinds = {
            WatchKind.DATA: [connection.data],
            WatchKind.CHILDREN: [connection.child],
            WatchKind.PERSISTENT: [connection.persistent],
            WatchKind.PERSISTENT_RECURSIVE: [connection.recursive],
        }
        chosen = kinds.get(request.kind) or [watches for group in kinds.values() for watches in group]
        if not any(request.path in watches for watches in chosen):
            raise CoordinationError(Code.NO_WATCHER)
        for watches in chosen:
            watches.pop(request.path, None)
        return Nothing()

    def _register(self, connection: Connection, request: SetWatches) -> Nothing:
        def tell(kind: EventType, path: str) -> None:
            self._tell(connection, Event(kind, path, self.zxid))

        for path in request.data:
            node = self.nodes.get(path)
            if node is None:
                tell(EventType.DELETED, path)
            elif node.mzxid > request.relative_zxid:
                tell(EventType.DATA_CHANGED, path)
            else:
                connection.data[path] = None
        for path in request.exist:
            if path in self.nodes:
                tell(EventType.CREATED, path)
            else:
                connection.data[path] = None
        for path in request.child:
            node = self.nodes.get(path)
            if node is None:
                tell(EventType.DELETED, path)
            elif node.pzxid > request.relative_zxid:
                tell(EventType.CHILDREN_CHANGED, path)
            else:
                connection.child[path] = None
        connection.persistent.update(dict.fromkeys(request.persistent))
        connection.recursive.update(dict.fromkeys(request.persistent_recursive))
        return Nothing()

    # The tree

    def children(self, path: str) -> list[str]:
        below = path.rstrip("/") + "/"
        return [
            p[len(below) :]
            for p in self.nodes
            if p.startswith(below) and "/" not in p[len(below) :] and p != "/"
        ]

    def stat(self, path: str) -> Stat:
        return self.nodes[path].stat(len(self.children(path)))

    def _node(self, path: str) -> Znode:
        if path not in self.nodes:
            raise CoordinationError(Code.NO_NODE)
        return self.nodes[path]

    def _delete(self, path: str) -> None:
        del self.nodes[path]
        parent = self.nodes[path.rpartition("/")[0] or "/"]
        parent.cversion += 1
        parent.pzxid = self.zxid
        self._fire(EventType.DELETED, path)

    def _fire(self, kind: EventType, path: str) -> None:
        parent = path.rpartition("/")[0] or "/"
        for session in [*self.sessions.values()]:
            connection = session.connection
            if connection is None:
                continue
            hit = connection.data.pop(path, "") is None
            if kind is EventType.DELETED:
                hit = (connection.child.pop(path, "") is None) or hit
            hit = hit or path in connection.persistent
            hit = hit or any(path == r or path.startswith(r.rstrip("/") + "/") for r in connection.recursive)
            if hit:
                self._tell(connection, Event(kind, path, self.zxid))
            if kind is EventType.DATA_CHANGED:
                continue
            if connection.child.pop(parent, "") is None or parent in connection.persistent:
                self._tell(connection, Event(EventType.CHILDREN_CHANGED, parent, self.zxid))

    def _tell(self, connection: Connection, event: Event) -> None:
        self.events.append((connection.session.number, event))
        connection.deliver(event)
