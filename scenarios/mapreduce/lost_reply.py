"""A completion message is delivered twice, and another one comes from a worker that is thought dead (3.3).

"If the master receives a completion message for an already completed map task, it ignores the message."
The replies to some completion messages are lost after the master has acted on them, so workers say it
again. One worker falls silent for longer than the master waits, its tasks are executed elsewhere, and
then it comes back and says that it is done. Every count is still counted once.
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
    Workers,
    check_word_count,
)
from scenarios.mapreduce.invariants import WATCHED, Ignored
from services.mapreduce.job import Spec
from sim import World, scenario
from sim.faults import LoseReply, Pause


@scenario(checks=(*WORD_COUNT_CHECKS, Ignored(1), *WATCHED), plots=("spacetime", "tasks"))
async def lost_reply(
    world: World,
    *,
    workers: Workers = 4,
    reduces: Reduces = 3,
    split_bytes: SplitBytes = 1500,
    lost: Annotated[int, Meta(ge=1, le=100)] = 3,
    silent_s: Seconds = 6.0,
) -> None:
    """Completion messages arrive twice, or late from a worker that was given up: they are ignored."""
    cluster = await Cluster.start(world, workers)
    copies = 1 if world.kind == "sim" else 200
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    run = cluster.submit(
        Spec(WORD_COUNT, inputs="texts", output="counts", reduces=reduces, split_bytes=split_bytes * copies)
    )
    await run.maps(0.1)
    await world.inject(LoseReply(host="master", method="Complete", count=lost))
    await run.maps(0.3)
    silent = await world.inject(Pause(host=world.rng.choice(cluster.workers)))
    await asyncio.sleep(silent_s)
    await world.lift(silent)
    await check_word_count(cluster, run, texts)


if __name__ == "__main__":
    lost_reply.main()
