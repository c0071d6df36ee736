"""The data plane without data: `DataPlane` of `services/mapreduce/worker/plane.py`, charged to a `Cluster`.

Worker parameter `data="scenarios.papers.modelled:ModelledData"`. The job's settings say what it would do
with data:

- `intermediate`: bytes of map output for a byte of input;
- `output`: bytes of one copy of the output for a byte of input;
- `copies`: of the output.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from protos import mapreduce_pb2 as pb
from scenarios.papers.cluster import cluster_of
from scenarios.papers.hardware import PAPER, RECORD
from scenarios.papers.modelled_files import input_of
from services.mapreduce.sizes import to_byte

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from scenarios.papers.cluster import Cluster
    from services.files.api import FileSystem
    from services.host import Host
    from services.mapreduce.worker.plane import MapOutputs
    from sim.world.host import SimHost

NOT_OFFERED = -1


class ModelledData:
    """What one worker does with data that is only charged for.

    Args:
        host: the worker's door; a simulated one.
        files: unused: where splits lie is asked of the input.
    """

    def __init__(self, host: Host, files: FileSystem) -> None:
        simulated: SimHost = host  # type: ignore[assignment]
        self.host = host
        self.cluster = cluster_of(simulated.machine.simulation)
        self.machine = self.cluster.index[host.name]
        self.input = input_of(host)
        self.books = books_of(self.cluster)
        self.stored: dict[tuple[str, int], float] = {}  # bytes read by maps whose output lies here
        self.mapping: MapTask | None = None
        self.reducing: ReduceTask | None = None
        self.books.planes[self.machine] = self
        simulated.process.on_death(self._died)

    async def open(self) -> None:
        """Is there at once."""

    def map(self, job: pb.Job, task: pb.Task) -> MapTask:
        """Returns an execution of a map task."""
        return MapTask(self, job, task)

    def reduce(self, job: pb.Job, task: pb.Task, lost: Callable[[pb.LostInput], None]) -> ReduceTask:
        """Returns an execution of a reduce task. It reports no lost input, but waits for the master."""
        return ReduceTask(self, job, task)

    async def fetch(self, regions: pb.Regions) -> AsyncGenerator[pb.Bytes, None]:
        """Nobody asks: regions move in the cluster's shuffle."""
        for number in regions.maps:
            yield pb.Bytes(map=number, missing=True)

    async def read_log(self, log: str) -> AsyncGenerator[pb.Bytes, None]:
        """There are no logs."""
        yield pb.Bytes(missing=True)

    async def forget(self, job: str) -> None:
        """The job's intermediate data go."""
        self.stored = {key: size for key, size in self.stored.items() if key[0] != job}

    async def close(self) -> None:
        """Nothing is open."""

    def forgo(self, job: str, attempt: int) -> None:
        """The master ignores a map's completion, for another was first: it no longer counts."""
        self.cluster.take_back(read=self.stored.pop((job, attempt), 0.0))

    def _died(self) -> None:
        """The worker's process is dead: what it was doing, and what it had stored, is lost (3.3)."""
        for execution in (self.mapping, self.reducing):
            if execution is not None:
                execution.give_up()
        self.cluster.take_back(read=sum(self.stored.values()))
        self.stored.clear()
        for row in np.flatnonzero(self.cluster.shuffle.pending[:, self.machine]).tolist():
            reduce = self.books.reduces.get(row)
            if reduce is not None:
                reduce.source_died(self.machine)


class Books:
    """What all planes of a cluster know together.

    Attributes:
        reduces: those under way, by machine.
        planes: of the workers that are there, by machine.
        age: of each map's output: bytes that had gone through the page cache of its machine when it was
            written.
    """

    def __init__(self) -> None:
        self.reduces: dict[int, ReduceTask] = {}
        self.planes: dict[int, ModelledData] = {}
        self.age: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}


def books_of(cluster: Cluster) -> Books:
    """Returns a cluster's books."""
    books: Books = cluster.__dict__.setdefault("books", Books())
    return books


class ModelledTask(ABC):
    """What executions of both kinds have in common."""

    def __init__(self, plane: ModelledData, job: pb.Job, task: pb.Task) -> None:
        self.plane = plane
        self.cluster = plane.cluster
        self.job = job
        self.task = task
        self._over: asyncio.Future[pb.Completion] = asyncio.get_running_loop().create_future()

    def setting(self, name: str) -> float:
        """Returns one of the job's settings."""
        return float(self.job.settings[name])

    @abstractmethod
    def give_up(self) -> None:
        """What it has done no longer counts."""

    def kill(self, why: str) -> None:
        """Ends it: nobody wants it any more."""
        if not self._over.done():
            self.give_up()
            self._over.set_result(pb.Completion(failure=pb.Completion.WORKER, error=why))

    def finish(self, done: pb.Completion) -> None:
        """It is done."""
        if not self._over.done():
            self._over.set_result(done)


class MapTask(ModelledTask):
    """A map task: reads its split, writes R regions."""

    def __init__(self, plane: ModelledData, job: pb.Job, task: pb.Task) -> None:
        super().__init__(plane, job, task)
        self._size = float(sum(piece.size for piece in task.split))

    async def run(self) -> pb.Completion:
        """Reads and writes."""
        plane = self.plane
        if not self._over.done():
            piece = self.task.split[0]
            source = self._source_of(plane.input.holders(piece.path, piece.offset))
            plane.mapping = self
            ratio = self.setting("intermediate")
            self.cluster.begin_map(plane.machine, source, self._size, ratio, self._done)
        return await self._over

    def _source_of(self, holders: Sequence[str]) -> int:
        """Returns who reads the split: this machine, or the fastest that holds it: a slow one is left."""
        numbers = [self.cluster.index[name] for name in holders]
        if self.plane.machine in numbers:
            return self.plane.machine
        return max(numbers, key=lambda number: (self.cluster.read[number], -number))

    def _done(self) -> None:
        plane, reduces = self.plane, self.job.reduces
        plane.mapping = None
        written = self._size * self.setting("intermediate")
        plane.stored[self.job.id, self.task.attempt] = self._size
        ages = plane.books.age.get(self.job.id)
        if ages is None:
            maps = int(self.job.settings["maps"])
            ages = plane.books.age[self.job.id] = np.zeros(maps)
        ages[self.task.number] = self.cluster.used[plane.machine]
        self.finish(
            pb.Completion(
                region_sizes=bytes([to_byte(round(written / reduces))]) * reduces,
                input_bytes=round(self._size),
                output_bytes=round(written),
            )
        )

    def report(self) -> pb.Report:
        """Returns how far it is."""
        read = self._size - self.cluster.map_left(self.plane.machine) if self.plane.mapping is self else 0.0
        return pb.Report(progress=read / self._size, input_bytes=round(read))

    def give_up(self) -> None:
        """What it has read no longer counts."""
        if self.plane.mapping is self:
            self.plane.mapping = None
            self.cluster.take_back(read=self._size - self.cluster.map_left(self.plane.machine))
            self.cluster.end_map(self.plane.machine)

    def kill(self, why: str) -> None:
        """Ends it; completed in this instant, its output is thrown away."""
        size = self.plane.stored.pop((self.job.id, self.task.attempt), 0.0)
        if size:
            self.cluster.take_back(read=size)
        super().kill(why)


class ReduceTask(ModelledTask):
    """A reduce task: pulls a region of each map's output, sorts them, writes the output."""

    def __init__(self, plane: ModelledData, job: pb.Job, task: pb.Task) -> None:
        super().__init__(plane, job, task)
        self._sorting: asyncio.Task[None] | None = None
        self._turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._source = np.full(task.maps, NOT_OFFERED, np.int16)  # of each map's output, once it is offered
        self._missing = task.maps  # not offered yet, or lost before they were pulled
        split = plane.input.block
        self._region = split * self.setting("intermediate") / job.reduces
        self._output = split * task.maps * self.setting("output") / job.reduces
        self._phase = "pull"

    async def run(self) -> pb.Completion:
        """Pulls, sorts, writes."""
        plane, cluster = self.plane, self.cluster
        if not self._over.done():
            plane.reducing = plane.books.reduces[plane.machine] = self
            cluster.begin_reduce(plane.machine, self._region, int(self.setting("copies")), self._all_pulled)
            self._sorting = asyncio.create_task(self._sort())
        return await self._over

    def offer(self, outputs: MapOutputs) -> None:
        """Takes what is there to be pulled; what it has read already it does not read again."""
        if self.plane.reducing is not self:
            return
        maps = np.frombuffer(outputs.maps, np.uint32).astype(np.int64)
        machines = np.array([self.cluster.index[name] for name in outputs.names], np.int16)
        source = machines[np.frombuffer(outputs.workers, np.uint32)]
        fresh = self._source[maps] == NOT_OFFERED
        if not fresh.any():
            return
        if not fresh.all():
            maps, source = maps[fresh], source[fresh]
        self._source[maps] = source
        self._missing -= len(maps)
        cluster, ages = self.cluster, self.plane.books.age[self.job.id]
        cold = float(np.mean(cluster.used[source] - ages[maps] > PAPER.cache))
        cluster.offer(self.plane.machine, np.bincount(source, minlength=len(cluster.names)), cold)

    def withdraw(self, maps: Sequence[int], attempts: Sequence[int]) -> None:
        """These are gone, whichever execution's they are; those not yet pulled must be offered again."""
        if self._phase != "pull" or self.plane.reducing is not self:
            return
        gone = np.fromiter(maps, np.int64)
        sources = self._source[gone]
        for source in np.unique(sources[sources != NOT_OFFERED]).tolist():
            self._forsake(source, gone[sources == source])

    def source_died(self, source: int) -> None:
        """A machine's worker is dead: what has not been pulled from it must be offered again."""
        if self._phase == "pull":
            self._forsake(source, np.flatnonzero(self._source == source))

    def _forsake(self, source: int, gone: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Gives up outputs of a source that were not pulled: which these were the model leaves open."""
        shuffle, machine = self.cluster.shuffle, self.plane.machine
        unread = min(math.ceil(shuffle.pending[machine, source] - 1e-3), len(gone))
        if unread <= 0:
            return
        lost = gone[-unread:]
        shuffle.forsake(machine, source)
        self._source[lost] = NOT_OFFERED
        self._missing += len(lost)

    def _all_pulled(self) -> None:
        if not self._missing and self._phase == "pull":
            self._phase = "sort"
            self.cluster.sort(self.plane.machine, self._read_back)

    def _read_back(self) -> None:
        if not self._turn.done():
            self._turn.set_result(None)

    async def _sort(self) -> None:
        """The processor's part: n log n comparisons."""
        await self._turn
        records = self._output / RECORD
        seconds = records * math.log2(max(records, 2)) * PAPER.compare_s
        await self.plane.host.compute(_nothing, cost=seconds)
        if not self._over.done():
            self._phase = "write"
            self.cluster.write_output(self.plane.machine, self._output, self._done)

    def _done(self) -> None:
        pulled = self._pulled()
        self._leave()
        self.finish(pb.Completion(input_bytes=pulled, output_bytes=round(self._output)))

    def _pulled(self) -> int:
        """Returns how many bytes it has pulled: all executions of a task say the same in the end."""
        whole = self._region * self.task.maps
        return round(min(self.cluster.pulled(self.plane.machine), whole) if self._phase == "pull" else whole)

    def _leave(self) -> None:
        self.cluster.end_reduce(self.plane.machine)
        self.plane.reducing = None
        self.plane.books.reduces.pop(self.plane.machine, None)
        if self._sorting is not None:  # a simulation collects cycles rarely, and this one would hold much
            self._sorting.cancel()
            self._sorting = None
        self._source = np.empty(0, np.int16)

    def report(self) -> pb.Report:
        """Returns how far it is: a third each for pulling, sorting and writing, as Hadoop has it."""
        if self.plane.reducing is not self:
            return pb.Report()
        pulled = self._pulled()
        left = self.cluster.output_left(self.plane.machine)
        progress = pulled / (self._region * self.task.maps) / 3
        written = 0.0
        if self._phase == "write":
            written = self._output - left
            progress = 2 / 3 + written / self._output / 3
        return pb.Report(progress=min(progress, 1.0), input_bytes=pulled, output_bytes=round(written))

    def give_up(self) -> None:
        """What it has pulled and written no longer counts."""
        if self.plane.reducing is self:
            left = self.cluster.output_left(self.plane.machine)
            written = self._output - left if self._phase == "write" else 0.0
            self.cluster.take_back(shuffled=self.cluster.pulled(self.plane.machine), written=written)
            self._leave()


def _nothing() -> None:
    """What is computed takes time, and nothing else."""
