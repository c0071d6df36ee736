"""A word count on 8 workers of which two die, one is slow and one link is cut.

Read `services/mapreduce/` beside the paper: job.py holds the master's rules (3.2, 3.3, 3.6),
master.py and worker.py carry them out. Here a job runs into trouble: when some maps are done, a
worker dies; a straggler crawls; two workers cannot reach each other, so one's reduce cannot read the
other's map output; when the maps are nearly over, a second worker dies and takes with it the output
of the maps it had completed, which are executed again. The answer is the same as ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from protos import mapreduce_pb2 as pb
from services.files import server as files
from services.files.client import FileSystem
from services.mapreduce import client, master, worker
from services.mapreduce.jobs.word_count import tokens
from services.mapreduce.records import partition
from sim import World, scenario
from sim.faults import Crash, Cut, Slow

TEXTS = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "texts").glob("*.txt"))}


class Progress:
    """The master's last report, and a way to wait for one that says enough."""

    def __init__(self) -> None:
        self.last = pb.Progress()
        self._changed = asyncio.Event()

    def __call__(self, report: pb.Progress) -> None:
        """Takes a report."""
        self.last = report
        self._changed.set()

    async def until(self, enough: Callable[[pb.Progress], bool]) -> None:
        """Returns when a report is enough, or the job is over."""
        while not enough(self.last) and self.last.state == pb.Progress.RUNNING:
            self._changed.clear()
            await self._changed.wait()


@scenario(
    checks=("answer equals the sequential one", "every partition once", "keys in order"),
    plots=("timeline", "spacetime"),
)
async def worker_crash(world: World, *, workers: int = 8, reduces: int = 5, split_bytes: int = 2000) -> None:
    """A word count over real text on 8 workers of which two die, one is slow and one link is cut."""
    names = [f"w{n}" for n in range(1, workers + 1)]
    # The simulated hosts are charged as if the text were thousands of times as long;
    # the real ones get it many times over.
    copies = 1 if world.kind == "sim" else 300
    await world.start("files", files.serve)
    await world.start("master", master.serve)
    for name in names:
        await world.start(name, worker.serve, cost_per_byte=1e-3)

    user = world.client("user")
    storage = FileSystem(user, "files")
    for name, text in TEXTS.items():
        await storage.write(f"texts/{name}", text * copies)

    progress = Progress()
    job = world.spawn(
        client.run(
            user,
            "master",
            pb.Job(
                mapper="services.mapreduce.jobs.word_count:count_words",
                combiner="services.mapreduce.jobs.word_count:add",
                reducer="services.mapreduce.jobs.word_count:add",
                input="texts",
                output="counts",
                reduces=reduces,
                split_bytes=split_bytes * copies,
            ),
            progress,
        ),
        name="job",
    )

    first, second, straggler, left, right = world.rng.sample(names, 5)
    await world.inject(Slow(host=straggler, cpu=6.0))
    await world.inject(Cut(source=left, target=right))
    early, late = world.rng.uniform(0.1, 0.4), world.rng.uniform(0.6, 1.0)
    await progress.until(lambda report: report.maps_completed >= report.maps * early > 0)
    await world.inject(Crash(host=first))
    await progress.until(lambda report: report.maps_completed >= report.maps * late > 0)
    await world.inject(Crash(host=second))
    await job

    expected = Counter(word for text in TEXTS.values() for word in tokens(text.decode()))
    parts = [path for path, _ in await storage.list("counts")]
    output = await client.read_output(storage, "counts")
    counted = {word: int(count) for word, count in output}
    world.check(
        "answer equals the sequential one",
        counted == {word: count * copies for word, count in expected.items()},
        f"{len(counted)} distinct words; {progress.last.executions} executions of "
        f"{progress.last.maps} map and {progress.last.reduces} reduce tasks",
    )
    world.check(
        "every partition once",
        parts == [f"counts/part-{n:05}" for n in range(reduces)] and len(output) == len(counted),
        f"{len(parts)} output files",
    )
    numbers = [(partition(word, reduces), word) for word, _ in output]
    world.check("keys in order", numbers == sorted(numbers), "within each partition, and each key in its own")


if __name__ == "__main__":
    worker_crash.main()
