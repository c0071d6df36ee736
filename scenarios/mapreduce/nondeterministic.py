"""A map that answers differently each time, and what MapReduce still promises of it (3.3).

"In the presence of non-deterministic operators, the output of a particular reduce task R1 is equivalent
to the output for R1 produced by a sequential execution of the non-deterministic program. However, the
output for a different reduce task R2 may correspond to the output for R2 produced by a different
sequential execution."

Each execution of a map task here draws a number and puts it under every key. A worker dies after some
reduces have read its map outputs: its maps are executed again and draw other numbers, which the other
reduces read. So R1 and R2 disagree about what map M said; but each of them has heard exactly one answer
of every map.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import Cluster, Seconds, part_names
from scenarios.mapreduce.invariants import WATCHED
from services.mapreduce.counters import Task
from services.mapreduce.job import Job, Spec
from sim import World, scenario
from sim.faults import Crash


class Draws(Job):
    """Every map task tells every reduce task which execution it is: as random as a number drawn."""

    partitioner = staticmethod(int.__mod__)

    def setup(self, task: Task) -> None:
        """Draws."""
        self.task = task

    def map(self, key: int, value: str) -> Iterator[tuple[int, tuple[int, int]]]:
        """Gives, for each reduce task, the number of this task and what this execution of it has drawn."""
        for reduce in range(int(self.task.settings["reduces"])):
            yield reduce, (self.task.number, self.task.attempt)

    def reduce(self, key: int, values: Iterator[tuple[int, int]]) -> Iterator[str]:
        """Gives what this reduce task has heard of each map task."""
        yield from sorted(f"{number}={drawn}" for number, drawn in set(values))


@scenario(
    checks=("each reduce has heard one execution of every map", "the weak promise is seen", *WATCHED),
    plots=("tasks", "spacetime"),
)
async def nondeterministic(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=2, le=400)] = 5,
    maps: Annotated[int, Meta(ge=1, le=100)] = 10,
    reduces: Annotated[int, Meta(ge=2, le=500)] = 10,
    seconds: Seconds = 2.0,
) -> None:
    """Maps that never answer the same twice, and a crash: two reduces disagree, each is right by itself."""
    cluster = await Cluster.start(world, workers, cost_per_byte=seconds / 200)
    await cluster.put(
        "lines", {f"{number:02}": b"a line of some thirty characters\n" * 6 for number in range(maps)}
    )
    run = cluster.submit(
        Spec(
            "scenarios.mapreduce.nondeterministic:Draws",
            inputs="lines",
            output="heard",
            reduces=reduces,
            split_bytes=6 * 33,
            backups=False,
            settings={"reduces": str(reduces)},
        )
    )
    await run.reduces(0.3)
    await world.inject(Crash(host=world.rng.choice(cluster.workers)))
    last = await run.done()

    parts = await cluster.parts("heard")
    heard = [
        dict(line.split("\t")[1].split("=") for line in part.decode().splitlines()) for part in parts.values()
    ]
    said = [len(part.splitlines()) for part in parts.values()]
    world.check(
        "each reduce has heard one execution of every map",
        list(parts) == part_names(reduces)
        and all(len(answers) == last.maps == count for answers, count in zip(heard, said, strict=True)),
        f"{reduces} reduces, {last.maps} answers each",
    )
    differ = [m for m in range(last.maps) if len({answers[str(m)] for answers in heard}) > 1]
    world.check(
        "the weak promise is seen",
        bool(differ),
        f"reduces disagree about {len(differ)} of {last.maps} maps, which were executed twice",
    )


if __name__ == "__main__":
    nondeterministic.main()
