"""A word count on 8 workers of which two die, one is slow and one link is cut.

Read `services/mapreduce/` beside the paper: `master/state.py` holds the master's rules (3.2, 3.3, 3.6),
the other modules carry them out. Here a job runs into trouble: when some maps are done, a worker dies;
a straggler crawls; two workers cannot reach each other, so one's reduce cannot read the other's map
output; when the maps are nearly over, a second worker dies and takes with it the output of the maps it
had completed, which are executed again. The answer is the same as ever.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import (
    TEXTS,
    WORD_COUNT,
    WORD_COUNT_CHECKS,
    Cluster,
    Reduces,
    SplitBytes,
    check_word_count,
)
from scenarios.mapreduce.invariants import WATCHED
from services.mapreduce.job import Spec
from sim import World, scenario
from sim.faults import Crash, Cut, Slow


@scenario(checks=(*WORD_COUNT_CHECKS, *WATCHED), plots=("timeline", "spacetime"))
async def worker_crash(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=5, le=400)] = 8,
    reduces: Reduces = 5,
    split_bytes: SplitBytes = 2000,
) -> None:
    """A word count over real text on 8 workers of which two die, one is slow and one link is cut."""
    # The simulated hosts are charged as if the text were thousands of times as long;
    # the real ones get it many times over.
    copies = 1 if world.kind == "sim" else 300
    # Three replicas: with two, the deaths of two workers may take the only copies of some input along.
    cluster = await Cluster.start(world, workers, chunk_bytes=4096 * copies, replicas=3)
    await cluster.put("texts", {name: text * copies for name, text in TEXTS.items()})
    job = cluster.submit(
        Spec(
            WORD_COUNT,
            inputs="texts",
            output="counts",
            reduces=reduces,
            split_bytes=split_bytes * copies,
        )
    )

    first, second, straggler, left, right = world.rng.sample(cluster.workers, 5)
    await world.inject(Slow(host=straggler, cpu=6.0))
    await world.inject(Cut(source=left, target=right))
    await job.maps(world.rng.uniform(0.1, 0.4))
    await world.inject(Crash(host=first))
    await job.maps(world.rng.uniform(0.6, 1.0))
    await world.inject(Crash(host=second))

    await check_word_count(cluster, job, TEXTS, times=copies)


if __name__ == "__main__":
    worker_crash.main()
