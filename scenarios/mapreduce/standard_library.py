"""A word count over every .py file of the running Python's standard library; a worker dies mid-job.

Made for real processes: `dsim run mapreduce/standard-library --world grpc` starts a file service, a
master and three workers, one process each, and kills one worker with SIGKILL when a third of the maps
are done. The simulated world tells the same story.
"""

from __future__ import annotations

import functools
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import WORD_COUNT, Cluster, Reduces, counted
from services.mapreduce.job import Spec
from services.mapreduce.jobs.word_count import tokens
from sim import World, scenario
from sim.faults import Crash


@functools.cache
def standard_library() -> dict[str, bytes]:
    """Returns the .py files of this Python's standard library, by their paths in it."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = (path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@functools.cache
def expected() -> Counter[str]:
    """Returns how often each word occurs in it, counted in the plainest way."""
    return Counter(
        word
        for source in standard_library().values()
        for word in tokens(source.decode("utf-8", "surrogateescape"))
    )


def read_ahead(simulation: object) -> None:
    """Reads and counts the library before the story begins: tasks may not open files here."""
    expected()


@scenario(
    checks=("answer equals collections.Counter's",),
    plots=("timeline", "rates"),
    hardware=read_ahead,
)
async def standard_library_words(
    world: World, *, workers: Annotated[int, Meta(ge=2, le=100)] = 3, reduces: Reduces = 4
) -> None:
    """A word count over every .py file of Python's standard library; a worker is killed mid-job."""
    sources = standard_library()
    cluster = await Cluster.start(world, workers, chunk_bytes=512 * 1024, cost_per_byte=200e-9)
    # One file for each folder of the library: some 1,700 small ones would be 1,700 round trips.
    folders: dict[str, list[bytes]] = {}
    for path, source in sources.items():
        folders.setdefault(path.partition("/")[0], []).append(source + b"\n")
    # Names in it begin with "_" here and there, and as an input such a file would be left out.
    await cluster.put("library", {f"lib-{name}": b"".join(parts) for name, parts in folders.items()})

    spec = Spec(WORD_COUNT, inputs="library", output="counts", reduces=reduces, split_bytes=512 * 1024)
    job = cluster.submit(spec)
    await job.maps(1 / 3)
    await world.inject(Crash(host="w1"))
    last = await job.done()

    output = [(word, count) for _, word, count in counted(await cluster.parts("counts"))]
    words = expected()
    world.check(
        "answer equals collections.Counter's",
        dict(output) == words and len(output) == len(words),
        f"{words.total():,} words, {len(words):,} distinct, in {len(sources):,} files; "
        f"{last.executions} executions of {last.maps} map and {last.reduces} reduce tasks",
    )


if __name__ == "__main__":
    standard_library_words.main()
