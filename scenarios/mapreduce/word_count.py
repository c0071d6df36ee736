"""The paper's first example (2.1) on a healthy cluster, with and without its combiner (4.3).

Two jobs count the same words. The first one merges counts on the map's side, the second one sends each
word on its own: the answers are the same, the bytes between the machines are not. Most maps find
their input on their own disk (3.4).
"""

from __future__ import annotations

from scenarios.mapreduce.cluster import (
    TEXTS,
    WORD_COUNT,
    WORD_COUNT_CHECKS,
    Cluster,
    Reduces,
    SplitBytes,
    Workers,
    check_word_count,
)
from scenarios.mapreduce.invariants import WATCHED, LocalMaps
from services.mapreduce.job import Spec
from sim import World, scenario


@scenario(
    checks=(
        *WORD_COUNT_CHECKS,
        "a combiner changes nothing but the work",
        LocalMaps(0.5),
        *WATCHED,
    ),
    plots=("tasks", "moved", "throughput"),
)
async def word_count(
    world: World, *, workers: Workers = 6, reduces: Reduces = 4, split_bytes: SplitBytes = 2000
) -> None:
    """A word count on a healthy cluster, twice: what the combiner saves, and how local the maps are."""
    cluster = await Cluster.start(world, workers)
    await cluster.put("texts", TEXTS)

    def spec(output: str, combiner: bool) -> Spec:
        return Spec(
            WORD_COUNT,
            inputs="texts",
            output=output,
            reduces=reduces,
            split_bytes=split_bytes,
            combiner=combiner,
        )

    combined = cluster.submit(spec("counts", combiner=True))
    await check_word_count(cluster, combined, TEXTS)
    plain = cluster.submit(spec("counts-without", combiner=False))
    await check_word_count(cluster, plain, TEXTS)

    saved = plain.last.intermediate_bytes - combined.last.intermediate_bytes
    world.check(
        "a combiner changes nothing but the work",
        await cluster.parts("counts") == await cluster.parts("counts-without") and saved > 0,
        f"{combined.last.intermediate_bytes:,} bytes between map and reduce instead of "
        f"{plain.last.intermediate_bytes:,}",
    )


if __name__ == "__main__":
    word_count.main()
