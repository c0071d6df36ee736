"""A worker's disk fills up in the middle of a job, and a second one's soon after.

What cannot be written on one machine is written on another one: the task goes elsewhere, the failure
counts against the machine and not against the task, and a machine that fails again and again gets no
more work.
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
from sim.faults import DiskFull


@scenario(checks=(*WORD_COUNT_CHECKS, *WATCHED), plots=("tasks", "timeline"))
async def disk_full(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=3, le=400)] = 6,
    reduces: Reduces = 6,
    split_bytes: SplitBytes = 1500,
) -> None:
    """Two workers' disks fill up, one during the maps and one during the reduces; the job goes elsewhere."""
    cluster = await Cluster.start(world, workers)
    copies = 1 if world.kind == "sim" else 200
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    first, second = world.rng.sample(cluster.workers, 2)
    run = cluster.submit(
        Spec(WORD_COUNT, inputs="texts", output="counts", reduces=reduces, split_bytes=split_bytes * copies)
    )
    await run.maps(world.rng.uniform(0.1, 0.5))
    await world.inject(DiskFull(host=first))
    await run.maps(1.0)
    await world.inject(DiskFull(host=second))
    await check_word_count(cluster, run, texts)


if __name__ == "__main__":
    disk_full.main()
