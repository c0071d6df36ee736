"""The master of the file service: program `serve`.

It knows which files there are and of which chunks they consist (durable, `journal.py`), and where chunks lie
(told by chunkservers, `replicas.py`). No byte of a file passes through it.

What holds, whatever crashes, is cut off, or tears, as long as one replica of each chunk and the master's disk
survive:

1. A change (put, create, commit, remove) that was acknowledged is durable; one that was not has happened
   entirely or not at all. Nobody sees a change that a crash could still take back.
2. Whoever finds a file finds all its bytes: it gets its name only when all its chunks are durable on the
   chunkservers that are written down for it.
3. A file never changes: a reader gets the bytes of one write, never a mixture, also while the name is given
   anew.
4. Of several commits to one name exactly one moves its file; it hears so however often it asks.
5. A change that was sent several times has its effect once.
6. A chunk of a file is never removed but for corruption, or for being one replica too many while enough
   others are known; a chunk of no file does not stay forever.
7. Bytes that rotted on a disk are never handed out.

A chunk belongs to nobody between its allocation and the put of its file. It is then in `pending`, in memory
only: when it has been there too long, or the master restarts, a put that names it is refused, and the client
writes the file again. So the master can tell for certain which chunks are garbage, without a lease.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, NoReturn

import grpc

from protos import files_pb2 as pb
from protos import files_pb2_grpc as rpc
from services.files.errors import status_of
from services.files.journal import Journal
from services.files.namespace import Change, ChunkEntry, Commit, Create, FileEntry, Namespace, Put, Remove
from services.files.paths import clean
from services.files.replicas import Replicas, Server
from services.host import DEFAULT_PORT

if TYPE_CHECKING:
    from services.host import Context, Host

CHUNK_BYTES = 64 << 20  # GFS
REPLICAS = 3

_FOLDER = "namespace"
_TICK = 1.0  # seconds between looks at what needs care
_COPIES = 16  # re-replications under way at once
_COPY_WITHIN = 60.0  # seconds after which one is given up

log = logging.getLogger(__name__)


class Master(rpc.FilesServicer):
    """The namespace, and the care for replicas.

    Args:
        host: where it runs.
        namespace: as recovered.
        journal: where changes go.
        chunk_bytes, replicas: of new files that do not say.
        silence: seconds without a heartbeat after which a chunkserver is given up.
        write_within: seconds that a client may take from allocating a file's first chunk to its put.
    """

    def __init__(
        self,
        host: Host,
        namespace: Namespace,
        journal: Journal,
        *,
        chunk_bytes: int,
        replicas: int,
        silence: float,
        write_within: float,
    ) -> None:
        self._host = host
        self._names = namespace
        self._journal = journal
        self._chunk_bytes = chunk_bytes
        self._replicas = replicas
        self._silence = silence
        self._write_within = write_within
        self._known = Replicas(host.rng)
        self._pending: dict[int, float] = {}  # chunk -> loop time of its end, in this order
        self._ids = (host.incarnation << 40 | n for n in itertools.count(1))
        self._wanting: dict[int, None] = {}  # chunks with fewer replicas than they should have
        self._copying: dict[int, tuple[str, float]] = {}  # chunk -> target, loop time of giving up

    # Questions

    async def List(self, request: pb.Path, context: Context) -> pb.Listing:
        """All files below a folder."""
        try:
            found = self._names.list(request.path)
        except OSError as exc:
            await self._refuse(context, exc)
        answer = pb.Listing(files=[pb.FileStat(path=info.path, size=info.size) for info in found])
        await self._journal.durable()
        return answer

    async def Exists(self, request: pb.Path, context: Context) -> pb.Existence:
        """Says whether there is such a file or folder."""
        answer = pb.Existence(exists=self._names.find(request.path) is not None)
        await self._journal.durable()
        return answer

    async def Lookup(self, request: pb.LookupRequest, context: Context) -> pb.Layout:
        """A file's chunks, and where they are."""
        try:
            file = self._names.file(request.path)
        except OSError as exc:
            await self._refuse(context, exc)
        nearest = self._known.nearest
        answer = pb.Layout(
            chunks=[
                pb.Chunk(id=chunk.id, size=chunk.size, servers=nearest(chunk.id, request.host))
                for chunk in file.chunks
            ]
        )
        await self._journal.durable()
        return answer

    async def Locate(self, request: pb.Ranges, context: Context) -> pb.Positions:
        """Which hosts hold how much of each range (MapReduce 3.4)."""
        names: dict[str, int] = {}
        answer = pb.Positions()
        try:
            for part in request.ranges:
                held: dict[str, int] = {}
                for host, size in self._held(self._names.file(part.path), part.offset, part.size):
                    held[host] = held.get(host, 0) + size
                answer.ranges.add(
                    hosts=[names.setdefault(host, len(names)) for host in held], bytes=held.values()
                )
        except OSError as exc:
            await self._refuse(context, exc)
        answer.hosts.extend(names)
        await self._journal.durable()
        return answer

    def _held(self, file: FileEntry, offset: int, size: int) -> list[tuple[str, int]]:
        end = file.size if size < 0 else offset + size
        servers, where = self._known.servers, self._known.where
        start = 0
        held: list[tuple[str, int]] = []
        for chunk in file.chunks:
            inside = min(end, start + chunk.size) - max(offset, start)
            start += chunk.size
            if inside > 0:
                held += [(servers[address].host, inside) for address in where.get(chunk.id, ())]
        return held

    # Changes

    async def Allocate(self, request: pb.AllocateRequest, context: Context) -> pb.Allocation:
        """A new chunk, and where to write it."""
        servers = self._known.place(request.replicas or self._replicas, request.host, request.avoid)
        if not servers:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no chunkserver that could take a chunk")
        number = next(self._ids)
        self._pending[number] = asyncio.get_running_loop().time() + self._write_within
        return pb.Allocation(chunk=pb.Chunk(id=number, servers=servers), chunk_bytes=self._chunk_bytes)

    async def Put(self, request: pb.NewFile, context: Context) -> pb.Done:
        """A file whose chunks are written gets its name."""
        if self._names.done(request.token) is None:
            lost = [chunk.id for chunk in request.chunks if chunk.id not in self._pending]
            if lost:
                await context.abort(
                    grpc.StatusCode.ABORTED, f"{request.path}: chunk {lost[0]:x} is not kept for it any more"
                )
            wanted = request.replicas or self._replicas
            chunks = tuple(ChunkEntry(chunk.id, chunk.size, wanted) for chunk in request.chunks)
            await self._change(Put(request.token, clean(request.path), chunks), context)
            for chunk in request.chunks:
                del self._pending[chunk.id]
                for address in chunk.servers:
                    self._known.add(chunk.id, address)
                self._judge(chunk.id)
        await self._journal.durable()
        return pb.Done()

    async def Create(self, request: pb.NewFolder, context: Context) -> pb.Done:
        """A new folder."""
        await self._change(Create(request.token, request.path, request.exclusive), context)
        await self._journal.durable()
        return pb.Done()

    async def Commit(self, request: pb.Move, context: Context) -> pb.Moved:
        """A file gets its final name, unless that is taken."""
        moved = await self._change(Commit(request.token, request.source, request.target), context)
        await self._journal.durable()
        return pb.Moved(moved=moved)

    async def Remove(self, request: pb.Removal, context: Context) -> pb.Done:
        """A file, or a folder with all in it, goes."""
        await self._change(Remove(request.token, request.path), context)
        await self._journal.durable()
        return pb.Done()

    async def _change(self, change: Change, context: Context) -> bool:
        """Carries out a change that has not been done yet, and has it written down, without waiting."""
        known = self._names.done(change.token)
        if known is not None:
            return known
        try:
            answer = self._names.apply(change)
        except OSError as exc:
            await self._refuse(context, exc)
        self._journal.append(Namespace.encode(change))
        freed, self._names.freed = self._names.freed, []
        for chunk in freed:
            self._wanting.pop(chunk, None)
            self._known.orphan(chunk)
        return answer

    async def _refuse(self, context: Context, error: OSError) -> NoReturn:
        await self._journal.durable()  # what it is refused for must not be taken back
        await context.abort(*status_of(error))
        raise AssertionError("abort returned")

    # Chunkservers

    async def Heartbeat(self, request: pb.Beat, context: Context) -> pb.Orders:
        """A chunkserver lives, says what is new, and hears what to do."""
        await self._journal.durable()  # no order may rest on a change that a crash could take back
        server = self._known.heard(request, asyncio.get_running_loop().time())
        if server is None:
            return pb.Orders()
        if request.whole:
            server.reported = True
            reported = dict.fromkeys(request.chunks)
            for chunk in [chunk for chunk in server.chunks if chunk not in reported]:
                self._known.drop(chunk, server)
                self._judge(chunk)
            for chunk in [chunk for chunk in server.remove if chunk not in reported]:
                del server.remove[chunk]
        for chunk in request.chunks:
            self._reported(chunk, server)
        for chunk in request.gone:
            server.remove.pop(chunk, None)
            server.corrupt.pop(chunk, None)
            self._known.drop(chunk, server)
            self._judge(chunk)
        for chunk in request.corrupt:
            self._corrupt(chunk, server)
        return self._orders(server)

    def _orders(self, server: Server) -> pb.Orders:
        for (
            chunk
        ) in server.corrupt:  # as long as it is the last one it stays, for whoever wants to look at it
            if chunk not in self._names.chunks or self._known.where.get(chunk):
                server.remove[chunk] = None
        for chunk in [
            chunk for chunk in server.remove if self._needed(chunk) and chunk not in server.corrupt
        ]:
            del server.remove[chunk]  # it was one too many, and is not any more
            self._known.add(chunk, server.address)
        orders = pb.Orders(report=not server.reported, remove=server.remove)
        for chunk in server.copy:
            if chunk in self._names.chunks:
                size = self._names.chunks[chunk].size
                orders.copy.add(chunk=chunk, size=size, servers=self._known.nearest(chunk, server.host))
        return orders

    def _needed(self, chunk: int) -> bool:
        entry = self._names.chunks.get(chunk)
        return entry is not None and len(self._known.where.get(chunk, ())) < entry.replicas

    def _reported(self, chunk: int, server: Server) -> None:
        if chunk in self._names.chunks or chunk in self._pending:
            self._known.add(chunk, server.address)
            if chunk in server.copy:
                self._end_copy(chunk)
            self._judge(chunk)
        else:
            server.remove[chunk] = None

    def _corrupt(self, chunk: int, server: Server) -> None:
        self._host.trace("replica corrupt", chunk=f"{chunk:x}", server=server.address)
        self._known.drop(chunk, server)
        self._judge(chunk)
        server.corrupt[chunk] = None

    def _judge(self, chunk: int) -> None:
        """Sees whether a chunk has as many replicas as it should."""
        entry = self._names.chunks.get(chunk)
        if entry is None:
            self._wanting.pop(chunk, None)
            return
        have = len(self._known.where.get(chunk, ()))
        if have < entry.replicas:
            self._wanting[chunk] = None
            return
        self._wanting.pop(chunk, None)
        for server in self._known.surplus(chunk, entry.replicas):
            self._known.drop(chunk, server)
            server.remove[chunk] = None

    # Care

    async def care(self) -> None:
        """Notices dead chunkservers and abandoned chunks, and has replicas made, until cancelled."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._silence)  # until then chunkservers may not have found their master
        for chunk in self._names.chunks:
            self._judge(chunk)
        while True:
            now = loop.time()
            for server in [s for s in self._known.servers.values() if now - s.heard > self._silence]:
                log.warning("chunkserver %s is silent: given up", server.address)
                self._host.trace("chunkserver lost", server=server.address, chunks=len(server.chunks))
                for chunk in self._known.lose(server):
                    self._judge(chunk)
            for chunk in [chunk for chunk, end in self._pending.items() if end < now]:
                del self._pending[chunk]
                self._known.orphan(chunk)
            for chunk, (target, end) in list(self._copying.items()):
                if now > end or target not in self._known.servers or chunk not in self._wanting:
                    self._end_copy(chunk)
            self._replicate(now)
            await asyncio.sleep(_TICK)

    def _end_copy(self, chunk: int) -> None:
        target, _ = self._copying.pop(chunk)
        if target in self._known.servers:
            self._known.servers[target].copy.pop(chunk, None)

    def _replicate(self, now: float) -> None:
        for chunk in self._wanting:
            if len(self._copying) >= _COPIES:
                break
            held = list(self._known.where.get(chunk, ()))
            if not held or chunk in self._copying:
                continue
            for target in self._known.place(1, beside=held):
                self._copying[chunk] = (target, now + _COPY_WITHIN)
                self._known.servers[target].copy[chunk] = None
                self._host.trace("replica wanted", chunk=f"{chunk:x}", server=target)


async def serve(
    host: Host,
    *,
    port: int = DEFAULT_PORT,
    chunk_bytes: int = CHUNK_BYTES,
    replicas: int = REPLICAS,
    silence: float = 10.0,
    write_within: float = 600.0,
) -> None:
    """Runs the master until cancelled.

    Args:
        host: where; its disk keeps the namespace.
        port: where it serves.
        chunk_bytes, replicas: of files; a writer may ask for another number of replicas.
        silence: seconds without a heartbeat after which a chunkserver is given up.
        write_within: seconds that the writing of one file may take.

    Raises:
        JournalDamaged: the disk has lost what was durable.
    """
    journal = Journal(host.disk, _FOLDER)
    checkpoint, records = await journal.load()
    namespace = Namespace(checkpoint)
    for record in records:
        namespace.apply(Namespace.decode(record))
    namespace.freed = []
    master = Master(
        host,
        namespace,
        journal,
        chunk_bytes=chunk_bytes,
        replicas=replicas,
        silence=silence,
        write_within=write_within,
    )
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.run(namespace.snapshot, ready))
        await ready.wait()
        server = host.serve(port)
        rpc.add_FilesServicer_to_server(master, server)
        await server.start()
        tasks.create_task(master.care())
        await server.wait_for_termination()
