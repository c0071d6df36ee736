"""A worker (MapReduce 3.1): program `serve(host, master, files)`.

A worker reads its split from the file system, runs Map over it, keeps the R regions on its local
disk and tells the master their sizes; or it pulls its region from every map worker's disk, sorts,
runs Reduce, and renames its temporary output file to the final name, atomically (3.3).

User code runs through `Host.compute`, so that pings are answered while it runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.files.client import FileSystem
from services.mapreduce.records import map_split, reduce_partition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Context, Host

CHUNK = 64 * 1024  # bytes a message of a Fetch
MAX_LINE = 64 * 1024 * 1024  # bytes

_LOOKAHEAD = 64 * 1024  # bytes read past a cut to find the end of the record that crosses it
_FETCH_TIMEOUT = 3.0  # seconds without a region before it is reported as lost
_RETRY = 0.3  # seconds


class Worker(rpc.WorkerServicer):
    """One worker.

    Args:
        host: its door.
        master: the master's host.
        files: the host that serves the file system.
        slots: tasks of each kind at a time.
        ping_timeout_s: silence of the master after which the worker registers again.
        cost_per_byte: processor seconds that a simulated host charges for a byte mapped or reduced.
    """

    def __init__(
        self, host: Host, master: str, files: str, *, slots: int, ping_timeout_s: float, cost_per_byte: float
    ) -> None:
        self._host = host
        self._master = rpc.MasterStub(host.connect(master))
        self._files = FileSystem(host, files)
        self._slots = slots
        self._timeout = ping_timeout_s
        self._cost = cost_per_byte
        self._peers: dict[str, rpc.WorkerAsyncStub] = {}
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}  # by job and attempt
        self._regions: dict[tuple[str, int, int], list[int]] = {}  # by job, map and attempt: R + 1 offsets
        self._pinged = asyncio.Event()

    async def keep_registered(self) -> None:
        """Registers, and registers again whenever the master has been silent."""
        registration = pb.Registration(
            worker=self._host.name,
            incarnation=self._host.incarnation,
            map_slots=self._slots,
            reduce_slots=self._slots,
        )
        while True:
            try:
                await self._master.Register(registration, timeout=self._timeout)
                while True:
                    self._pinged.clear()
                    await asyncio.wait_for(self._pinged.wait(), self._timeout)
            except (grpc.aio.AioRpcError, TimeoutError):
                await asyncio.sleep(_RETRY)

    # What the master and other workers ask

    async def Ping(self, request: pb.Ack, context: Context) -> pb.Pong:
        """Answers the master's ping (3.3)."""
        self._pinged.set()
        return pb.Pong(worker=self._host.name, incarnation=self._host.incarnation)

    async def Assign(self, request: pb.Task, context: Context) -> pb.Ack:
        """Takes a task and begins to execute it; asked twice, it executes once."""
        key = (request.job, request.attempt)
        if key not in self._running:
            name = f"{'map' if request.kind == pb.Task.MAP else 'reduce'} {request.number}"
            self._running[key] = asyncio.create_task(self._execute(request), name=name)
        return pb.Ack()

    async def Fetch(self, request: pb.Region, context: Context) -> AsyncIterator[pb.Bytes]:
        """Streams one region of a map output from the local disk (3.1 step 5)."""
        offsets = self._regions.get((request.job, request.map, request.attempt))
        if offsets is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"{self._host.name} has no output of map {request.map}"
            )
        file = await self._host.disk.open(_map_output(request.job, request.map, request.attempt))
        try:
            offset, end = offsets[request.region], offsets[request.region + 1]
            while offset < end:
                data = await file.read(min(CHUNK, end - offset), offset)
                offset += len(data)
                yield pb.Bytes(data=data)
        finally:
            await file.close()

    # Executing

    async def _execute(self, task: pb.Task) -> None:
        done = pb.Completion(
            job=task.job,
            kind=task.kind,
            number=task.number,
            attempt=task.attempt,
            worker=self._host.name,
            incarnation=self._host.incarnation,
        )
        kind = "map" if task.kind == pb.Task.MAP else "reduce"
        with self._host.span(kind, number=task.number, attempt=task.attempt):
            try:
                if task.kind == pb.Task.MAP:
                    done.region_bytes.extend(await self._map(task))
                else:
                    await self._reduce(task)
            except Exception as exc:  # the user's code may raise anything: the master decides what follows
                done.error = f"{type(exc).__name__}: {exc}"
        await self._report(done)

    async def _report(self, done: pb.Completion) -> None:
        """Sends the completion message until the master has it; twice is as good as once (3.3)."""
        while True:
            try:
                await self._master.Complete(done, timeout=self._timeout)
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_RETRY)

    async def _map(self, task: pb.Task) -> list[int]:
        texts = [await self._lines(piece) for piece in task.split]
        read = sum(len(text) for _, _, text in texts)
        regions, records = await self._host.compute(
            map_split,
            task.spec.mapper,
            task.spec.combiner,
            task.spec.reduces,
            texts,
            cost=read * self._cost,
        )
        # 3.1 step 4. No sync: were it lost in a crash, the master would have the task executed again.
        path = _map_output(task.job, task.number, task.attempt)
        file = await self._host.disk.open(f"{path}.temporary", "w")
        try:
            await file.append(b"".join(regions))
        finally:
            await file.close()
        await self._host.disk.rename(f"{path}.temporary", path)
        offsets = [0]
        for region in regions:
            offsets.append(offsets[-1] + len(region))
        self._regions[task.job, task.number, task.attempt] = offsets
        self._host.trace("mapped", number=task.number, bytes=read, records=records)
        return [len(region) for region in regions]

    async def _lines(self, piece: pb.Piece) -> tuple[str, int, bytes]:
        """Reads the records that begin in a piece: whole lines, though the cut may be anywhere."""
        begin, end = piece.offset, piece.offset + piece.size
        # One byte before the piece tells whether its first byte begins a line.
        data = await self._files.read(piece.path, max(begin - 1, 0), end - max(begin - 1, 0))
        if begin:
            newline = data.find(b"\n")
            if newline < 0:
                return piece.path, end, b""  # the middle of a line that began before
            begin, data = begin + newline, data[newline + 1 :]
        while data and not data.endswith(b"\n"):
            more = await self._files.read(piece.path, end, _LOOKAHEAD)
            newline = more.find(b"\n")
            data += more[: newline + 1] if newline >= 0 else more
            end += len(more)
            if len(more) < _LOOKAHEAD:
                break
            if len(data) > MAX_LINE:
                raise ValueError(f"a line of {piece.path} is longer than {MAX_LINE} bytes")
        return piece.path, begin, data

    async def _reduce(self, task: pb.Task) -> None:
        regions = await self._shuffle(task)
        output = await self._host.compute(
            reduce_partition, task.spec.reducer, regions, cost=sum(map(len, regions)) * self._cost
        )
        # 3.3: one temporary file, renamed atomically; two executions leave the bytes of one.
        name = f"part-{task.number:05}"
        temporary = f"temporary/{task.job}/{name}.{task.attempt}"
        await self._files.write(temporary, output)
        await self._files.rename(temporary, f"{task.spec.output}/{name}")

    async def _shuffle(self, task: pb.Task) -> list[bytes]:
        """Pulls this reduce task's region of every map task, from wherever it is now."""
        regions: dict[int, bytes] = {}
        while len(regions) < task.maps:
            try:
                locations = self._master.Locations(pb.JobId(job=task.job))
                async for location in locations:
                    if location.map not in regions:
                        data = await self._fetch(task, location)
                        if data is not None:
                            regions[location.map] = data
                    if len(regions) == task.maps:
                        locations.cancel()
                        break
                else:
                    raise RuntimeError("the job is over")
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    raise RuntimeError(f"the master does not know {task.job}") from None
                await asyncio.sleep(_RETRY)
        return [regions[number] for number in range(task.maps)]

    async def _fetch(self, task: pb.Task, location: pb.Location) -> bytes | None:
        """Pulls one region; reports it as lost, and returns None, when that fails."""
        stub = self._peers.get(location.worker)
        if stub is None:
            stub = self._peers[location.worker] = rpc.WorkerStub(self._host.connect(location.worker))
        region = pb.Region(job=task.job, map=location.map, attempt=location.attempt, region=task.number)
        try:
            return b"".join([chunk.data async for chunk in stub.Fetch(region, timeout=_FETCH_TIMEOUT)])
        except grpc.aio.AioRpcError:
            lost = pb.LostInput(
                job=task.job, map=location.map, worker=location.worker, attempt=location.attempt
            )
            await self._master.ReportLostInput(lost, timeout=self._timeout)
            return None


def _map_output(job: str, number: int, attempt: int) -> str:
    return f"{job}/map-{number:05}.{attempt}"


async def serve(
    host: Host,
    master: str = "master",
    files: str = "files",
    slots: int = 1,
    ping_timeout_s: float = 2.0,
    cost_per_byte: float = 200e-9,
) -> None:
    """Serves as a worker of `master` until cancelled."""
    server = host.serve()
    worker = Worker(
        host, master, files, slots=slots, ping_timeout_s=ping_timeout_s, cost_per_byte=cost_per_byte
    )
    rpc.add_WorkerServicer_to_server(worker, server)
    await server.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.keep_registered())
        await server.wait_for_termination()
