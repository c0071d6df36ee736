"""The file service as its users see it; implements `services.files.api.FileSystem`.

Whatever may pass is tried again here, for a minute: a master that restarts, a chunkserver that is gone (its
replicas are elsewhere), a link that is cut. Every change has a token, so trying again changes nothing twice.
"""

from __future__ import annotations

import asyncio
import errno
import zlib
from typing import TYPE_CHECKING, TypeVar

import grpc

from protos import files_pb2 as pb
from protos import files_pb2_grpc as rpc
from services.files.api import FileInfo
from services.files.blocks import PIECE
from services.files.errors import error, from_status
from services.files.view import Prefetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from services.child import Storage
    from services.files.api import Positions, Range
    from services.host import Host

T = TypeVar("T")

_PATIENCE = 60.0  # seconds after which an operation that does not succeed is given up
_PAUSE = 0.2  # seconds between two attempts
_CALL = 10.0  # seconds for one call to the master
_PIECE = 10.0  # seconds until the next piece of a chunk: who takes longer is cut off
_SLOWEST = 2e6  # bytes a second at which a chunk may be written at the slowest
_SHUNNED = 30.0  # seconds for which a chunkserver that failed comes last
_LEAD = 1  # bytes before a range that a view holds: to see whether a record begins there


class Unavailable(OSError):
    """The file service could not be reached for a minute."""


class FileClient:
    """Files of the file service whose master is at `master`.

    Args:
        host: who asks.
        master: "host" or "host:port".
        replicas: of files that do not say; 0: as the master has it.
    """

    def __init__(self, host: Host, master: str, replicas: int = 0) -> None:
        self._host = host
        self._master = rpc.FilesStub(host.connect(master))
        self._name = master
        self._replicas = replicas
        self._servers: dict[str, rpc.ChunksAsyncStub] = {}
        self._failed: dict[str, float] = {}  # chunkserver -> loop time

    async def list(self, path: str = "") -> list[FileInfo]:
        """Returns all files below a folder, or the one file of that name."""
        listing = await self._ask(lambda: self._master.List(pb.Path(path=path), timeout=_CALL))
        return [FileInfo(file.path, file.size) for file in listing.files]

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        return (await self._ask(lambda: self._master.Exists(pb.Path(path=path), timeout=_CALL))).exists

    async def locate(self, ranges: Sequence[Range]) -> Positions:
        """Returns for each range the hosts that hold a replica of some of it, and how many bytes."""
        request = pb.Ranges(ranges=[pb.Range(path=r.path, offset=r.offset, size=r.size) for r in ranges])
        positions = await self._ask(lambda: self._master.Locate(request, timeout=_CALL))
        hosts = positions.hosts
        return [
            {hosts[index]: size for index, size in zip(held.hosts, held.bytes, strict=True)}
            for held in positions.ranges
        ]

    async def create(self, path: str, exclusive: bool = False) -> None:
        """Makes an empty folder, and those that it lies in."""
        request = pb.NewFolder(token=self._token(), path=path, exclusive=exclusive)
        await self._ask(lambda: self._master.Create(request, timeout=_CALL))

    async def commit(self, source: str, target: str) -> bool:
        """Moves a file to its final name unless that is taken."""
        request = pb.Move(token=self._token(), source=source, target=target)
        return (await self._ask(lambda: self._master.Commit(request, timeout=_CALL))).moved

    async def remove(self, path: str) -> None:
        """Removes a file or a folder with all in it."""
        request = pb.Removal(token=self._token(), path=path)
        await self._ask(lambda: self._master.Remove(request, timeout=_CALL))

    # Reading

    async def read(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        """Returns a range of a file, from the nearest replicas."""
        return (await self._read(path, [(offset, size)]))[1][0]

    async def _read(self, path: str, ranges: Sequence[tuple[int, int]]) -> tuple[int, Sequence[bytes]]:
        """Returns a file's size and some ranges of it, all of one version of the file."""
        end = asyncio.get_running_loop().time() + _PATIENCE
        request = pb.LookupRequest(path=path, host=self._host.name)
        while True:
            layout = await self._ask(lambda: self._master.Lookup(request, timeout=_CALL))
            try:
                parts = [await self._read_range(layout, offset, size) for offset, size in ranges]
                return sum(chunk.size for chunk in layout.chunks), parts
            except _NoReplica as exc:
                if asyncio.get_running_loop().time() > end:
                    raise error(errno.EIO, path, f"No replica can be read ({exc})") from None
            await asyncio.sleep(_PAUSE)

    async def _read_range(self, layout: pb.Layout, offset: int, size: int) -> bytes:
        begin, parts = 0, []
        for chunk in layout.chunks:
            start = max(offset - begin, 0)
            end = chunk.size if size < 0 else min(offset + size - begin, chunk.size)
            if start < end:
                parts.append(await self._read_chunk(chunk, start, end - start))
            begin += chunk.size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_chunk(self, chunk: pb.Chunk, offset: int, size: int) -> bytes:
        now = asyncio.get_running_loop().time()
        shunned = {address for address, when in self._failed.items() if when + _SHUNNED > now}
        why = "none is known"
        for address in sorted(chunk.servers, key=lambda address: address in shunned):
            try:
                return await self._read_replica(address, chunk.id, offset, size)
            except (grpc.aio.AioRpcError, TimeoutError, _Short) as exc:
                why = exc.details() or "" if isinstance(exc, grpc.aio.AioRpcError) else f"{address} is silent"
                self._failed[address] = asyncio.get_running_loop().time()
        raise _NoReplica(why)

    async def _read_replica(self, address: str, chunk: int, offset: int, size: int) -> bytes:
        call = self._server(address).Read(pb.Part(chunk=chunk, offset=offset, size=size))
        pieces, have = [], 0
        try:
            while True:
                async with asyncio.timeout(_PIECE):
                    piece = await call.read()
                if not isinstance(piece, pb.Piece):
                    break
                pieces.append(piece.data)
                have += len(piece.data)
        finally:
            call.cancel()
        if have != size:
            raise _Short
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # Writing

    async def write(self, path: str, data: bytes, replicas: int = 0) -> None:
        """Writes a whole file."""
        replicas = replicas or self._replicas
        request = pb.NewFile(token=self._token(), path=path, replicas=replicas)
        end = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            del request.chunks[:]
            offset = 0
            while offset < len(data):
                chunk = await self._write_chunk(path, data, offset, replicas)
                request.chunks.append(chunk)
                offset += chunk.size
            try:
                await self._ask(lambda: self._master.Put(request, timeout=_CALL))
                return
            except grpc.aio.AioRpcError as exc:  # the master has forgotten these chunks: write them again
                if exc.code() is not grpc.StatusCode.ABORTED or asyncio.get_running_loop().time() > end:
                    raise Unavailable(errno.EIO, exc.details(), path) from None

    async def _write_chunk(self, path: str, data: bytes, offset: int, replicas: int) -> pb.Chunk:
        """Writes a chunk from `offset`, to as many chunkservers as there should be, or as there are."""
        end = asyncio.get_running_loop().time() + _PATIENCE
        avoid: dict[str, None] = {}
        while True:
            request = pb.AllocateRequest(host=self._host.name, replicas=replicas, avoid=avoid)
            try:
                allocation = await self._master.Allocate(request, timeout=_CALL)
                some = memoryview(data)[offset : offset + allocation.chunk_bytes]
                wanted = list(allocation.chunk.servers)
                stored = await self._send(allocation.chunk, some)
                if stored == wanted:
                    return pb.Chunk(id=allocation.chunk.id, size=len(some), servers=stored)
                why = f"{wanted[-1]} did not store it"
                failed = [server for server in wanted if server not in stored]
                avoid.update(dict.fromkeys(failed))
            except grpc.aio.AioRpcError as exc:
                why = exc.details() or exc.code().name
                avoid.clear()  # none is left that has not failed: perhaps one has come back
            if asyncio.get_running_loop().time() > end:
                raise Unavailable(errno.EIO, f"No chunkserver takes it ({why})", path)
            await asyncio.sleep(_PAUSE)

    async def _send(self, chunk: pb.Chunk, data: memoryview) -> Sequence[str]:
        """Sends a chunk down the pipeline; returns who has it, durable."""

        async def pieces() -> AsyncIterator[pb.Piece]:
            for start in range(0, len(data), PIECE):
                some = bytes(data[start : start + PIECE])
                piece = pb.Piece(data=some, crc32=zlib.crc32(some))
                if not start:
                    piece.chunk = chunk.id
                    piece.next.extend(chunk.servers[1:])
                yield piece

        first = chunk.servers[0]
        try:
            stored = await self._server(first).Write(pieces(), timeout=_CALL + len(data) / _SLOWEST)
        except grpc.aio.AioRpcError:
            return list(chunk.servers[1:])  # nobody knows about the others: only the first is to blame
        return list(stored.servers)

    # Views

    async def view(self, ranges: Sequence[Range], tail: int = 1 << 16) -> Storage:
        """Returns a view that holds the ranges, each with `tail` bytes more."""
        view = Prefetched()
        spans: dict[str, list[tuple[int, int]]] = {}
        for part in ranges:
            start = max(part.offset - _LEAD, 0)
            end = -1 if part.size < 0 else part.offset + part.size + tail
            spans.setdefault(part.path, []).append((start, end))
        for path, wanted in spans.items():
            merged = _merge(wanted)
            size, parts = await self._read(
                path, [(start, -1 if end < 0 else end - start) for start, end in merged]
            )
            starts = [start for start, _ in merged]
            view.hold(path, size, dict(zip(starts, parts, strict=True)))
        return view

    async def publish(self, view: Storage, replicas: int = 0) -> None:
        """Writes what code has written to a view that came back from its child."""
        assert isinstance(view, Prefetched), "a view of this file system"
        for path, data in view.written.items():
            await self.write(path, data, replicas)

    # Calls

    def _token(self) -> int:
        return self._host.rng.getrandbits(64)

    def _server(self, address: str) -> rpc.ChunksAsyncStub:
        if address not in self._servers:
            self._servers[address] = rpc.ChunksStub(self._host.connect(address))
        return self._servers[address]

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Asks the master until it answers.

        Raises:
            OSError: what it answers, or that it did not.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as exc:
                failure = from_status(exc)
                if failure is not None:
                    raise failure from None
                if exc.code() not in _PASSING:
                    raise
                if loop.time() > end:
                    text = f"The file service does not answer ({exc.details()})"
                    raise Unavailable(errno.EIO, text, self._name) from None
            await asyncio.sleep(_PAUSE)


_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class _NoReplica(Exception):
    """Of a chunk none can be read now."""


class _Short(Exception):
    """A replica gave less than it should have."""


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins spans that touch; end -1 is the end of the file."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and (merged[-1][1] < 0 or start <= merged[-1][1]):
            last = merged[-1]
            merged[-1] = (last[0], -1 if -1 in (end, last[1]) else max(end, last[1]))
        else:
            merged.append((start, end))
    return merged
