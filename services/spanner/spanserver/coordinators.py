"""What leaders ask the leaders of other groups, over gRPC: finds them by members and hints.

A participant knows of its coordinator's group no more than the number, also after a restart. Where this
server has a replica of that group, it knows its members; else a location proxy is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.errors import SpannerError
from services.spanner.statuses import of_call
from services.spanner.transactions.coordinators import NoSuchGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    from services.host import Host
    from services.spanner.group import Member

    T = TypeVar("T")

OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
PATIENCE = 1.0  # seconds for a location proxy to answer
DECIDING = (
    30.0  # seconds after which a question to a coordinator is given up; who asks has a time-out of its own
)


class _Place:
    """A group: who may lead it, and who is asked next."""

    def __init__(self, servers: Sequence[str], leader: str) -> None:
        self.servers = list(servers)
        self.leader = leader or self.servers[0]
        self._told = leader

    def told(self, leader: str) -> None:
        """Takes what this server's own replica has learned of who leads, if it is news."""
        if leader and leader != self._told:
            self._told = self.leader = leader

    def another(self, than: str) -> None:
        """Has the next one asked, unless it was found out meanwhile."""
        if self.leader == than:
            place = self.servers.index(than) if than in self.servers else -1
            self.leader = self.servers[(place + 1) % len(self.servers)]


class RemoteCoordinators:
    """Implements `transactions.Coordinators`.

    Args:
        host: the spanserver's door.
        locations: names of location proxies.
        members: what this server knows itself of a group: its members, and who leads.
    """

    def __init__(
        self,
        host: Host,
        locations: Sequence[str],
        members: Callable[[int], tuple[Sequence[Member], str] | None],
    ) -> None:
        self._host = host
        self._locations = list(locations)
        self._members = members
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._places: dict[int, _Place] = {}
        self._answered: dict[str, float] = {}  # when each server did last, in the loop's seconds
        self._leaving: dict[asyncio.Task[None], None] = {}

    async def find(self, coordinator: int) -> None:
        """Returns once it is known where a group is; see the protocol."""
        await self._place(coordinator)

    async def decide(self, coordinator: int, participant: int, transaction: str, prepared: int) -> int:
        """Says that a participant has prepared, and returns the outcome; see the protocol."""
        request = pb.DecideRequest(
            coordinator=coordinator,
            participant=participant,
            transaction=transaction,
            prepare_timestamp=prepared,
        )
        decision = await self._ask(coordinator, lambda stub: stub.Decide(request, timeout=DECIDING))
        return decision.commit_timestamp

    async def finished(self, coordinator: int, participant: int, transaction: str) -> None:
        """Says that a participant will not ask again; see the protocol."""
        request = pb.DecideRequest(
            coordinator=coordinator, participant=participant, transaction=transaction, finished=True
        )
        await self._ask(coordinator, lambda stub: stub.Decide(request, timeout=DECIDING))

    async def wound(self, coordinator: int, transaction: str) -> None:
        """Says that an older transaction waits; see the protocol."""
        request = pb.WoundRequest(group=coordinator, transaction=transaction)
        await self._ask(coordinator, lambda stub: stub.Wound(request, timeout=DECIDING))

    async def close(self) -> None:
        """Closes its connections."""
        for channel in self._channels.values():
            await channel.close()
        for task in self._leaving:
            task.cancel()

    async def _ask(self, group: int, question: Callable[[rpc.SpanserverAsyncStub], Awaitable[T]]) -> T:
        """Asks the leader, as far as it is known; learns from a refusal who it is.

        Raises:
            SpannerError: UNAVAILABLE mostly: ask again.
        """
        loop = asyncio.get_running_loop()
        place = await self._place(group)
        for _ in range(2):  # a hint is followed at once
            server = place.leader
            began = loop.time()
            try:
                answer = await question(rpc.SpanserverStub(self._channel(server)))
            except grpc.aio.AioRpcError as exc:
                error = of_call(exc)
            except asyncio.CancelledError:  # who asked has waited long enough: it may be cut off
                if self._answered.get(server, 0.0) < began:
                    self._leave(server)
                    place.another(server)
                raise
            else:
                self._answered[server] = loop.time()
                return answer
            if error.reason == "unknown-group":
                self._places.pop(group, None)
                raise error
            if error.reason == "not-leader" and error.hint and error.hint != server:
                place.leader = error.hint
                continue
            place.another(server)
            break
        raise error

    async def _place(self, group: int) -> _Place:
        place = self._places.get(group)
        own = self._members(group)
        if place is not None and own is not None:
            place.told(own[1])
        if place is None:
            if own is not None:
                members, leader = own
                servers = [one.server for one in members if one.kind == "read-write"]
            else:
                servers, leader = await self._located(group)
            place = self._places[group] = _Place(servers, leader)
        return place

    async def _located(self, group: int) -> tuple[list[str], str]:
        for proxy in self._locations:
            try:
                located = await rpc.LocationStub(self._channel(proxy)).Locate(
                    pb.LocateRequest(ranges=[pb.KeyRange(start=b"", end=b"\x00")], groups=[group]),
                    timeout=PATIENCE,
                )
            except grpc.aio.AioRpcError:
                self._leave(proxy)
                continue
            for one in located.groups:
                servers = [member.server for member in one.members if member.kind in ("", "read-write")]
                if one.group == group and servers:
                    return servers, one.leader
            raise NoSuchGroup(group)
        raise SpannerError("UNAVAILABLE", f"nobody says where group {group} is")

    def _leave(self, server: str) -> None:
        """Has the next question be on another connection: TCP is slow to find out that a cut one works again.

        What is still asked on this one may be answered yet.
        """
        channel = self._channels.pop(server, None)
        if channel is not None:
            task = asyncio.ensure_future(channel.close(DECIDING))
            self._leaving[task] = None
            task.add_done_callback(self._leaving.pop)

    def _channel(self, server: str) -> grpc.aio.Channel:
        channel = self._channels.get(server)
        if channel is None:
            channel = self._channels[server] = self._host.connect(server, options=OPTIONS)
        return channel
