"""A word count over every .py file of the running Python's standard library; a worker dies mid-job.

Made for real processes: `dsim run mapreduce/standard-library --world grpc` starts a file server, a
master and three workers, one process each, and kills one worker with SIGKILL when a third of the maps
are done. The simulated world tells the same story.
"""

from __future__ import annotations

import functools
import sysconfig
from collections import Counter
from pathlib import Path

from protos import mapreduce_pb2 as pb
from scenarios.mapreduce.worker_crash import Progress
from services.files import server as files
from services.files.client import FileSystem
from services.mapreduce import client, master, worker
from services.mapreduce.jobs.word_count import tokens
from sim import World, scenario
from sim.faults import Crash


@functools.cache
def standard_library() -> dict[str, bytes]:
    """Returns the .py files of this Python's standard library, by their paths in it."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = (path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def read_ahead(simulation: object) -> None:
    """Reads the library before the story begins: a simulated task may not open a file of this machine."""
    standard_library()


@scenario(
    checks=("answer equals collections.Counter's",),
    plots=("timeline", "rates"),
    hardware=read_ahead,
)
async def standard_library_words(world: World, *, workers: int = 3, reduces: int = 4) -> None:
    """A word count over every .py file of Python's standard library; a worker is killed mid-job."""
    sources = standard_library()
    await world.start("files", files.serve)
    await world.start("master", master.serve)
    for n in range(1, workers + 1):
        await world.start(f"w{n}", worker.serve)

    user = world.client("user")
    storage = FileSystem(user, "files")
    # One file for each folder of the library: some 1,700 small ones would be 1,700 round trips.
    folders: dict[str, list[bytes]] = {}
    for path, source in sources.items():
        folders.setdefault(path.partition("/")[0], []).append(source + b"\n")
    for name, parts in folders.items():
        await storage.write(f"library/{name}", b"".join(parts))

    progress = Progress()
    job = pb.Job(
        mapper="services.mapreduce.jobs.word_count:count_words",
        combiner="services.mapreduce.jobs.word_count:add",
        reducer="services.mapreduce.jobs.word_count:add",
        input="library",
        output="counts",
        reduces=reduces,
        split_bytes=512 * 1024,
    )
    running = world.spawn(client.run(user, "master", job, progress), name="job")
    await progress.until(lambda report: report.maps_completed * 3 >= report.maps > 0)
    await world.inject(Crash(host="w1"))
    await running

    output = await client.read_output(storage, "counts")
    expected = Counter(
        word for source in sources.values() for word in tokens(source.decode("utf-8", "surrogateescape"))
    )
    world.check(
        "answer equals collections.Counter's",
        {word: int(count) for word, count in output} == expected and len(output) == len(expected),
        f"{expected.total():,} words, {len(expected):,} distinct, in {len(sources):,} files; "
        f"{progress.last.executions} executions of {progress.last.maps} map "
        f"and {progress.last.reduces} reduce tasks",
    )


if __name__ == "__main__":
    standard_library_words.main()
