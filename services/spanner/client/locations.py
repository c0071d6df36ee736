"""Where data is, as far as this client knows: fragments, their groups, who leads these; and the schema.

Asked of location proxies (2), kept, and asked again when a server says that it was wrong. That a leader is
remembered wrongly costs one more question; that a fragment is, is found out by the server that is asked.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import TYPE_CHECKING, TypeVar

import grpc

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.client.retry import Backoff
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.schema import Schema
from services.spanner.statuses import of_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from services.host import Host

PATIENCE = 1.0  # seconds for a location proxy to answer

T = TypeVar("T")


class Place:
    """A group, as a client sees it.

    Attributes:
        leader: who is asked first; "" where nobody is known to lead.
        members: its replicas.
        electable: the servers that may lead.
        scout: the request that goes round its replicas, where nobody leads; others are `waiting` for it.
    """

    def __init__(self, number: int, members: Sequence[pb.Member], leader: str) -> None:
        self.number = number
        self.members = list(members)
        self.electable = [one.server for one in self.members if one.kind in ("", "read-write")]
        self.leader = leader
        self.scout: object = None
        self.waiting: list[asyncio.Future[None]] = []
        self._next = 0

    @property
    def readable(self) -> list[pb.Member]:
        """The replicas that hold data."""
        return [one for one in self.members if one.kind != "witness"]

    def another(self) -> str:
        """Returns the next server that may lead, of all in turn."""
        servers = self.electable
        self._next += 1
        return servers[self._next % len(servers)]


class Locations:
    """What location proxies have said.

    Args:
        host: the client's door.
        proxies: their names; the first that answers does.
    """

    def __init__(self, host: Host, proxies: Sequence[str]) -> None:
        if not proxies:
            raise SpannerError("INVALID_ARGUMENT", "a client needs the name of a location proxy")
        self._host = host
        self._proxies = list(proxies)
        self._stubs: dict[str, rpc.LocationAsyncStub] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._leaving: dict[asyncio.Task[None], None] = {}
        self._starts: list[bytes] = []
        self._fragments: list[tuple[KeyRange, int]] = []
        self._places: dict[int, Place] = {}
        self._asking, self._learning = asyncio.Lock(), asyncio.Lock()
        self._schema: Schema | None = None
        self.timestamp = 0

    async def close(self) -> None:
        """Closes its connections."""
        for proxy in list(self._channels):
            self._leave(proxy)
        await asyncio.gather(*self._leaving)

    async def known(self, deadline: float) -> None:
        """Returns once it knows something."""
        if not self.timestamp:
            await self.newer_than(0, deadline)

    async def newer_than(self, timestamp: int, deadline: float) -> None:
        """Asks again, unless it has been since.

        Args:
            timestamp: what was known then is wrong.
            deadline: in `loop.time()`.

        Raises:
            SpannerError: UNAVAILABLE: no location proxy answers.
        """
        async with self._asking:
            if self.timestamp > timestamp:
                return
            located: pb.Located = await self._ask(
                lambda stub: stub.Locate(pb.LocateRequest(newer_than=timestamp), timeout=PATIENCE), deadline
            )
            self._fragments = sorted(
                (KeyRange(one.range.start, one.range.end), one.group) for one in located.fragments
            )
            self._starts = [range_.start for range_, _ in self._fragments]
            for group in located.groups:
                old = self._places.get(group.group)
                leader = old.leader if old is not None and old.leader else group.leader
                self._places[group.group] = Place(group.group, group.members, leader)
            self.timestamp = max(located.timestamp, timestamp + 1)

    async def schema(self, deadline: float, newer_than: int = 0) -> Schema:
        """Returns the schema.

        Args:
            deadline: in `loop.time()`.
            newer_than: a version that is known to be old.
        """
        if self._schema is not None and self._schema.version > newer_than:
            return self._schema
        async with self._learning:
            if self._schema is not None and self._schema.version > newer_than:
                return self._schema
            reply: pb.SchemaReply = await self._ask(
                lambda stub: stub.Schema(pb.SchemaRequest(newer_than=newer_than), timeout=PATIENCE), deadline
            )
            if self._schema is None or reply.version >= self._schema.version:
                self._schema = Schema.decode(reply.schema)
            return self._schema

    def owner(self, key: bytes) -> int:
        """Returns the group that owns a key.

        Raises:
            SpannerError: UNAVAILABLE: nobody does, as far as is known.
        """
        place = bisect_right(self._starts, key) - 1
        if place >= 0 and key in self._fragments[place][0]:
            return self._fragments[place][1]
        raise SpannerError("UNAVAILABLE", f"no group is known to own the key {key!r}", "moved")

    def split(self, ranges: Iterable[KeyRange]) -> list[tuple[int, list[KeyRange]]]:
        """Cuts ranges at the borders of groups: what one group has in a row stands together, in order.

        Raises:
            SpannerError: UNAVAILABLE: nobody owns a piece.
        """
        found: list[tuple[int, list[KeyRange]]] = []
        for range_ in ranges:
            start = range_.start
            while start < range_.end:
                group = self.owner(start)
                end = min(range_.end, self._fragments[bisect_right(self._starts, start) - 1][0].end)
                if found and found[-1][0] == group:
                    pieces = found[-1][1]
                    if pieces[-1].end == start:
                        pieces[-1] = KeyRange(pieces[-1].start, end)
                    else:
                        pieces.append(KeyRange(start, end))
                else:
                    found.append((group, [KeyRange(start, end)]))
                start = end
        return found

    def place(self, group: int) -> Place:
        """Returns a group.

        Raises:
            SpannerError: UNAVAILABLE: nothing is known of it.
        """
        if group not in self._places:
            raise SpannerError("UNAVAILABLE", f"group {group} is not known", "moved")
        return self._places[group]

    @property
    def fragments(self) -> list[tuple[KeyRange, int]]:
        """Which range belongs to which group, in order."""
        return list(self._fragments)

    async def _ask(self, question: Callable[[rpc.LocationAsyncStub], Awaitable[T]], deadline: float) -> T:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._host.rng)
        while True:
            for proxy in list(self._proxies):
                try:
                    return await question(self._stub(proxy))
                except grpc.aio.AioRpcError as exc:
                    why = of_call(exc)
                    self._leave(proxy)
                    self._proxies.remove(proxy)  # the others are asked first, from now on
                    self._proxies.append(proxy)
            wait = backoff.next()
            if loop.time() + wait > deadline:
                raise SpannerError("UNAVAILABLE", f"no location proxy answers ({why.detail})")
            await asyncio.sleep(wait)

    def _leave(self, proxy: str) -> None:
        """Has the next question be on another connection: TCP finds out late that a cut one works again."""
        self._stubs.pop(proxy, None)
        channel = self._channels.pop(proxy, None)
        if channel is not None:
            task = asyncio.ensure_future(channel.close())
            self._leaving[task] = None
            task.add_done_callback(self._leaving.pop)

    def _stub(self, proxy: str) -> rpc.LocationAsyncStub:
        if proxy not in self._stubs:
            channel = self._host.connect(proxy, options=(("grpc.use_local_subchannel_pool", 1),))
            self._channels[proxy] = channel
            self._stubs[proxy] = rpc.LocationStub(channel)
        return self._stubs[proxy]
