"""Workers come and go while a job runs: a cluster is what is there.

A job begins on two workers. Four more join and get work at once. Then the first two leave, in order, as
an operator would end them: each finishes or hands back what it has, and what it had mapped is mapped
again when its disk is gone. The job ends on machines none of which was there when it began.
"""

from __future__ import annotations

import asyncio

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
from scenarios.mapreduce.invariants import WATCHED, Worked
from services.mapreduce.job import Spec
from sim import World, scenario


@scenario(
    checks=(*WORD_COUNT_CHECKS, Worked(("w3", "w4", "w5", "w6")), *WATCHED), plots=("tasks", "timeline")
)
async def elastic(
    world: World, *, reduces: Reduces = 6, split_bytes: SplitBytes = 1000, apart_s: Seconds = 1.0
) -> None:
    """A job begins on two workers; four join, and the first two leave before it ends."""
    cluster = await Cluster.start(world, 2, archive=True)
    copies = 1 if world.kind == "sim" else 400
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    run = cluster.submit(
        Spec(WORD_COUNT, inputs="texts", output="counts", reduces=reduces, split_bytes=split_bytes * copies)
    )
    await run.maps(0.1)
    for _ in range(4):
        await cluster.join()
        await asyncio.sleep(apart_s / 4)
    await run.maps(0.5)
    for leaver in ("w1", "w2"):
        await world.stop(leaver)
        await asyncio.sleep(apart_s)
    await check_word_count(cluster, run, texts)


if __name__ == "__main__":
    elastic.main()
