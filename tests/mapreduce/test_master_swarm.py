"""Whatever happens to workers, network, disk and master, a job comes to the right end."""

from __future__ import annotations

import asyncio
import random

import pytest

from sim.faults import Crash, Cut, DiskFull, Isolate, LoseReply, Pause, Slow, SyncFails

from .rig import Rig, check_story

METHODS = (
    "Complete",
    "Register",
    "Submit",
    "Assign",
    "Locate",
    "ReportLostInput",
    "Withdraw",
    "Forget",
    "GetJob",
)

WRONG = {"repeat": 1.0, "late": 0.3, "machine": 0.1, "lose": 0.05, "user": 0.02}
"""What fake workers do wrong, and how probable it is at most."""


def one_life(seed: int, interleave: bool = False) -> None:
    """One random job on random workers, with random faults; then all is healed, and the job must end."""
    chance = random.Random(seed)
    workers, maps, reduces = chance.randint(1, 5), chance.randint(0, 14), chance.randint(0, 5)
    worker = {
        "slots": chance.randint(1, 3),
        "seconds": chance.choice([0.01, 0.3, 1.0]),
        "wrong": {name: chance.choice([0, 0, chance.uniform(0, most)]) for name, most in WRONG.items()},
    }
    rig = Rig(workers, maps=maps, seed=seed, interleave=interleave, worker=worker)

    async def story(rig: Rig):
        job = rig.start(rig.job(reduces=reduces, max_attempts=50))
        for _ in range(chance.randint(0, 10)):
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            strike(rig, chance, [f"w{n}" for n in range(workers)])
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        rig.faults.heal()
        for machine in rig.simulation.machines.values():
            if not machine.running and machine.name != "user":
                machine.restart()
        for made in rig.workers.values():
            made.wrong = {}
        return await job

    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, maps, reduces)


def strike(rig: Rig, chance: random.Random, names: list[str]) -> None:
    """Lets something happen to somebody who is up."""
    name = chance.choice(["master", *names, *names])
    if not rig.simulation.machines[name].running or rig.simulation.machines[name].paused:
        return
    other = chance.choice([other for other in ("master", *names) if other != name])
    fault = chance.choice(
        [
            Crash(host=name),
            Crash(host=name),
            Pause(host=name),
            Isolate(host=name),
            Cut(source=name, target=other, both=chance.random() < 0.5),
            LoseReply(host=name, method=chance.choice(METHODS), count=chance.randint(1, 3)),
            Slow(host=name, cpu=10.0),
            DiskFull(host="master"),
            SyncFails(host="master"),
        ]
    )
    number = rig.faults.inject(fault)

    async def end() -> None:
        await asyncio.sleep(chance.choice([0.1, 1.0, 4.0]))
        if isinstance(fault, Crash):
            if not rig.simulation.machines[name].running:
                rig.simulation.machines[name].restart()
        elif number in rig.faults.active:
            rig.faults.lift(number)

    if fault.lasting:
        ends.add(task := asyncio.create_task(end()))
        task.add_done_callback(ends.discard)


ends: set[asyncio.Task[None]] = set()


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_a_job_ends_right_whatever_happens(seed: int, interleave: bool) -> None:
    one_life(seed, interleave)
