"""Network maintenance makes 80 machines at a time unreachable for minutes (3.3).

The paper: "the MapReduce master simply re-executed the work done by the unreachable worker machines,
and continued to make forward progress, eventually completing the MapReduce operation." Here one rack
after the other is cut off from the rest while a job runs. What its machines had mapped lies on disks
that nobody can reach, so it is mapped again; what they finish meanwhile comes late and is ignored.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import (
    TEXTS,
    WORD_COUNT,
    WORD_COUNT_CHECKS,
    Cluster,
    Reduces,
    Seconds,
    SplitBytes,
    check_word_count,
)
from scenarios.mapreduce.invariants import WATCHED
from services.mapreduce.job import Spec
from sim import World, scenario
from sim.faults import Partition


@scenario(
    checks=(*WORD_COUNT_CHECKS, "work of the unreachable is done again", *WATCHED),
    plots=("tasks", "throughput"),
    limit_s=7200,
)
async def network_cut(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=4, le=400)] = 200,
    cut: Annotated[int, Meta(ge=1)] = 80,
    seconds: Seconds = 120.0,
    reduces: Reduces = 40,
    split_bytes: SplitBytes = 64,
    cost_per_byte: Annotated[float, Meta(ge=0, le=10)] = 0.15,
) -> None:
    """Of 200 machines 80 are unreachable for two minutes, and then 80 others: the job ends, later."""
    if world.kind == "grpc":  # as many processes as this machine has room for
        workers, cut, seconds, split_bytes = min(workers, 6), min(cut, 2), min(seconds, 8.0), 300_000
    cut = min(cut, workers // 2)
    cluster = await Cluster.start(
        world,
        workers,
        racks=-(-workers // cut),
        cost_per_byte=cost_per_byte,
        coordinator={"ping_interval_s": 3.0, "ping_timeout_s": 15.0, "progress_interval_s": 1.0},
        ping_timeout_s=15.0,
    )
    copies = 1 if world.kind == "sim" else 200
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    run = cluster.submit(
        Spec(WORD_COUNT, inputs="texts", output="counts", reduces=reduces, split_bytes=split_bytes)
    )
    machines = world.rng.sample(cluster.workers, 2 * cut)
    for number, group in enumerate((machines[:cut], machines[cut:])):
        await run.maps(0.3 + 0.4 * number)
        rest = [host for host in (*world.hosts(), "user") if host not in group]
        partition = await world.inject(Partition(groups=[group, rest]))
        await asyncio.sleep(seconds)
        await world.lift(partition)
    await check_word_count(cluster, run, texts)
    world.check(
        "work of the unreachable is done again",
        run.last.executions - run.last.backups > run.last.maps + run.last.reduces,
        f"{run.last.executions} executions of {run.last.maps + run.last.reduces} tasks; "
        f"{len(run.last.failed_workers)} workers had been given up",
    )


if __name__ == "__main__":
    network_cut.main()
