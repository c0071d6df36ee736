"""A chunkserver: program `serve`. Keeps chunks, passes them down the pipeline, does what the master orders.

It may share a host with a worker (`beside.py`), which is what makes locality possible (3.4).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import zlib
from typing import TYPE_CHECKING

import grpc

from protos import files_pb2 as pb
from protos import files_pb2_grpc as rpc
from services.files.blocks import Blocks, Corrupt
from services.files.errors import error, status_of
from services.host import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from services.files.blocks import Draft
    from services.host import Context, Host

CHUNK_PORT = 50061
"""Where chunkservers serve, so that a host can have one beside something else on the default port."""

BEAT = 3.0
SCRUB = 3600.0

_TIMEOUT = 5.0  # seconds for a heartbeat
_COPIES = 2  # at once
_COPY_WITHIN = 50.0  # seconds for one
_LAST_HOP = 0.8  # of the time that is left is given to those further down the pipeline

log = logging.getLogger(__name__)


class News:
    """What the master has not heard yet. A chunk is new or gone, never both: the order could not be told."""

    def __init__(self) -> None:
        self.chunks: dict[int, None] = {}
        self.gone: dict[int, None] = {}
        self.corrupt: dict[int, None] = {}
        self.wake = asyncio.Event()

    def stored(self, chunk: int) -> None:
        """A chunk is here."""
        self.gone.pop(chunk, None)
        self.chunks[chunk] = None

    def removed(self, chunk: int) -> None:
        """A chunk is here no more."""
        self.chunks.pop(chunk, None)
        self.gone[chunk] = None


class Chunkserver(rpc.ChunksServicer):
    """The chunks of one host.

    Args:
        host: whose disk has them.
        address: by which others reach this.
    """

    def __init__(self, host: Host, address: str) -> None:
        self.blocks = Blocks(host.disk)
        self.address = address
        self.news = News()
        self._host = host
        self._peers: dict[str, rpc.ChunksAsyncStub] = {}
        self.corrupt: dict[int, None] = {}  # here, but damaged
        self._copying: dict[int, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(_COPIES)

    async def Write(self, request: AsyncIterator[pb.Piece], context: Context) -> pb.Stored:
        """Keeps a chunk, and passes it on as it comes."""
        pieces = aiter(request)
        first = await anext(pieces, None)
        if first is None or not first.chunk:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first piece must name the chunk")
        left = context.time_remaining()
        onward = _Onward(self, list(first.next), first.chunk, None if left is None else left * _LAST_HOP)
        keeping = _Keeping(self.blocks, first.chunk)
        try:
            piece: pb.Piece | None = first
            while piece is not None:
                if zlib.crc32(piece.data) != piece.crc32:
                    await context.abort(grpc.StatusCode.ABORTED, f"chunk {first.chunk:x}: damaged on the way")
                await onward.send(piece)
                await keeping.append(piece.data)
                piece = await anext(pieces, None)
            stored = await keeping.finish()
            if stored:
                self.news.stored(first.chunk)
            servers = await onward.finish()
        except BaseException:
            onward.cancel()
            await keeping.discard()
            raise
        if stored:
            servers.insert(0, self.address)
        if not servers:
            await context.abort(*status_of(keeping.failure or error(errno.EIO, f"chunk {first.chunk:x}")))
        return pb.Stored(servers=servers, size=keeping.size)

    async def Read(self, request: pb.Part, context: Context) -> AsyncIterator[pb.Piece]:
        """Streams a part of a chunk, checked."""
        try:
            if request.chunk in self.corrupt:
                raise Corrupt(f"chunk {request.chunk:x} is damaged")
            async for data in self.blocks.read(request.chunk, request.offset, request.size):
                yield pb.Piece(data=data, crc32=zlib.crc32(data))
        except Corrupt as exc:
            self.found_corrupt(request.chunk, str(exc))
            await context.abort(grpc.StatusCode.DATA_LOSS, str(exc))
        except OSError as exc:
            await context.abort(*status_of(exc))

    def found_corrupt(self, chunk: int, why: str) -> None:
        """Takes a replica out of service."""
        if chunk not in self.corrupt:
            log.warning("%s", why)
            self.corrupt[chunk] = self.news.corrupt[chunk] = None
            self.news.wake.set()

    async def scrub(self, round_s: float) -> None:
        """Reads every chunk once in a while, so that what rots is found while it has replicas that have not.

        Args:
            round_s: seconds in which each is read once.
        """
        while True:
            chunks = [chunk for chunk in self.blocks.chunks if chunk not in self.corrupt]
            for chunk in chunks:
                await asyncio.sleep(round_s / len(chunks))
                try:
                    await self.blocks.verify(chunk)
                except Corrupt as exc:
                    self.found_corrupt(chunk, str(exc))
                except OSError as exc:  # removed meanwhile; or the disk fails, which whoever reads will see
                    log.debug("%s", exc)
            if not chunks:
                await asyncio.sleep(round_s)

    def peer(self, address: str) -> rpc.ChunksAsyncStub:
        """Returns another chunkserver."""
        if address not in self._peers:
            self._peers[address] = rpc.ChunksStub(self._host.connect(address))
        return self._peers[address]

    # What the master orders

    async def obey(self, orders: pb.Orders, tasks: asyncio.TaskGroup) -> None:
        """Removes chunks, and begins to copy others."""
        for chunk in orders.remove:
            copying = self._copying.pop(chunk, None)
            if copying is not None:
                copying.cancel()
            with contextlib.suppress(OSError):  # a disk that fails keeps it; the master asks again
                await self.blocks.remove(chunk)
                self.corrupt.pop(chunk, None)
                self.news.removed(chunk)
        for copy in orders.copy:
            if copy.chunk in self.blocks.chunks and copy.chunk not in self.corrupt:
                self.news.stored(copy.chunk)
            elif copy.chunk not in self._copying:
                self._copying[copy.chunk] = tasks.create_task(self._copy(copy), name=f"copy {copy.chunk:x}")

    async def _copy(self, copy: pb.Copy) -> None:
        """Gets a chunk from one of its servers."""
        try:
            async with self._turn:
                for address in copy.servers:
                    if address != self.address and await self._copy_from(copy, address):
                        break
        finally:
            self._copying.pop(copy.chunk, None)

    async def _copy_from(self, copy: pb.Copy, address: str) -> bool:
        keeping = _Keeping(self.blocks, copy.chunk)
        try:
            part = pb.Part(chunk=copy.chunk, size=-1)
            async for piece in self.peer(address).Read(part, timeout=_COPY_WITHIN):
                await keeping.append(piece.data)
            if keeping.size != copy.size or not await keeping.finish():
                await keeping.discard()
                return False
        except grpc.aio.AioRpcError as exc:
            log.info("chunk %x from %s: %s", copy.chunk, address, exc.details())
            await keeping.discard()
            return False
        except BaseException:
            await keeping.discard()
            raise
        self.corrupt.pop(copy.chunk, None)
        self.news.stored(copy.chunk)
        self.news.wake.set()
        return True


class _Keeping:
    """A chunk on its way to this disk. When the disk fails, that is remembered, and the rest passes by."""

    def __init__(self, blocks: Blocks, chunk: int) -> None:
        self.size = 0
        self.failure: OSError | None = None
        self._blocks = blocks
        self._chunk = chunk
        self._draft: Draft | None = None

    async def append(self, data: bytes) -> None:
        """Takes bytes."""
        self.size += len(data)
        if self.failure is None:
            try:
                if self._draft is None:
                    self._draft = await self._blocks.draft(self._chunk)
                await self._draft.append(data)
            except OSError as exc:
                await self._fail(exc)

    async def finish(self) -> bool:
        """Says whether the chunk is durable."""
        if self._draft is None or self.failure is not None:
            return False
        try:
            await self._draft.finish()
        except OSError as exc:
            await self._fail(exc)
            return False
        self._draft = None
        return True

    async def discard(self) -> None:
        """Removes what there is of it."""
        draft, self._draft = self._draft, None
        if draft is not None:
            with contextlib.suppress(OSError):
                await draft.discard()

    async def _fail(self, failure: OSError) -> None:
        self.failure = failure
        log.warning("chunk %x: %s", self._chunk, failure)
        await self.discard()


class _Onward:
    """The rest of the pipeline. When it fails, those in it do not have the chunk, and that is all."""

    def __init__(self, server: Chunkserver, servers: list[str], chunk: int, timeout: float | None) -> None:
        self._chunk = chunk
        self._rest = servers[1:]
        self._call = server.peer(servers[0]).Write(timeout=timeout) if servers else None
        self._begun = False

    async def send(self, piece: pb.Piece) -> None:
        """Passes a piece on."""
        if self._call is None:
            return
        onward = pb.Piece(data=piece.data, crc32=piece.crc32)
        if not self._begun:
            self._begun = True
            onward.chunk = self._chunk
            onward.next.extend(self._rest)
        await self._try(self._call.write(onward))

    async def finish(self) -> list[str]:
        """Returns who has stored the chunk."""
        if self._call is not None:
            await self._try(self._call.done_writing())
        if self._call is None:
            return []
        try:
            return list((await self._call).servers)
        except grpc.aio.AioRpcError:
            return []

    def cancel(self) -> None:
        """Ends it."""
        if self._call is not None:
            self._call.cancel()

    async def _try(self, step: Awaitable[object]) -> None:
        try:
            await step
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            self._call = None


async def serve(
    host: Host,
    *,
    master: str = "files",
    rack: str = "",
    port: int = CHUNK_PORT,
    beat: float = BEAT,
    scrub: float = SCRUB,
) -> None:
    """Runs a chunkserver until cancelled.

    Args:
        host: where; its disk keeps the chunks.
        master: of the file service.
        rack: in which this host is; replicas are spread over racks.
        port: where it serves.
        beat: seconds between heartbeats.
        scrub: seconds in which it reads each chunk once, to find what has rotted.
    """
    address = host.name if port == DEFAULT_PORT else f"{host.name}:{port}"
    chunks = Chunkserver(host, address)
    await chunks.blocks.load()
    server = host.serve(port)
    rpc.add_ChunksServicer_to_server(chunks, server)
    await server.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_beat(host, chunks, master, rack, beat, tasks))
        tasks.create_task(chunks.scrub(scrub))


async def _beat(
    host: Host, chunks: Chunkserver, master: str, rack: str, beat: float, tasks: asyncio.TaskGroup
) -> None:
    """Tells the master what is new, and does what it says."""
    stub = rpc.FilesStub(host.connect(master))
    news, blocks = chunks.news, chunks.blocks
    whole = True
    number = 0
    while True:
        number += 1
        news.wake.clear()
        told, gone, corrupt = dict(news.chunks), dict(news.gone), dict(news.corrupt)
        request = pb.Beat(
            server=chunks.address,
            host=host.name,
            rack=rack,
            incarnation=host.incarnation,
            number=number,
            used_bytes=sum(size for size in blocks.chunks.values() if size > 0),
            whole=whole,
            chunks=[chunk for chunk in blocks.chunks if chunk not in chunks.corrupt] if whole else list(told),
            gone=list(gone),
            corrupt=list(chunks.corrupt if whole else corrupt),
        )
        try:
            orders = await stub.Heartbeat(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as exc:
            log.debug("the master does not answer: %s", exc.details())
            pause = min(beat, 1.0)
        else:
            for had, said in ((news.chunks, told), (news.gone, gone), (news.corrupt, corrupt)):
                for chunk in said:
                    had.pop(chunk, None)
            whole = orders.report
            await chunks.obey(orders, tasks)
            pause = 0.0 if whole else beat
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):  # not `wait_for`: in 3.11 that takes the loop a turn more
                await news.wake.wait()
