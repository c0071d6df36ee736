"""A server that is a dict: enough of `front.Front` to see what the wire door makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.coordination import api
from services.coordination.api import Code, CoordinationError, Reply
from services.coordination.configuration import Configuration, Member
from services.coordination.front import (
    ConnectionFigures,
    Deliver,
    Hello,
    SessionFigures,
    SessionOver,
    Unavailable,
)


class Node:
    def __init__(self, data: bytes, zxid: int) -> None:
        self.data = data
        self.czxid = self.mzxid = self.pzxid = zxid
        self.version = self.cversion = 0
        self.children: dict[str, None] = {}

    def stat(self) -> api.Stat:
        return api.Stat(
            self.czxid,
            self.mzxid,
            1000,
            2000,
            self.version,
            self.cversion,
            0,
            0,
            len(self.data),
            len(self.children),
            self.pzxid,
        )


class FakeFront:
    """Answers at once, one request after the other."""

    def __init__(self) -> None:
        self.nodes = {"/": Node(b"", 0)}
        self.zxid = 0
        self.sessions_: dict[int, bytes] = {}
        self.links: dict[FakeConnection, None] = {}
        self.state = "standalone"
        self.hellos: list[Hello] = []
        self.limit = 1 << 30
        self.held: list[Callable[[], None]] | None = None  # answers kept back, while it is a list

    async def connect(
        self, hello: Hello, address: str, deliver: Deliver, closed: Callable[[str], None]
    ) -> FakeConnection:
        self.hellos.append(hello)
        if self.state == "looking" or hello.last_zxid > self.zxid:
            raise Unavailable("no")
        if hello.session and self.sessions_.get(hello.session) != hello.password:
            raise SessionOver
        session = hello.session or 0x1000 + len(self.sessions_)
        self.sessions_[session] = b"p" * 16
        connection = FakeConnection(self, session, min(max(hello.timeout, 4000), 40000), address)
        connection.deliver, connection.closed = deliver, closed
        self.links[connection] = None
        return connection

    def configuration(self) -> Configuration:
        return Configuration((Member(1, "a"),))

    def figures(self) -> Mapping[str, Any]:
        return {
            "zk_version": "3.8.0-fake",
            "zk_server_state": self.state,
            "zk_znode_count": len(self.nodes),
            "zk_avg_latency": 0.5,
            "zk_num_alive_connections": len(self.links),
            "zk_last_zxid": self.zxid,
        }

    def connections(self) -> list[ConnectionFigures]:
        return [
            ConnectionFigures(link.address, link.session, link.timeout, 0, 1, 2, "GetData", 3, 0, 1, 2, 1000)
            for link in self.links
        ]

    def sessions(self) -> list[SessionFigures]:
        return [SessionFigures(session, 4000, 3000, ("/e",)) for session in self.sessions_]

    def watches(self) -> Mapping[str, Sequence[int]]:
        return {"/b": [0x1001, 0x1000], "/a": [0x1000]}

    def digests(self) -> list[tuple[int, str]]:
        return [(1, "12"), (255, "34")]

    def perform(self, request: api.AnyRequest) -> api.AnyResult:
        match request:
            case api.Create(path, data):
                parent = path.rpartition("/")[0] or "/"
                if path in self.nodes:
                    raise CoordinationError(Code.NODE_EXISTS, path)
                if not path.startswith("/") or parent not in self.nodes:
                    raise CoordinationError(Code.NO_NODE, path)
                self.zxid += 1
                self.nodes[path] = Node(data, self.zxid)
                above = self.nodes[parent]
                above.children[path.rpartition("/")[2]] = None
                above.cversion += 1
                above.pzxid = self.zxid
                return api.Created(path, self.nodes[path].stat())
            case api.Delete(path):
                self.node(path)
                self.zxid += 1
                del self.nodes[path]
                del self.nodes[path.rpartition("/")[0] or "/"].children[path.rpartition("/")[2]]
                return api.Nothing()
            case api.SetData(path, data, version):
                node = self.node(path)
                if version not in (-1, node.version):
                    raise CoordinationError(Code.BAD_VERSION, path)
                self.zxid += 1
                node.data, node.mzxid = data, self.zxid
                node.version += 1
                return api.Written(node.stat())
            case api.GetData(path):
                node = self.node(path)
                return api.Data(node.data, node.stat())
            case api.Exists(path):
                return api.Written(self.node(path).stat())
            case api.GetChildren(path):
                node = self.node(path)
                return api.Children(tuple(sorted(node.children)), node.stat())
            case api.GetAcl(path):
                return api.AclOf(api.OPEN_ACL, self.node(path).stat())
            case api.SetAcl(path):
                return api.Written(self.node(path).stat())
            case api.Authenticate(scheme, _):
                if scheme != "digest":
                    raise CoordinationError(Code.AUTH_FAILED)
                return api.Nothing()
            case api.WhoAmI():
                return api.Identities((api.Identity("ip", "127.0.0.1"), api.Identity("digest", "u:hash")))
            case api.GetEphemerals(prefix):
                return api.Paths((prefix + "e",))
            case api.GetAllChildrenNumber():
                return api.Count(len(self.nodes) - 1)
            case api.RemoveWatches(path) | api.CheckWatches(path):
                raise CoordinationError(Code.NO_WATCHER, path)
            case api.MultiRead(operations):
                return api.Several(tuple(map(self.attempt, operations)))
            case api.Multi(operations):
                return api.Several(tuple(map(self.attempt, operations)))
            case api.Reconfigure():
                raise CoordinationError(Code.RECONFIG_DISABLED)
            case _:
                return api.Nothing()

    def attempt(self, request: api.AnyRequest) -> api.AnyResult:
        try:
            return self.perform(request)
        except CoordinationError as exc:
            return api.Failed(exc.code)

    def node(self, path: str) -> Node:
        try:
            return self.nodes[path]
        except KeyError:
            raise CoordinationError(Code.NO_NODE, path) from None

    def release(self) -> None:
        """Answers what was kept back."""
        held, self.held = self.held or [], None
        for answer in held:
            answer()


class FakeConnection:
    def __init__(self, front: FakeFront, session: int, timeout: int, address: str) -> None:
        self.front = front
        self.session = session
        self.password = b"p" * 16
        self.timeout = timeout
        self.address = address
        self.read_only = False
        self.deliver: Deliver = lambda _: None
        self.closed: Callable[[str], None] = lambda _: None
        self.seen: list[tuple[int, api.AnyRequest]] = []
        self.waiting = 0
        self.rooms: list[asyncio.Future[None]] = []
        self.gone = False

    @property
    def full(self) -> bool:
        return self.waiting >= self.front.limit

    async def room(self) -> None:
        while self.full:
            self.rooms.append(asyncio.get_running_loop().create_future())
            await self.rooms[-1]

    def submit(self, xid: int, request: api.AnyRequest) -> None:
        assert not self.full, "the door is to wait for room"
        self.waiting += 1
        self.seen.append((xid, request))
        if len(self.seen) > 1000:
            del self.seen[:500]
        if self.front.held is not None:
            self.front.held.append(lambda: self.answer(xid, request))
        else:
            self.answer(xid, request)

    def answer(self, xid: int, request: api.AnyRequest) -> None:
        self.waiting -= 1
        for room in self.rooms:
            if not room.done():
                room.set_result(None)
        self.rooms.clear()
        code, result = Code.OK, None
        try:
            result = self.front.perform(request)
        except CoordinationError as exc:
            code = exc.code
        self.deliver(Reply(xid, self.front.zxid, code, result))
        if isinstance(request, api.CloseSession) or code is Code.AUTH_FAILED:
            self.front.links.pop(self, None)
            self.closed("closed")

    def close(self) -> None:
        self.gone = True
        self.front.links.pop(self, None)
