"""A client whose every request, answer, watch event and change of state goes into the history.

It records in the words of `sim/check/README.md`. An answer is recorded at the moment in which the client
library has it, not when whoever awaits it gets to run: so the order of the lines is the order of the answers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from services.coordination import api
from services.coordination.api import ANY_VERSION, Code, CreateMode, EventType, Reply, SessionState
from services.coordination.client import Client, Watch
from services.coordination.client.errors import error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim import World
    from sim.scenario.api import OpenOperation

UNSURE = (Code.CONNECTION_LOSS, Code.SESSION_EXPIRED, Code.OPERATION_TIMEOUT, Code.SYSTEM_ERROR)
"""After one of these nobody knows whether the request took effect."""

EVENTS = {
    EventType.CREATED: "created",
    EventType.DELETED: "deleted",
    EventType.DATA_CHANGED: "changed",
    EventType.CHILDREN_CHANGED: "children",
}
STATES = {
    SessionState.CONNECTED: "connected",
    SessionState.DISCONNECTED: "suspended",
    SessionState.EXPIRED: "expired",
}


def error_name(code: Code) -> str:
    """Returns ZooKeeper's name of an error: NO_NODE is NoNode."""
    return "".join(part.capitalize() for part in code.name.split("_"))


class _Session(Client):
    """A session whose watches may be armed by requests that are recorded."""

    def arm(self, request: api.AnyRequest, watch: Watch, exists: bool) -> None:
        """Arms a watch, as the answer to this request does."""
        match request:
            case api.GetChildren(path):
                self._watches.arm_children(path, watch)
            case api.GetData(path) | api.Exists(path) if exists:
                self._watches.arm_data(path, watch)
            case api.Exists(path):
                self._watches.arm_exist(path, watch)


class RecordedClient:
    """A client, and what it saw.

    Args:
        world: where it is recorded.
        name: of the client; its requests are recorded on as many lanes as it has in flight.
        servers: that it may connect to.
        timeout: of its sessions, in seconds.

    Attributes:
        session: the present one.
    """

    def __init__(self, world: World, name: str, servers: Sequence[str], timeout: float) -> None:
        self.world = world
        self.name = name
        self._servers = list(servers)
        self._timeout = timeout
        self._lanes: list[str] = []
        self._free: list[str] = []
        self._opened = self._ending = False
        self._last_event: api.Event | None = None

    @property
    def over(self) -> bool:
        """Whether the session is over, so that another must be opened."""
        return self.session.state in (SessionState.EXPIRED, SessionState.CLOSED, SessionState.AUTH_FAILED)

    async def open(self, within: float | None = None) -> None:
        """Opens a session; the one before, if there was one, must be over.

        Raises:
            CoordinationError: CONNECTION_LOSS: not in that many seconds.
        """
        self._opened = self._ending = False
        self.session = _Session(
            self.world.client(self.name), self._servers, timeout=self._timeout, within=within
        )
        self.session.on_state(self._changed)
        await self.session.__aenter__()

    async def reopen(self, within: float | None = None) -> None:
        """Opens another session, the last one being over.

        Raises:
            CoordinationError: as `open`.
        """
        await self.session.close()
        await self.open(within)

    async def close(self) -> None:
        """Closes the session."""
        if not self.over:
            async with self._operation("close", None, None) as op:
                await self._ask(op, api.CloseSession(), self._closed)
        await self.session.close()

    def _closed(self, result: Any) -> dict[str, Any]:
        self._ending = True  # what follows is the end of the connection, and says nothing
        return {}

    # Requests

    async def create(
        self, path: str, data: str = "", *, ephemeral: bool = False, sequential: bool = False
    ) -> str:
        """Creates a znode and returns its path."""
        mode = CreateMode((1 if ephemeral else 0) + (2 if sequential else 0))
        asked: dict[str, Any] = {"data": data}
        if ephemeral:
            asked["ephemeral"] = True
        if sequential:
            asked["sequential"] = True
        async with self._operation("create", path, asked) as op:
            request = api.Create(path, data.encode(), mode=mode)
            created = await self._ask(op, request, lambda result: {"path": result.path})
            name: str = created.path
            return name

    async def delete(self, path: str, version: int = ANY_VERSION) -> None:
        """Deletes a znode."""
        asked = {} if version == ANY_VERSION else {"version": version}
        async with self._operation("delete", path, asked) as op:
            await self._ask(op, api.Delete(path, version), lambda result: {})

    async def set(self, path: str, data: str, version: int = ANY_VERSION) -> int:
        """Writes data and returns the new version."""
        asked: dict[str, Any] = {"data": data}
        if version != ANY_VERSION:
            asked["version"] = version
        async with self._operation("set", path, asked) as op:
            request = api.SetData(path, data.encode(), version)
            written = await self._ask(op, request, lambda result: {"version": result.stat.version})
            new: int = written.stat.version
            return new

    async def get(self, path: str, watch: Watch | None = None) -> tuple[str, int]:
        """Reads data and version."""
        async with self._operation("get", path, {"watch": True} if watch else {}) as op:
            request = api.GetData(path, watch is not None)
            read = await self._ask(
                op, request, lambda result: {"data": result.data.decode(), **_known(result.stat)}, watch
            )
            return read.data.decode(), read.stat.version

    async def exists(self, path: str, watch: Watch | None = None) -> bool:
        """Says whether there is such a znode."""
        async with self._operation("exists", path, {"watch": True} if watch else {}) as op:
            request = api.Exists(path, watch is not None)
            found = await self._ask(
                op,
                request,
                lambda result: {"exists": True, **_known(result.stat)} if result else {"exists": False},
                watch,
            )
            return found is not None

    async def children(self, path: str, watch: Watch | None = None) -> list[str]:
        """Lists the names of the children."""
        async with self._operation("children", path, {"watch": True} if watch else {}) as op:
            request = api.GetChildren(path, watch is not None)
            listed = await self._ask(op, request, lambda result: {"children": list(result.names)}, watch)
            return list(listed.names)

    async def sync(self, path: str = "/") -> None:
        """Has the server catch up."""
        async with self._operation("sync", path, None) as op:
            await self._ask(op, api.Sync(path), lambda result: {})

    async def multi(self, *operations: api.Create | api.Delete | api.SetData | api.Check) -> None:
        """Does several things, or none of them."""
        async with self._operation("multi", None, {"ops": [_described(one) for one in operations]}) as op:
            await self._ask(
                op,
                api.Multi(operations),
                lambda result: {
                    "results": [_outcome(one, of) for one, of in zip(operations, result.results, strict=True)]
                },
            )

    def watch(self, seen: Callable[[str], None] | None = None) -> Watch:
        """Returns a watch whose event is recorded when it comes.

        Args:
            seen: called with its type: created, deleted, changed, children.
        """

        def fired(event: api.Event) -> None:
            what = EVENTS.get(event.type)
            if what is None:
                return
            if event != self._last_event:  # it is one event, however many watches of this client see it
                self._last_event = event
                self._instant("events", "event", {"type": what, "zxid": event.zxid}, event.path)
            if seen is not None:
                seen(what)

        return Watch(fired)

    async def dump(self, server: str) -> None:
        """Reads the whole tree, and records it as that server's."""
        async with self.world.operation(f"{self.name}/dump", "dump", key=server) as op:
            await self.session.sync()
            nodes: dict[str, list[Any]] = {}
            await self._collect("/", nodes)
            op.ok({"zxid": self.session.last_zxid, "nodes": nodes})

    async def _collect(self, path: str, nodes: dict[str, list[Any]]) -> None:
        (data, stat), names = await asyncio.gather(self.session.get(path), self.session.children(path))
        nodes[path] = [data.decode(), stat.version, stat.czxid, stat.mzxid, stat.ephemeral_owner]
        below = [f"{path.rstrip('/')}/{name}" for name in names]
        await asyncio.gather(*(self._collect(one, nodes) for one in below if one != "/zookeeper"))

    # Recording

    def _operation(self, f: str, key: str | None, asked: Any) -> _Lane:
        return _Lane(self, f, key, asked)

    async def _ask(
        self,
        lane: _Told,
        request: api.AnyRequest,
        told: Callable[[Any], dict[str, Any]],
        watch: Watch | None = None,
    ) -> Any:
        """Sends a request; the answer is recorded as it comes.

        Raises:
            CoordinationError: how it ended, if not well.
        """
        session = self.session

        def finish(reply: Reply, path: str) -> Any:
            absent = type(request) is api.Exists and reply.code is Code.NO_NODE
            if reply.code is Code.OK or absent:
                lane.ok({**told(reply.result), "zxid": reply.zxid})
                if watch is not None:
                    session.arm(request, watch, not absent)
                return reply.result
            if reply.code in UNSURE:
                lane.info(error_name(reply.code))
            else:
                lane.fail(error_name(reply.code))
            failure = error(reply.code, path)
            if watch is not None:
                watch.fail(failure)
            raise failure

        return await session.submit(request, finish)

    def _changed(self, state: SessionState) -> None:
        what = STATES.get(state)
        if what is None or self._ending:
            return
        if not self._opened:
            if what != "connected":
                return
            self._opened = True
            opened = {"event": "open", "id": self.session.session, "timeout": self.session.timeout}
            self._instant("session", "session", opened, None)
        else:
            self._instant("session", "session", {"event": what}, None)

    def _instant(self, lane: str, f: str, value: dict[str, Any], key: str | None) -> None:
        """Records what happens in an instant."""
        operation = self.world.operation(f"{self.name}/{lane}", f, value, key=key)
        step = _record(operation)
        try:
            step.send(None)
        except StopIteration:
            return
        raise AssertionError("what happens in an instant waits for nothing")


async def _record(operation: Any) -> None:
    async with operation as op:
        op.ok()


class _Told:
    """An operation that is completed by its answer, which may come after nobody waits for it any more."""

    def __init__(self, operation: OpenOperation) -> None:
        self._operation = operation
        self.over = False

    def ok(self, value: dict[str, Any]) -> None:
        if not self.over:
            self.over = True
            self._operation.ok(value)

    def info(self, why: str) -> None:
        if not self.over:
            self.over = True
            self._operation.info(why)

    def fail(self, why: str) -> None:
        if not self.over:
            self.over = True
            self._operation.fail(why)


class _Lane:
    """One operation on a lane of its client that is free: `async with`."""

    def __init__(self, client: RecordedClient, f: str, key: str | None, asked: Any) -> None:
        if not client._free:
            client._free.append(f"{client.name}/{len(client._lanes) + 1}")
            client._lanes.append(client._free[-1])
        self._client = client
        self._lane = client._free.pop()
        self._operation = client.world.operation(self._lane, f, asked, key=key)

    async def __aenter__(self) -> _Told:
        self._told = _Told(await self._operation.__aenter__())
        return self._told

    async def __aexit__(self, *error: Any) -> None:
        self._told.over = True
        await self._operation.__aexit__(*error)
        self._client._free.append(self._lane)


def _known(stat: api.Stat) -> dict[str, Any]:
    return {
        "version": stat.version,
        "czxid": stat.czxid,
        "mzxid": stat.mzxid,
        "owner": stat.ephemeral_owner,
    }


def _described(one: api.Create | api.Delete | api.SetData | api.Check) -> dict[str, Any]:
    match one:
        case api.Create(path, data, mode=mode):
            told: dict[str, Any] = {"f": "create", "key": path, "data": (data or b"").decode()}
            if mode.ephemeral:
                told["ephemeral"] = True
            if mode.sequential:
                told["sequential"] = True
            return told
        case api.SetData(path, data, version):
            told = {"f": "set", "key": path, "data": (data or b"").decode()}
        case api.Delete(path, version):
            told = {"f": "delete", "key": path}
        case api.Check(path, version):
            told = {"f": "check", "key": path}
    if version != ANY_VERSION:
        told["version"] = version
    return told


def _outcome(one: api.Create | api.Delete | api.SetData | api.Check, result: Any) -> dict[str, Any]:
    match one:
        case api.Create():
            return {"path": result.path}
        case api.SetData():
            return {"version": result.stat.version}
    return {}
