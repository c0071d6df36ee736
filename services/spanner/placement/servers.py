"""Calls from placement to spanservers: to one of them, or to whichever of a group leads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import grpc

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.errors import SpannerError
from services.spanner.statuses import of_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.host import Host
    from services.spanner.group import Member

T = TypeVar("T")

OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
AGAIN = 0.1  # seconds between two rounds over a group's members
PATIENCE = 2.0  # seconds for an answer

Stub = rpc.SpanserverStub


class Servers:
    """Connections to spanservers.

    Args:
        host: the door.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._leaders: dict[int, str] = {}

    async def close(self) -> None:
        """Closes them."""
        for channel in self._channels.values():
            await channel.close()

    def stub(self, server: str) -> rpc.SpanserverAsyncStub:
        """Returns what a spanserver is called by."""
        return rpc.SpanserverStub(self.channel(server))

    def channel(self, name: str) -> grpc.aio.Channel:
        """Returns the connection to a host of the universe."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = self._host.connect(name, options=OPTIONS)
        return channel

    async def zone(self, zonemaster: str) -> pb.ZoneStatus | None:
        """Asks a zonemaster; None where it does not answer."""
        try:
            return await rpc.ZonemasterStub(self.channel(zonemaster)).Status(pb.Poll(), timeout=PATIENCE)
        except grpc.aio.AioRpcError:
            return None

    def leader(self, group: int) -> str:
        """Returns who led a group when last asked; "" where that is not known."""
        return self._leaders.get(group, "")

    async def ask(self, server: str, call: Callable[[rpc.SpanserverAsyncStub], Awaitable[T]]) -> T:
        """Asks one server.

        Raises:
            SpannerError: its refusal; UNAVAILABLE, DEADLINE_EXCEEDED: it does not answer.
        """
        try:
            return await call(self.stub(server))
        except grpc.aio.AioRpcError as error:
            raise of_call(error) from None

    async def lead(
        self,
        group: int,
        members: Sequence[Member],
        call: Callable[[rpc.SpanserverAsyncStub], Awaitable[T]],
        patience: float,
    ) -> T:
        """Asks the leader of a group, whoever that is by the time; what is asked must be safe to ask twice.

        Args:
            group: which.
            members: its replicas.
            call: asks a stub.
            patience: seconds after which it is given up.

        Raises:
            SpannerError: the leader's refusal; the last one's, where none was found in that time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        electable = [one.server for one in members if one.kind == "read-write"]
        at = 0
        server = self._leaders.get(group, electable[0])
        while True:
            try:
                answer = await self.ask(server, call)
            except SpannerError as error:
                if error.reason not in ("not-leader", "no-time", "unknown-group") and (
                    error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or error.reason
                ):
                    raise
                if loop.time() > until:
                    raise
                if error.hint and error.hint != server:
                    server = error.hint
                else:
                    at += 1
                    server = electable[at % len(electable)]
                    await asyncio.sleep(AGAIN)
            else:
                self._leaders[group] = server
                return answer

    async def status(
        self, server: str, groups: Sequence[int] = (), *, leading: bool = False
    ) -> pb.SpanserverStatus | None:
        """Returns how a server is; None where it does not answer.

        Args:
            server: which.
            groups: that are asked about; none: all.
            leading: only those that it leads.
        """
        request = pb.StatusRequest(groups=groups, leading=leading)
        try:
            return await self.ask(server, lambda stub: stub.Status(request, timeout=PATIENCE))
        except SpannerError:
            return None
