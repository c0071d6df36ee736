"""How much a MapReduce master can carry (the issue's table; 3.5).

- tiny tasks: a real master and two real workers whose maps do nothing, over real gRPC: tasks a second from
  the submission to the end. Target: 1,000.
- the paper's "often": M = 200,000 map tasks, R = 5,000 reduce tasks on 2,000 workers, simulated, with workers
  that do nothing but take their time. It completes; printed are the master's bytes for a pair of map and
  reduce ("approximately one byte"): all objects of the job, when all maps are completed.

The latter takes very long, so it is measured when asked for with `--full`; else a tenth of M, a fifth of R
and a quarter of the workers.

Run as `python -m tests.bench.mapreduce_master [--quick | --full]`.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.cluster import Cluster
from services.files.api import FileInfo
from services.mapreduce import client, sizes
from services.mapreduce.master.service import Master
from sim.world.network import lan
from sim.world.simulation import Simulation
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.mapreduce.master.job import RunningJob


ME = "tests.bench.mapreduce_master"


class Nothing:
    """A file system with one file, of as many bytes as there are to be maps."""

    def __init__(self, maps: int) -> None:
        self.maps = maps

    async def list(self, path: str) -> list[FileInfo]:
        return [FileInfo("in", self.maps)]

    async def locate(self, ranges: Any) -> list[dict[str, int]]:
        return [{f"w{(r.offset * k) % 2000}": 1 for k in (1, 7, 13)} for r in ranges]

    async def exists(self, path: str) -> bool:
        return False

    async def write(self, path: str, data: bytes) -> None: ...
    async def create(self, path: str, exclusive: bool = False) -> None: ...
    async def remove(self, path: str) -> None: ...


class Idle(rpc.WorkerServicer):
    """A worker whose tasks do nothing, for `seconds`."""

    def __init__(self, host: Any, *, reduces: int, seconds: float) -> None:
        self.host, self.seconds = host, seconds
        self.master = rpc.MasterStub(host.connect("master"))
        self.regions = bytes([sizes.to_byte(1000)]) * reduces
        self.waiting: tuple[list[pb.Task], list[pb.Task]] = ([], [])
        self.busy = [False, False]
        self.done: list[pb.Completion] = []
        self.sender: asyncio.Task[None] | None = None
        self.tasks: dict[asyncio.Task[None], None] = {}

    async def Ping(self, request: Any, context: Any) -> Any:
        return pb.Pong(worker=self.host.name, incarnation=self.host.incarnation)

    async def Assign(self, request: Any, context: Any) -> Any:
        for task in request.tasks:
            self.waiting[task.kind].append(task)
        for kind in (pb.MAP, pb.REDUCE):
            if self.waiting[kind] and not self.busy[kind]:
                self.busy[kind] = True
                task = asyncio.create_task(self.work(kind))
                self.tasks[task] = None
                task.add_done_callback(self.tasks.pop)
        return pb.Ack()

    async def Forget(self, request: Any, context: Any) -> Any:
        return pb.Ack()

    async def Withdraw(self, request: Any, context: Any) -> Any:
        return pb.Ack()

    async def work(self, kind: int) -> None:
        while self.waiting[kind]:
            task = self.waiting[kind].pop(0)
            if kind == pb.REDUCE:
                await self.shuffle(task)
            await asyncio.sleep(self.seconds)
            self.done.append(
                pb.Completion(
                    job=task.job,
                    kind=task.kind,
                    number=task.number,
                    attempt=task.attempt,
                    worker=self.host.name,
                    incarnation=self.host.incarnation,
                    region_sizes=self.regions if kind == pb.MAP else b"",
                    counters=pb.Counters(values={"map input records": 1000, "map output records": 1000}),
                    input_bytes=64 << 20,
                    output_bytes=64 << 20,
                    log=f"{task.job}/logs/map-{task.number:05}.{task.attempt}",
                )
            )
            if self.sender is None or self.sender.done():
                self.sender = asyncio.create_task(self.send())
        self.busy[kind] = False

    async def shuffle(self, task: pb.Task) -> None:
        known = 0
        stream = self.master.Locate(pb.LocationsRequest(job=task.job, reduce=task.number))
        async for message in stream:
            known += len(message.sizes)
            if known == task.maps:
                stream.cancel()
                return

    async def send(self) -> None:
        while self.done:
            batch = pb.Completions(completions=self.done[:100])
            await self.master.Complete(batch)
            del self.done[: len(batch.completions)]


async def idle_worker(host: Any, reduces: int, seconds: float) -> None:
    """The worker's program."""
    worker = Idle(host, reduces=reduces, seconds=seconds)
    server = host.serve()
    rpc.add_WorkerServicer_to_server(worker, server)
    await server.start()
    await worker.master.Register(
        pb.Registration(worker=host.name, incarnation=host.incarnation, map_slots=1, reduce_slots=1),
        wait_for_ready=True,
    )
    await server.wait_for_termination()


async def bare_master(host: Any, maps: int) -> None:
    """The master's program, on a file system without files."""
    await Master(host, Nothing(maps)).run(host.serve())


def tiny(tasks: int) -> float:
    """Returns the seconds of a job of so many tasks that do nothing, on real processes."""

    async def main() -> float:
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster.create(Path(folder) / "cluster", "127.0.0.1")
            try:
                await cluster.start("master", f"{ME}:bare_master", {"maps": tasks})
                for n in (1, 2):
                    await cluster.start(f"w{n}", f"{ME}:idle_worker", {"reduces": 1, "seconds": 0.0})
                await cluster.serving(["master", "w1", "w2"], 30.0)
                user = cluster.client("user")
                start = time.perf_counter()
                job = pb.Job(inputs=["in"], output="out", reduces=1, split_bytes=1)
                report = await client.run(user, "master", job)
                assert report.maps_completed == tasks
                return time.perf_counter() - start
            finally:
                await cluster.down()

    return asyncio.run(main())


OTHERS = (type, ModuleType, FunctionType, asyncio.Event)
"""What leads out of a job's own state: to code, and to whoever waits for it."""


def size_of(job: RunningJob) -> int:
    """Returns the bytes of all objects that a job of the master holds."""
    total = 0
    seen: set[int] = set()
    ahead: list[Any] = [job.splits, job.near, job.state, job.locations, job.tally, job.backups, job.records]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen or isinstance(thing, OTHERS):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        ahead += gc.get_referents(thing)
    return total


def often(maps: int, reduces: int, workers: int) -> tuple[float, float]:
    """Returns the seconds of a simulated job, and the master's bytes a pair when all maps are completed."""
    # Cables without a limit: with one, most of the time would go to how 2,000 transfers share the master's.
    simulation = Simulation(0, topology=lan(bandwidth_Bps=None))
    made: list[Master] = []
    heap = 0

    async def master(host: Any) -> None:
        settings = {"ping_interval_s": 20.0, "ping_timeout_s": 100.0, "locations_interval_s": 5.0}
        made.append(Master(host, Nothing(maps), **settings))
        await made[0].run(host.serve())

    def watch(report: pb.Progress) -> None:
        nonlocal heap
        if report.maps_completed == maps and not heap:
            heap = size_of(made[0].scheduler.jobs[report.job])

    async def main() -> pb.Progress:
        await asyncio.sleep(5.0)
        job = pb.Job(inputs=["in"], output="out", reduces=reduces, split_bytes=1)
        return await client.run(user, "master", job, watch)

    simulation.boot("master", master)
    for number in range(workers):
        simulation.boot(f"w{number}", idle_worker, {"reduces": reduces, "seconds": 10.0})
    user = simulation.boot("user")
    start = time.perf_counter()
    report = simulation.run(main(), name="user")
    assert simulation.failures == []
    assert (report.maps_completed, report.reduces_completed) == (maps, reduces)
    return time.perf_counter() - start, heap / (maps * reduces)


def figures(quick: bool) -> Iterator[Figure]:
    """Measures everything."""
    tasks = 4_000 if quick else 20_000
    rate = tasks / tiny(tasks)
    yield Figure(f"{tasks:,} tiny tasks", rate, "tasks/s", "at least", 1_000, "real gRPC, 2 workers")
    full = "--full" in sys.argv[1:] and not quick
    maps, reduces, workers = (200_000, 5_000, 2_000) if full else (20_000, 1_000, 500)
    seconds, pair = often(maps, reduces, workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    setting = f"M = {maps:,}, R = {reduces:,}, {workers:,} workers: {seconds:.0f} s, peak {peak:.1f} GiB"
    yield Figure("master state", pair, "bytes a pair", "at most", 1.5, setting)


if __name__ == "__main__":
    show(figures)
