"""A client of the replicated log: asks one replica, then the other, until it has an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from protos import log_pb2 as pb
from protos import log_pb2_grpc as rpc
from services.primary_backup.timing import ATTEMPT, RETRY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.host import Host


class LogClient:
    """A client; one call at a time.

    Args:
        host: its door.
        replicas: the hosts that hold the log.
        name: unique among all clients there ever are; the replicas know its requests by it.
    """

    def __init__(self, host: Host, replicas: Sequence[str], name: str) -> None:
        self._stubs = [rpc.LogStub(host.connect(replica)) for replica in replicas]
        self._name = name
        self._requests = 0

    async def append(self, data: bytes) -> int:
        """Adds a record and returns its position, however long it takes.

        The record is there once, however often it had to be asked for. A caller that gives up
        (`asyncio.timeout`) cannot know whether it is or will be.
        """
        self._requests += 1
        request = pb.Request(client=self._name, request=self._requests, data=data)
        while True:
            try:
                return (await self._stubs[0].Append(request, timeout=ATTEMPT)).position
            except grpc.aio.AioRpcError:
                await self._try_the_other()

    async def read(self) -> list[bytes]:
        """Returns all records: every one acknowledged before, and nothing that can be lost again."""
        while True:
            try:
                return list((await self._stubs[0].Read(pb.Nothing(), timeout=ATTEMPT)).data)
            except grpc.aio.AioRpcError:
                await self._try_the_other()

    async def _try_the_other(self) -> None:
        self._stubs.append(self._stubs.pop(0))
        await asyncio.sleep(RETRY)
