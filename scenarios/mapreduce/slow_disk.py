"""A disk with correctable errors slows "from 30 MB/s to 1 MB/s" (3.6), and what the master makes of it.

Everything that the machine reads and writes crawls: its chunks, its map outputs, and what the reduces
of the others pull from it. Backup tasks finish what it would have finished last.
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
from sim.faults import SlowDisk
from sim.world.disk import DiskModel
from sim.world.simulation import Simulation

PAPER = DiskModel(seek=8e-3, flush=8e-3, bandwidth=30e6)
MOST = 32


def old_disks(simulation: Simulation) -> None:
    """Gives the workers' machines disks of the paper's time; a real machine has what it has."""
    for number in range(1, MOST + 1):
        simulation.add_host(f"w{number}", disk=PAPER)


@scenario(
    checks=(*WORD_COUNT_CHECKS, "the job does not wait for the disk", *WATCHED),
    plots=("tasks", "timeline"),
    hardware=old_disks,
)
async def slow_disk(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=3, le=MOST)] = 6,
    reduces: Reduces = 6,
    split_bytes: SplitBytes = 2000,
    slow: Annotated[float, Meta(gt=1, le=100)] = 30.0,
) -> None:
    """One machine's disk becomes thirty times slower in the middle of a job: 30 MB/s, then 1 MB/s."""
    cluster = await Cluster.start(world, workers)
    copies = 1 if world.kind == "sim" else 200
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    spec = Spec(
        WORD_COUNT, inputs="texts", output="counts", reduces=reduces, split_bytes=split_bytes * copies
    )
    calm = cluster.submit(spec)
    await calm.done()

    spec.output = "counts-again"
    run = cluster.submit(spec)
    await run.maps(0.2)
    await world.inject(SlowDisk(host=world.rng.choice(cluster.workers), factor=slow))
    await check_word_count(cluster, run, texts)
    world.check(
        "the job does not wait for the disk",
        run.last.elapsed_s < 3 * calm.last.elapsed_s + 5,
        f"{calm.last.elapsed_s:.1f} s before, {run.last.elapsed_s:.1f} s with it; "
        f"{run.last.backups} backup tasks",
    )


if __name__ == "__main__":
    slow_disk.main()
