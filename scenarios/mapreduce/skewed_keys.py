"""Some keys are far more frequent than others: what the partition function makes of it (4.1).

Keys follow Zipf's law, as the words of a language do. Three jobs sort the same records, each with
another partition function: ranges of equal width, as somebody would cut who knows nothing of the data;
the hash of the key; and ranges cut by a sample (the paper's "pre-pass MapReduce operation" for its
sort). The chart shows the reduces of the first one waiting for one of them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import Cluster, Workers, part_names
from scenarios.mapreduce.invariants import WATCHED
from services.mapreduce.job import Job, Spec
from services.mapreduce.partition import TotalOrder, by_hash
from sim import World, scenario

WORDS = 400


def by_width(key: str, reduces: int) -> int:
    """Cuts the numbers of the words into ranges of equal width."""
    return int(key[1:]) * reduces // WORDS


class Sort(Job):
    """Puts records in the order of their first word; the values stand as they came."""

    def map(self, key: int, value: str) -> Iterator[tuple[str, str]]:
        """Takes the key out of the line: the paper's three lines (5.3)."""
        word, _, rest = value.partition(" ")
        yield word, rest


@scenario(
    checks=(
        "every record comes out once, in order",
        "a sample balances what ranges of equal width do not",
        *WATCHED,
    ),
    plots=("tasks", "throughput"),
)
async def skewed_keys(
    world: World,
    *,
    workers: Workers = 6,
    reduces: Annotated[int, Meta(ge=2, le=40)] = 6,
    records: Annotated[int, Meta(ge=100, le=100_000)] = 3000,
) -> None:
    """Zipf's keys sorted with three partition functions: one reduce gets most, or each its share."""
    cluster = await Cluster.start(world, workers, cost_per_byte=2e-4)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
    drawn = world.rng.choices(range(WORDS), cum_weights=weights, k=records)
    lines = [f"w{word:05} record {number:06}" for number, word in enumerate(drawn)]
    await cluster.put("records", {"all.txt": "".join(f"{line}\n" for line in lines).encode()})
    expected = Counter(line.replace(" ", "\t", 1) for line in lines)

    share = {}
    for name, partitioner in (("width", by_width), ("hash", by_hash), ("sample", await _cut(drawn, reduces))):
        run = cluster.submit(
            Spec(
                "scenarios.mapreduce.skewed_keys:Sort",
                inputs="records",
                output=f"sorted-by-{name}",
                reduces=reduces,
                split_bytes=4096,
                partitioner=partitioner,
                title=f"sort, ranges by {name}",
            )
        )
        await run.done()
        parts = await cluster.parts(run.spec.output)
        keys = [[line.partition(b"\t")[0] for line in part.splitlines()] for part in parts.values()]
        whole = Counter(line for part in parts.values() for line in part.decode().splitlines())
        in_order = all(part == sorted(part) for part in keys) and (
            name == "hash" or list(itertools.chain(*keys)) == sorted(itertools.chain(*keys))
        )
        world.check(
            "every record comes out once, in order",
            list(parts) == part_names(reduces) and whole == expected and in_order,
            f"{records} records, by {name}",
        )
        share[name] = max(map(len, keys)) * reduces / records
        world.note("sorted", by=name, largest=share[name], seconds=run.last.elapsed_s)
    world.check(
        "a sample balances what ranges of equal width do not",
        share["width"] > 1.5 * share["sample"],
        "the largest partition has "
        + ", ".join(f"{times:.1f} times its share by {name}" for name, times in share.items()),
    )


async def _cut(drawn: list[int], reduces: int) -> TotalOrder:
    """Cuts ranges by every tenth record, as the sampling pass before a real job does."""
    return TotalOrder().with_cuts([f"w{word:05}" for word in drawn[::10]], reduces)


if __name__ == "__main__":
    skewed_keys.main()
