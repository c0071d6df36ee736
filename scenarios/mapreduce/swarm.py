"""Small jobs under a swarm of faults: crashes of workers and of the master, cuts, slow and lossy links, lost
replies, pauses, disks that fill up, fail and tear. Whatever happens, a job that ends has the right answer.

Read `services/mapreduce/README.md` for the invariants. Each seed is another story:

    dsim run mapreduce/swarm --seed 7
    dsim sweep mapreduce/swarm --seeds 0:1000

When all is healed, the jobs must end: with the answer of a sequential run, or with an error that says
why, and then without `_SUCCESS`. A job may fail only while the faults are such that nothing better
could be done (every attempt at a task failed; no worker was left).
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
    Run,
    check_word_count,
)
from scenarios.mapreduce.invariants import WATCHED
from services.mapreduce.job import Spec
from sim import World, scenario
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm as faults

RECOVERY_S = 300.0
"""Within which every job must be over when all is healed."""


@scenario(
    checks=(
        *WORD_COUNT_CHECKS,
        "every job ends",
        "a failed job leaves no success behind",
        "invariants",
        *WATCHED,
    ),
    plots=("tasks", "timeline"),
    limit_s=3600,
)
async def swarm(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=2, le=20), SHRINKABLE] = 4,
    jobs: Annotated[int, Meta(ge=1, le=10), SHRINKABLE] = 2,
    reduces: Annotated[int, Meta(ge=1, le=20), SHRINKABLE] = 3,
    split_bytes: int = 2500,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 20.0,
    intensity: Annotated[float, Meta(gt=0, le=100)] = 1.0,
) -> None:
    """Small jobs under every kind of fault, the master's death included: the answers are right."""
    cluster = await Cluster.start(world, workers, cost_per_byte=2e-3)
    copies = 1 if world.kind == "sim" else 100
    texts = {name: text * copies for name, text in TEXTS.items()}
    await cluster.put("texts", texts)
    schedule = faults(
        world.rng,
        ["master", *cluster.workers],
        clients=["user", "files"],
        seconds=seconds,
        intensity=intensity,
        without=() if world.kind == "sim" else ("torn-write",),
    )
    runs: list[Run] = []

    async def submit() -> None:
        for number in range(jobs):
            await asyncio.sleep(number * seconds / 2 / jobs)
            runs.append(
                cluster.submit(
                    Spec(
                        WORD_COUNT,
                        inputs="texts",
                        output=f"counts-{number}",
                        reduces=reduces,
                        split_bytes=split_bytes * copies,
                    )
                )
            )

    submitting = world.spawn(submit(), name="submit")
    await world.play(schedule)
    await world.heal()
    await submitting

    failures: list[str] = []
    try:
        async with asyncio.timeout(RECOVERY_S):
            for run in runs:
                if why := await run.failed():
                    failures.append(why)
                    world.check(
                        "a failed job leaves no success behind",
                        not await cluster.files.exists(f"{run.spec.output}/_SUCCESS"),
                        why,
                    )
                else:
                    await check_word_count(cluster, run, texts)
    except TimeoutError:
        last = run.last
        world.check(
            "every job ends",
            False,
            f"{RECOVERY_S:g} s after everything was healed, {last.maps_completed} of {last.maps} maps "
            f"and {last.reduces_completed} of {last.reduces} reduces are completed",
        )
        return
    world.check("every job ends", True, f"{len(runs) - len(failures)} done, {len(failures)} failed")
    world.check("a failed job leaves no success behind", True, f"{len(failures)} failed")
    if len(failures) == len(runs):  # then nothing was looked at
        for name in WORD_COUNT_CHECKS:
            world.check(name, True, "no job was done")
    broken = [
        f"{failure.host}: {failure.error}" for failure in world.failures() if "Assertion" in failure.error
    ]
    world.check("invariants", not broken, "; ".join(broken) or "none broken")


if __name__ == "__main__":
    swarm.main()
