"""The file system as its users see it: paths and bytes; retries are in here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import grpc

from protos import files_pb2 as pb
from protos import files_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from services.host import Host

T = TypeVar("T")

CHUNK = 256 * 1024
_RETRY = 0.2  # seconds before a call that met an unreachable server is made again
_PATIENCE = 60.0  # seconds after which it is given up
_TIMEOUT = 15.0  # seconds for one call; a cut link shows itself by this


class FileSystem:
    """A client of the file server on host `server`."""

    def __init__(self, host: Host, server: str) -> None:
        self._stub = rpc.FilesStub(host.connect(server))

    async def list(self, path: str = "") -> list[tuple[str, int]]:
        """Returns (path, size in bytes) of all files below a folder, sorted."""
        stats = await _persist(lambda: self._stub.List(pb.Path(path=path), timeout=_TIMEOUT))
        return [(stat.path, stat.size) for stat in stats.files]

    async def read(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        """Returns a range of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """

        async def once() -> bytes:
            request = pb.Range(path=path, offset=offset, size=size)
            return b"".join([chunk.data async for chunk in self._stub.Read(request, timeout=_TIMEOUT)])

        return await _persist(once)

    async def write(self, path: str, data: bytes) -> None:
        """Writes a whole file, which is durable and complete, or not there."""

        async def chunks() -> AsyncIterator[pb.Chunk]:
            for start in range(0, max(len(data), 1), CHUNK):
                yield pb.Chunk(path="" if start else path, data=data[start : start + CHUNK])

        await _persist(lambda: self._stub.Write(chunks(), timeout=_TIMEOUT))

    async def rename(self, source: str, target: str) -> None:
        """Moves a file, atomically, replacing `target`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        await _persist(lambda: self._stub.Rename(pb.Move(source=source, target=target), timeout=_TIMEOUT))


async def _persist(call: Callable[[], Awaitable[T]]) -> T:
    """Makes an idempotent call until the server answers, or patience ends."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise FileNotFoundError(error.details()) from None
            transient = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if not transient or loop.time() > deadline:
                raise
            await asyncio.sleep(_RETRY)
