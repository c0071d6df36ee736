"""Two records kill whoever reads them, and the job is finished without them (4.6).

The user's map has a bug: it dies with SIGSEGV (no exception, no word: the process is gone) on one
record, and raises on another. Without the refinement the job fails, and says on which record. With it,
a record that has been reported twice is left out, and the result says which were.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import Cluster, SplitBytes, Workers, counted
from scenarios.mapreduce.invariants import WATCHED
from services.mapreduce.job import Spec
from services.mapreduce.jobs.word_count import WordCount
from sim import World, scenario

DEADLY, WRONG = "deadly", "wrong"
FAILURES = 2  # of a task before its record is left out


class Fragile(WordCount):
    """A word count with a bug."""

    def map(self, key: int, value: str) -> Iterator[tuple[str, int]]:
        """Dies on one word, raises on another."""
        if DEADLY in value:
            os.kill(os.getpid(), signal.SIGSEGV)
        if WRONG in value:
            raise ValueError("a word that I do not like")
        yield from super().map(key, value)


@scenario(
    checks=(
        "without skipping, the job names the record",
        "a failed job leaves no success behind",
        "with it, all but the bad records are counted",
        "the result says what was left out",
        *WATCHED,
    ),
    plots=("tasks",),
)
async def bad_record(
    world: World,
    *,
    workers: Workers = 4,
    lines: Annotated[int, Meta(ge=10, le=100_000)] = 200,
    split_bytes: SplitBytes = 400,
) -> None:
    """One record kills its process, one makes map raise: a job that fails, and one that skips them."""
    cluster = await Cluster.start(world, workers)
    text = [f"good {number}" for number in range(lines)]
    text[lines // 3], text[lines // 2] = DEADLY, WRONG
    await cluster.put("texts", {"lines.txt": "".join(f"{line}\n" for line in text).encode()})
    spec = Spec(
        "scenarios.mapreduce.bad_record:Fragile",
        inputs="texts",
        output="strict",
        reduces=2,
        split_bytes=split_bytes,
    )
    why = await cluster.submit(spec).failed()
    world.check("without skipping, the job names the record", "lines.txt" in why, why)
    world.check(
        "a failed job leaves no success behind",
        not await cluster.files.exists("strict/_SUCCESS"),
        "no strict/_SUCCESS",
    )

    spec.output, spec.skip_bad_records = "lenient", True
    run = cluster.submit(spec)
    last = await run.done()
    found = {word: count for _, word, count in counted(await cluster.parts("lenient"))}
    world.check(
        "with it, all but the bad records are counted",
        found.get("good") == lines - 2 and DEADLY not in found and WRONG not in found,
        f"{found.get('good')} of {lines} lines counted",
    )
    world.check(
        "the result says what was left out",
        len(last.skipped) == 2 and all("lines.txt" in record.where for record in last.skipped),
        "; ".join(f"map {record.task}: {record.where}: {record.error}" for record in last.skipped),
    )


if __name__ == "__main__":
    bad_record.main()
