"""What every story about MapReduce begins with: a cluster, and a job on it.

A cluster is a file service with its chunkservers beside the workers (so that input can be local, 3.4),
a master, and workers on racks; the same in both worlds. The paper's 1,700 machines are in
`scenarios/papers`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from protos import mapreduce_pb2 as pb
from services.files import beside, connect, server
from services.files import master as files
from services.files.api import FileSystem, Range
from services.mapreduce import client, master
from services.mapreduce.counters import MAP_IN, REDUCE_OUT
from services.mapreduce.job import Spec
from services.mapreduce.jobs.word_count import tokens
from services.mapreduce.message import job_message
from services.mapreduce.partition import by_hash
from sim import World

TEXTS = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "texts").glob("*.txt"))}
"""Some thousand words to count, by file name."""

Workers = Annotated[int, Meta(ge=1, le=400)]
Reduces = Annotated[int, Meta(ge=1, le=500)]
SplitBytes = Annotated[int, Meta(ge=50, le=1 << 20)]
Seconds = Annotated[float, Meta(ge=0, le=600)]
"""What the stories' parameters may be, where a story does not say more."""

WORD_COUNT = "services.mapreduce.jobs.word_count:WordCount"


class Run:
    """A job under way, as its user sees it.

    Attributes:
        spec: what was asked for.
        last: the master's last report.
        result: ends with the job: with its last report, or by raising JobFailed.
    """

    def __init__(self, cluster: Cluster, spec: Spec, job_id: str) -> None:
        self.spec = spec
        self.last = pb.Progress()
        self._changed = asyncio.Event()
        self._world = cluster.world
        message = job_message(spec, job_id=job_id)
        self.result = cluster.world.spawn(self._watched(cluster, message), name=job_id)

    async def _watched(self, cluster: Cluster, message: pb.Job) -> pb.Progress | client.JobFailed:
        try:
            return await client.run(cluster.user, "master", message, self._report)
        except client.JobFailed as failed:
            return failed
        finally:
            self._changed.set()

    def _report(self, report: pb.Progress) -> None:
        self.last = report
        self._changed.set()

    async def until(self, enough: Callable[[pb.Progress], bool]) -> None:
        """Returns when a report is enough, or the job is over."""
        while not enough(self.last) and not self.result.done():
            self._changed.clear()
            await self._changed.wait()

    async def maps(self, share: float) -> None:
        """Returns when this share of the maps is completed."""
        await self.until(lambda report: report.maps_completed >= report.maps * share > 0)

    async def reduces(self, share: float) -> None:
        """Returns when this share of the reduces is completed."""
        await self.until(lambda report: report.reduces_completed >= report.reduces * share > 0)

    async def done(self) -> pb.Progress:
        """Returns the last report of a job that succeeds.

        Raises:
            JobFailed: it does not.
        """
        ended: pb.Progress | client.JobFailed = await self.result
        if isinstance(ended, client.JobFailed):
            raise ended
        return ended

    async def failed(self) -> str:
        """Returns why a job failed; "" when it did not."""
        ended = await self.result
        return str(ended) if isinstance(ended, client.JobFailed) else ""


class Cluster:
    """A running cluster.

    Attributes:
        world: where.
        workers: their names.
        user: the host of whoever submits jobs.
        files: the shared file system, as the user sees it.
    """

    def __init__(self, world: World, parameters: Mapping[str, Any], racks: int) -> None:
        self.world = world
        self.workers: list[str] = []
        self.user = world.client("user")
        self.files: FileSystem = connect(self.user, "files")
        self._parameters = dict(parameters)
        self._racks = racks
        self._jobs = 0

    @staticmethod
    async def start(
        world: World,
        workers: int,
        *,
        racks: int = 2,
        chunk_bytes: int = 4096,
        replicas: int = 3,
        cost_per_byte: float = 1e-3,
        archive: bool = False,
        coordinator: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> Cluster:
        """Starts a cluster, and returns when its file service can take files.

        Args:
            world: where.
            workers: how many.
            racks: that they stand on, in turn.
            chunk_bytes, replicas: of the file service. With small chunks a job over little text behaves as
                one over much.
            cost_per_byte: processor seconds that a simulated worker is charged for a byte that it maps or
                reduces: as if the text were thousands of times as long.
            archive: the file service's own host keeps chunks as well, so that they outlive all workers.
            coordinator: parameters of the master.
            parameters: of every worker.
        """
        cluster = Cluster(world, {"cost_per_byte": cost_per_byte, "tail_bytes": 256, **parameters}, racks)
        program = server.serve if archive else files.serve
        await world.start("files", program, chunk_bytes=chunk_bytes, replicas=replicas)
        await world.start("master", master.serve, **(coordinator or {}))
        for _ in range(workers):
            await cluster.join()
        await world.serving("files", "master", *cluster.workers, within=30.0)
        await cluster._settled(min(replicas, workers + archive))
        return cluster

    async def _settled(self, replicas: int) -> None:
        """Returns when a file gets as many replicas as it should: chunkservers may not be known yet."""
        probe, held = "probe", 0
        while held < replicas:
            await self.files.write(probe, b"?")
            held = len((await self.files.locate([Range(probe, 0, -1)]))[0])
            await self.files.remove(probe)
            await asyncio.sleep(0.0 if held >= replicas else 0.2)

    async def join(self) -> str:
        """Starts one more worker, and returns its name."""
        number = len(self.workers) + 1
        name, rack = f"w{number}", f"rack{(number - 1) % self._racks + 1}"
        self.workers.append(name)
        await self.world.start(
            name,
            beside.serve,
            neighbour="services.mapreduce.worker:serve",
            parameters={"rack": rack, **self._parameters},
            rack=rack,
        )
        return name

    async def put(self, folder: str, contents: Mapping[str, bytes]) -> None:
        """Writes files into a folder of the shared file system."""
        for name, content in contents.items():
            await self.files.write(f"{folder}/{name}", content)

    def submit(self, spec: Spec) -> Run:
        """Submits a job."""
        self._jobs += 1
        return Run(self, spec, f"job-{self._jobs}")

    async def parts(self, output: str) -> dict[str, bytes]:
        """Returns the files of a job's output folder, by name; half-written ones would be among them."""
        found = await self.files.list(output)
        return {info.path.removeprefix(f"{output}/"): await self.files.read(info.path) for info in found}


def part_names(count: int) -> list[str]:
    """Returns the names of a job's output files."""
    return [f"part-{number:05}" for number in range(count)]


def word_counts(texts: Mapping[str, bytes]) -> Counter[str]:
    """Returns how often each word occurs, counted in the plainest way."""
    return Counter(word for text in texts.values() for word in tokens(text.decode()))


def counted(parts: Mapping[str, bytes]) -> list[tuple[int, str, int]]:
    """Returns the output of a word count: (partition, word, count), as it stands in the files."""
    found = []
    for number, name in enumerate(sorted(parts)):
        for line in parts[name].decode().splitlines():
            word, count = line.split("\t")
            found.append((number, word, int(count)))
    return found


WORD_COUNT_CHECKS = ("answer equals the sequential one", "every partition once", "keys in order", "counters")
"""What `check_word_count` looks at."""


async def check_word_count(cluster: Cluster, run: Run, texts: Mapping[str, bytes], *, times: int = 1) -> None:
    """Reports what must hold of the output of a word count (invariants 1, 2, 6, 7, 8 and 10)."""
    world, last = cluster.world, await run.done()
    parts = await cluster.parts(run.spec.output)
    output = counted(parts)
    expected = {word: count * times for word, count in word_counts(texts).items()}
    world.check(
        "answer equals the sequential one",
        {word: count for _, word, count in output} == expected and len(output) == len(expected),
        f"{len(expected)} distinct words; {last.executions} executions "
        f"of {last.maps} map and {last.reduces} reduce tasks",
    )
    world.check(
        "every partition once",
        list(parts) == part_names(last.reduces),
        f"{len(parts)} output files, no other file beside them",
    )
    places = [(by_hash(word, last.reduces), word) for _, word, _ in output]
    world.check(
        "keys in order",
        places == sorted(places)
        and all(at == number for (at, _), (number, _, _) in zip(places, output, strict=True)),
        "within each partition, and each key in its own",
    )
    counters = dict(last.counters.values)
    lines = sum(text.count(b"\n") + (not text.endswith(b"\n")) for text in texts.values() if text)
    world.check(
        "counters",
        counters.get(MAP_IN) == lines * times and counters.get(REDUCE_OUT) == len(expected),
        f"{counters.get(MAP_IN):,} lines read, {counters.get(REDUCE_OUT):,} words written, each counted once",
    )
