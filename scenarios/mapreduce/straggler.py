"""A slow machine holds a whole job up; backup tasks (3.6) take its work over.

The same word count twice, on the same cluster, one machine of which computes twenty times slower than
the others (the paper's "bug in machine initialization code that caused processor caches to be disabled"
made it a hundred). The first job runs without backup tasks and waits for the straggler to the end. In
the second one the master has its last tasks executed a second time elsewhere: whoever is first, counts.
The Gantt chart shows both jobs, one after the other.
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
from sim.faults import Slow


@scenario(checks=(*WORD_COUNT_CHECKS, "backup tasks pay", *WATCHED), plots=("tasks", "timeline"))
async def straggler(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=2, le=400)] = 8,
    reduces: Reduces = 8,
    split_bytes: SplitBytes = 2000,
    slow: Annotated[float, Meta(gt=1, le=100)] = 20.0,
) -> None:
    """One machine is 20 times slower than the others: a job without backup tasks, and one with them."""
    cluster = await Cluster.start(world, workers)
    copies = 1 if world.kind == "sim" else 200
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    await world.inject(Slow(host=world.rng.choice(cluster.workers), cpu=slow))
    seconds = {}
    for backups in (False, True):
        run = cluster.submit(
            Spec(
                WORD_COUNT,
                inputs="texts",
                output=f"counts-{'with' if backups else 'without'}-backups",
                reduces=reduces,
                split_bytes=split_bytes * copies,
                backups=backups,
            )
        )
        await check_word_count(cluster, run, texts)
        seconds[backups] = run.last.elapsed_s
        world.note("job done", backups=backups, seconds=run.last.elapsed_s, started=run.last.backups)
        if not backups and run.last.backups:
            world.check("backup tasks pay", False, f"{run.last.backups} backups though none were allowed")
    world.check(
        "backup tasks pay",
        seconds[True] < 0.7 * seconds[False] and run.last.backups > 0,
        f"{seconds[False]:.1f} s without, {seconds[True]:.1f} s with {run.last.backups} backup tasks",
    )


if __name__ == "__main__":
    straggler.main()
