"""Small jobs of many kinds under a swarm of faults: crashes of workers and of the master, cuts, slow and
lossy links, lost replies, pauses, disks that fill up, fail and tear. Whatever happens, a job that ends has
the right answer.

Read `services/mapreduce/README.md` for the invariants. Each seed is another story:

    dsim run mapreduce/swarm --seed 7
    dsim sweep mapreduce/swarm --seeds 0:1000

A commit takes a millisecond, and a fault at a random moment would hardly ever meet one. So each seed has
a climate as well: disks and links are fast, or so slow everywhere that half of a run is spent between a
write and its sync, a request and its reply.

When all is healed, the jobs must end: with the answer of a sequential run, or with an error that says why,
and then without `_SUCCESS`. A job may fail only for want of machines: every execution of a task failed by the
worker it was given to, or no worker was left.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.mapreduce.cluster import Cluster, Run, SplitBytes
from scenarios.mapreduce.invariants import WATCHED
from scenarios.mapreduce.swarm_jobs import Order, draw, texts, with_deadly
from sim import World, scenario
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm as faults
from sim.faults import Delay, SlowDisk

RECOVERY_S = 200.0
"""Within which every job must be over when all is healed."""

TIDY_S = 60.0
"""Within which nothing temporary is left in an output folder, after all jobs are over."""

WANT_OF_MACHINES = ("could not be executed by the workers", "no worker left", "cannot be written")


@scenario(
    checks=(
        "answer equals the sequential one",
        "bad records are left out, and no others",
        "every job ends",
        "a job fails only for want of machines",
        "a failed job leaves no success behind",
        "nothing temporary is left",
        "no program fails",
        *WATCHED,
    ),
    plots=("tasks", "timeline"),
    limit_s=3600,
)
async def swarm(
    world: World,
    *,
    workers: Annotated[int, Meta(ge=2, le=20), SHRINKABLE] = 4,
    jobs: Annotated[int, Meta(ge=1, le=10), SHRINKABLE] = 3,
    split_bytes: SplitBytes = 300,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0,
    intensity: Annotated[float, Meta(gt=0, le=100)] = 4.0,
) -> None:
    """Small jobs of many kinds under every kind of fault, the master's death included: answers are right."""
    chance = world.stream("jobs")
    copies = 1 if world.kind == "sim" else 100
    cluster = await Cluster.start(
        world,
        workers,
        cost_per_byte=chance.choice((5e-4, 2e-3, 5e-3)),
        coordinator={"ping_timeout_s": chance.choice((1.5, 5.0))},
    )
    given = texts(chance, copies)
    await cluster.put("texts", given)
    await cluster.put("texts-deadly", with_deadly(given))
    slow = await _climate(world, cluster)
    schedule = faults(
        world.rng,
        ["master", *cluster.workers],
        clients=["user", "files"],
        seconds=seconds,
        intensity=intensity,
        without=slow if world.kind == "sim" else (*slow, "torn-write"),
    )
    runs: list[tuple[Order, Run]] = []

    async def submit() -> None:
        for number in range(jobs):
            order = draw(chance, number, "texts", given, split_bytes * copies)
            runs.append((order, cluster.submit(order.spec)))
            await asyncio.sleep(chance.uniform(0, seconds / jobs))

    submitting = world.spawn(submit(), name="submit")
    await world.play(schedule)
    await world.heal()
    await submitting
    await _judge(world, cluster, runs)


async def _climate(world: World, cluster: Cluster) -> tuple[str, ...]:
    """Makes disks and links slow everywhere, or not; returns the kinds of fault that this uses up."""
    chance, used = world.stream("climate"), []
    if world.kind == "sim":
        if (factor := chance.choice((1, 1, 30, 300))) > 1:
            used.append("slow-disk")
            for host in ("files", "master", *cluster.workers):
                await world.inject(SlowDisk(host=host, factor=factor))
        if seconds := chance.choice((0.0, 0.0, 0.005, 0.05)):
            used.append("delay")
            await world.inject(Delay(seconds=seconds, jitter=seconds / 2))
    return tuple(used)


async def _judge(world: World, cluster: Cluster, runs: list[tuple[Order, Run]]) -> None:
    """Waits for the end of all jobs, and reports what must hold of them."""
    answers, skipped, ends, temporary = [], [], [], []
    failures: list[str] = []
    for order, run in runs:
        output = order.spec.output
        try:
            async with asyncio.timeout(RECOVERY_S):
                why = await run.failed()
        except TimeoutError:
            last = run.last
            ends.append(
                f"{output}: {RECOVERY_S:g} s after all was healed, {last.maps_completed} of {last.maps} maps "
                f"and {last.reduces_completed} of {last.reduces} reduces are completed"
            )
            continue
        if why:
            failures.append(f"{output}: {why}")
            world.check(
                "a failed job leaves no success behind",
                not await cluster.files.exists(f"{output}/_SUCCESS"),
                why,
            )
        else:
            last = await run.done()
            assert await cluster.files.exists(f"{output}/_SUCCESS"), output
            parts = await cluster.parts(output)
            if wrong := order.wrong({name: parts[name] for name in parts if name != "_SUCCESS"}, last):
                answers.append(f"{output} ({order.spec.job}): {wrong}")
            if len(last.skipped) != order.skipped:
                skipped.append(f"{output}: {len(last.skipped)} left out, not {order.skipped}")
        if not await _tidy(cluster, output):
            temporary.append(output)
    verdicts = {
        "answer equals the sequential one": (answers, f"{len(runs) - len(failures)} jobs"),
        "bad records are left out, and no others": (
            skipped,
            f"{sum(o.skipped for o, _ in runs)} to leave out",
        ),
        "every job ends": (ends, f"{len(runs) - len(failures)} done, {len(failures)} failed"),
        "a job fails only for want of machines": (
            [why for why in failures if not any(reason in why for reason in WANT_OF_MACHINES)],
            "; ".join(failures) or "none failed",
        ),
        "a failed job leaves no success behind": ([], f"{len(failures)} failed"),
        "nothing temporary is left": (temporary, "no .temporary below an output"),
        "no program fails": ([f"{f.host}: {f.error}" for f in world.failures()], "none did"),
    }
    for name, (violations, fine) in verdicts.items():
        world.check(name, not violations, "; ".join(violations) or fine)


async def _tidy(cluster: Cluster, output: str) -> bool:
    """Says whether an output folder's temporary files go."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TIDY_S
    while await cluster.files.exists(f"{output}/.temporary"):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(0.5)
    return True


if __name__ == "__main__":
    swarm.main()
