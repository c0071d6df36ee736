"""The data plane of real bytes: user code in children, map outputs on disk, final output in the shared files.

Files on the disk, all of which go when the job is over, but for the logs:

- `JOB/map-00007.ATTEMPT`: a map output (and, with more behind the name, what it is made from);
- `JOB/reduce-00003.ATTEMPT.N`: the regions that an execution of a reduce task has pulled;
- `logs/JOB/map-00007.ATTEMPT`: what the user's code printed.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from protos import mapreduce_pb2 as pb
from services.child import ChildDied
from services.files.api import BeyondView, Range
from services.mapreduce import sizes
from services.mapreduce.commit import commit
from services.mapreduce.tasks.map import run_map
from services.mapreduce.tasks.order import Done, InputError, Order, Progress, UserError
from services.mapreduce.tasks.place import place_of
from services.mapreduce.tasks.reduce import run_reduce
from services.mapreduce.worker.children import Children
from services.mapreduce.worker.regions import CHUNK, Regions
from services.mapreduce.worker.shuffle import Peers, Shuffle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from services.child import Storage
    from services.files.api import FileSystem
    from services.host import Disk, Host
    from services.mapreduce.worker.plane import MapOutputs

LOGS = "logs"

OTHERS = ("chunks", "namespace")
"""Folders of a file service that shares the host (`services.files.beside`)."""

REPLICAS = "dsim.output.replicas"
"""Setting: how many copies of its output a job wants (5.3: two)."""

JOBS_LOGGED = 20
"""Logs of so many jobs that are over are kept."""

TAIL = 1 << 16
"""Bytes behind a split that its reader may need, to begin with."""

MOST_TAIL = 1 << 31

_PLACE_WITHIN = 30.0
"""Seconds for finding out where a record is on which the process died."""

_SHUFFLE_SHARE = 1 / 3
"""Of a reduce task's progress."""


class LocalData:
    """Implements `services.mapreduce.worker.plane.DataPlane`.

    Args:
        host: the worker's door.
        files: the shared file system.
        cost_per_byte: processor seconds that a simulated host charges for a byte mapped or reduced.
        tail_bytes: of a remote file system, read behind a split at first: its last record may end there.
    """

    def __init__(
        self, host: Host, files: FileSystem, *, cost_per_byte: float = 200e-9, tail_bytes: int = TAIL
    ) -> None:
        self.host = host
        self.files = files
        self.tail = tail_bytes
        self.regions = Regions(host.disk)
        self.peers = Peers(host)
        self.children = Children(host, cost_per_byte)
        self._over: dict[str, None] = {}  # jobs whose logs are kept
        self._warming: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Removes what an earlier life has left on the disk: its map outputs are being executed again."""
        for name in await self.host.disk.list():
            if name not in (LOGS, *OTHERS):
                await remove_all(self.host.disk, name)
        for job in await self.host.disk.list(LOGS):
            await self._keep_logs(job)
        self._warming = asyncio.create_task(self.children.warm_up(), name="warm up")

    def map(self, job: pb.Job, task: pb.Task) -> MapExecution:
        """Returns an execution of a map task."""
        return MapExecution(self, job, task)

    def reduce(self, job: pb.Job, task: pb.Task, lost: Callable[[pb.LostInput], None]) -> ReduceExecution:
        """Returns an execution of a reduce task."""
        return ReduceExecution(self, job, task, lost)

    def fetch(self, regions: pb.Regions) -> AsyncGenerator[pb.Bytes, None]:
        """Streams regions of map outputs on this host."""
        return self.regions.serve(regions)

    async def read_log(self, log: str) -> AsyncGenerator[pb.Bytes, None]:
        """Streams a task's log; nothing where there is none."""
        if not log.startswith(f"{LOGS}/") or ".." in log.split("/"):
            return
        try:
            file = await self.host.disk.open(log)
        except OSError:
            return
        try:
            offset = 0
            while data := await file.read(CHUNK, offset):
                offset += len(data)
                yield pb.Bytes(data=data)
        finally:
            await file.close()

    async def forget(self, job: str) -> None:
        """Removes a job's intermediate files."""
        self.regions.forget(job)
        self.children.forget(job)
        await remove_all(self.host.disk, job)
        await self._keep_logs(job)

    async def _keep_logs(self, job: str) -> None:
        self._over[job] = None
        if len(self._over) > JOBS_LOGGED:
            oldest = next(iter(self._over))
            del self._over[oldest]
            await remove_all(self.host.disk, f"{LOGS}/{oldest}")

    async def close(self) -> None:
        """Ends the children."""
        if self._warming is not None:
            self._warming.cancel()
        await self.children.close()


class TaskExecution(ABC):
    """What executions of both kinds have in common: they end as completion messages, whatever happens."""

    word = ""

    def __init__(self, plane: LocalData, job: pb.Job, task: pb.Task) -> None:
        self._plane = plane
        self._job = job
        self._task = task
        self._name = f"{self.word}-{task.number:05}.{task.attempt}"
        self._log = f"{LOGS}/{job.id}/{self._name}"
        self._told = Progress(0.0, "", {}, 0, 0)
        self._work: asyncio.Task[pb.Completion] | None = None
        self._killed = ""
        self._ordered: tuple[Order, Storage] | None = None  # what the child was last given

    async def run(self) -> pb.Completion:
        """Does the work; see `services.mapreduce.worker.plane.Execution.run`."""
        if self._killed:
            return pb.Completion(failure=pb.Completion.WORKER, error=self._killed)
        self._work = asyncio.create_task(self._classified())
        try:
            done = await self._work
        except asyncio.CancelledError:
            if not self._killed:  # it is this worker that ends
                self._work.cancel()
                raise
            done = pb.Completion(failure=pb.Completion.WORKER, error=self._killed)
        if done.failure != pb.Completion.NONE:
            await self._clean()
        done.log = self._log
        return done

    def kill(self, why: str) -> None:
        """Ends it."""
        self._killed = self._killed or why
        if self._work is not None:
            self._work.cancel()

    def report(self) -> pb.Report:
        """Returns how far it is."""
        told = self._told
        return pb.Report(
            progress=told.fraction,
            status=told.status,
            counters=pb.Counters(values=told.counters),
            input_bytes=told.input_bytes,
            output_bytes=told.output_bytes,
            log=self._log,
        )

    @abstractmethod
    async def _do(self) -> Done:
        """Does the work."""

    async def _classified(self) -> pb.Completion:
        failure, record = pb.Completion.USER_CODE, None
        try:
            return self._completion(await self._do())
        except UserError as exc:
            error = str(exc)
            if exc.number >= 0:
                record = self._record(exc.number, exc.what, exc.where)
        except ChildDied as exc:
            error = f"its process ended: {exc.how}"
            if exc.mark >= 0:
                where = await self._place_of(exc.mark)
                error = f"{error} (record {exc.mark}{': ' if where else ''}{where})"
                record = self._record(exc.mark, exc.how, where)
        except MemoryError:
            error = f"out of memory: the limit is {self._job.memory_bytes:,} bytes"
        except InputError as exc:
            failure, error = pb.Completion.INPUT, str(exc)
        except (OSError, EOFError) as exc:
            failure, error = pb.Completion.WORKER, f"{self._plane.host.name}: {exc}"
        except Exception as exc:  # what user code raised and nobody foresaw
            error = f"{type(exc).__name__}: {exc}"
        return pb.Completion(failure=failure, error=error, bad_record=record)

    def _record(self, number: int, error: str, where: str = "") -> pb.BadRecord:
        return pb.BadRecord(
            kind=self._task.kind, task=self._task.number, number=number, where=where, error=error
        )

    def _completion(self, done: Done) -> pb.Completion:
        return pb.Completion(
            counters=pb.Counters(values=done.counters),
            input_bytes=done.input_bytes,
            output_bytes=done.output_bytes,
            skipped=[self._record(skipped.number, "skipped", skipped.where) for skipped in done.skipped],
        )

    def _order(self, *, split: tuple[Range, ...] = (), segments: tuple[str, ...] = ()) -> Order:
        job, task = self._job, self._task
        return Order(
            job=job.id,
            code=(job.code.name, job.code.pickled),
            number=task.number,
            attempt=task.attempt,
            reduces=job.reduces,
            maps=task.maps,
            split=split,
            segments=segments,
            output=job.output,
            skip=tuple(task.skip),
            memory_bytes=job.memory_bytes,
            settings=dict(job.settings),
            log=self._log,
        )

    def _heard(self, told: Progress) -> None:
        if told.fraction >= self._told.fraction:  # begun again, for a longer view, it has died nowhere
            self._told = told

    async def _in_child(self, fn: Callable[..., Done], order: Order) -> Done:
        """Runs user code on a view of its input, a longer one when it reads beyond it."""
        tail = self._plane.tail
        while True:
            try:
                view = await self._plane.files.view(order.split, tail)
            except (FileNotFoundError, PermissionError, IsADirectoryError) as exc:
                raise InputError(str(exc)) from None
            self._ordered = (order, view)
            try:
                return await self._plane.children.run(self._job, fn, order, view, heard=self._heard)
            except BeyondView:
                if tail >= MOST_TAIL:
                    raise InputError(f"a record is longer than {MOST_TAIL:,} bytes") from None
                tail *= 16

    async def _place_of(self, number: int) -> str:
        """Returns where the record is on which the process died."""
        if self._ordered is None:
            return ""
        order, view = self._ordered
        try:
            async with asyncio.timeout(_PLACE_WITHIN):
                return await self._plane.children.run(
                    self._job, place_of, order, view, number, heard=lambda _: None
                )
        except Exception:  # reading died too, or takes too long: the number must do
            return ""

    async def _commit(self, done: Done) -> None:
        """Publishes the output files, and gives them their final names (3.3)."""
        files = self._plane.files
        if done.view is not None:
            await files.publish(done.view, int(self._job.settings.get(REPLICAS, 0)))
        await commit(files, self._job.output, done.outputs)

    async def _clean(self) -> None:
        """Removes what this execution has left on the disk, and below the output folder's `.temporary`."""
        kind, number, attempt = self.word, self._task.number, self._task.attempt
        with suppress(OSError):
            await self._plane.files.remove(f"{self._job.output}/.temporary/{kind}-{number:05}.{attempt}")
        disk, job = self._plane.host.disk, self._job.id
        with suppress(OSError):
            for name in await disk.list(job):
                if name == self._name or name.startswith(f"{self._name}."):
                    with suppress(OSError):
                        await disk.remove(f"{job}/{name}")


class MapExecution(TaskExecution):
    """An execution of a map task."""

    word = "map"

    async def _do(self) -> Done:
        split = tuple(Range(piece.path, piece.offset, piece.size) for piece in self._task.split)
        done = await self._in_child(run_map, self._order(split=split))
        if done.outputs:  # of a map-only job, or what the user's code has written beside (4.5)
            await self._commit(done)
        if self._job.reduces:
            self._plane.regions.add(
                self._job.id,
                self._task.number,
                self._task.attempt,
                done.path,
                done.offsets,
                done.checksums,
            )
        return done

    def _completion(self, done: Done) -> pb.Completion:
        completion = super()._completion(done)
        if self._job.reduces:
            ends = zip(done.offsets, done.offsets[1:], strict=False)
            completion.region_sizes = bytes([sizes.to_byte(end - begin) for begin, end in ends])
        return completion


class ReduceExecution(TaskExecution):
    """An execution of a reduce task."""

    word = "reduce"

    def __init__(
        self, plane: LocalData, job: pb.Job, task: pb.Task, lost: Callable[[pb.LostInput], None]
    ) -> None:
        super().__init__(plane, job, task)
        prefix = f"{job.id}/{self._name}"
        self._shuffle = Shuffle(plane.host, plane.peers, plane.regions, task, prefix, lost)

    def offer(self, outputs: MapOutputs) -> None:
        """These outputs are there to be pulled, or have moved."""
        self._shuffle.offer(outputs)

    def withdraw(self, maps: Sequence[int], attempts: Sequence[int]) -> None:
        """These executions' are gone."""
        self._shuffle.withdraw(maps, attempts)

    def report(self) -> pb.Report:
        """Returns how far it is: a third of the way when all regions have been pulled."""
        report = super().report()
        pulled = self._shuffle.read / self._shuffle.maps if self._shuffle.maps else 1.0
        report.progress = _SHUFFLE_SHARE * pulled + (1 - _SHUFFLE_SHARE) * report.progress
        report.input_bytes = self._shuffle.bytes
        return report

    async def _do(self) -> Done:
        segments = await self._shuffle.run()
        done = await self._in_child(run_reduce, self._order(segments=segments))
        await self._commit(done)
        for path in segments:
            with suppress(OSError):
                await self._plane.host.disk.remove(path)
        return done


async def remove_all(disk: Disk, path: str) -> None:
    """Removes a file, or the files of a folder; what cannot be removed stays."""
    names = []
    with suppress(OSError):
        names = await disk.list(path)
    for name in names:
        await remove_all(disk, f"{path}/{name}")
    if not names:
        with suppress(OSError):
            await disk.remove(path)
