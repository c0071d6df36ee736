"""The same seed gives the same trace, whatever the process, the hash seed and the Python."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from functools import partial
from typing import Any

import pytest

from protos.trace import Note
from services.recorder import Recorder
from sim.simulate import simulate
from sim.world.simulation import Simulation
from tests.pythons import environments

STORY = """
import asyncio
import sys

from services.recorder import Recorder
from sim import faults
from sim.world.disk import SSD
from sim.world.faults import Faults
from sim.world.network import racks
from sim.world.simulation import Simulation


async def program(host):
    found = []
    for name in await host.disk.list():
        found.append(len(await (await host.disk.open(name)).read()))
    host.trace("found", sizes=found)
    file = await host.disk.open(f"log{host.incarnation}", "a")
    while True:
        with host.span("write", roll=host.rng.random()):
            await file.append(b"x" * host.rng.randrange(10_000))
            await asyncio.sleep(host.rng.random())
            await asyncio.gather(*(host.compute(len, "x" * n) for n in range(3)))
        host.trace("time", wall=host.clock.time_ns())


async def main(simulation):
    names = ["a", "b", "c", "d"]
    for name in names:
        simulation.boot(name, program)
    broken = Faults(simulation)
    broken.inject(faults.Loss(rate=0.3))
    broken.inject(faults.Delay(source="a", seconds=0.01, jitter=0.1))
    broken.inject(faults.ClockDrift(host="b", rate=0.01))

    def arrived(what):
        simulation.machines["main"].host.trace("arrived", what=what)

    def done(end, why):
        if end is not None:
            for size in (10, 100_000, 10, 1_000_000):
                end.send(size, arrived, size)

    for name in names:
        process = simulation.machines[name].process
        simulation.network.listen(process, 1, lambda end: None)
        simulation.network.dial(process, names[(names.index(name) + 1) % 4], 1, done)
    for _ in range(5):
        await asyncio.sleep(1)
        crash = broken.inject(faults.Crash(host="c"))
        cut = broken.inject(faults.Partition(groups=[["a", "b"], ["d"]]))
        broken.inject(faults.Corrupt(host="a"))
        await asyncio.sleep(1)
        broken.heal()


recorder = Recorder()
simulation = Simulation(int(sys.argv[1]), recorder=recorder, topology=racks(2), interleave=True)
simulation.run(main(simulation))
print(recorder.count, recorder.sha256)
"""


def trace_of(seed: int, hash_seed: str, python: str = sys.executable) -> str:
    done = subprocess.run(
        [python, "-c", STORY, str(seed)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    traces = {trace_of(5, hash_seed) for hash_seed in ("0", "1", "2")}
    assert len(traces) == 1
    count = int(traces.pop().split()[0])
    assert count > 100


@pytest.mark.parametrize("version", environments())
def test_the_same_seed_gives_the_same_trace_on_every_python_that_is_here(version: str) -> None:
    assert trace_of(5, "3", str(environments()[version])) == trace_of(5, "0")


def test_another_seed_gives_another_trace() -> None:
    assert trace_of(5, "0") != trace_of(6, "0")


def test_a_trace_names_tasks_as_the_program_does_and_not_as_asyncio_numbers_them() -> None:
    """`asyncio.wait_for` starts a task on Python 3.11 and none on 3.12; the trace must not show it."""
    records: list[Any] = []

    async def step(host: Any) -> None:
        host.trace("step")

    async def program(host: Any) -> None:
        await asyncio.wait_for(step(host), 1)
        await asyncio.create_task(step(host))
        await asyncio.create_task(asyncio.wait_for(step(host), 1), name="named")
        asyncio.get_running_loop().call_soon(host.trace, "callback")
        task = asyncio.create_task(step(host))
        task.set_name("renamed")
        await task

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(1)

    simulation = Simulation(recorder=Recorder(keep=records.extend))
    simulation.run(main())
    assert simulation.trace is not None
    simulation.trace.flush()
    tasks = [record.task for record in records if isinstance(record, Note)]
    assert tasks == ["a", "a", "named", "", "renamed"]


class Chatter(asyncio.Protocol):
    pass


def test_asyncio_s_objects_in_sets_come_in_the_same_order_wherever_they_lie_in_memory() -> None:
    rubbish: list[bytearray] = []

    async def main(size: int) -> list[Any]:
        writers: set[asyncio.StreamWriter] = set()

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            await reader.read()

        await asyncio.start_server(keep, "localhost", 1)
        found: list[Any] = []
        for kind in (asyncio.Queue, asyncio.Event, asyncio.Lock, asyncio.Condition, Chatter):
            things = []
            for _ in range(20):
                rubbish.extend(bytearray(random.randrange(500)) for _ in range(size))
                things.append(kind())
            found.append([things.index(thing) for thing in set(things)])
        clients = [(await asyncio.open_connection("localhost", 1))[1] for _ in range(20)]
        await asyncio.sleep(1)
        found.append([writer.get_extra_info("peername") for writer in writers])
        found.append([t.get_extra_info("peername") for t in {writer.transport for writer in writers}])
        for writer in [*clients, *writers]:
            writer.close()
        await asyncio.sleep(1)
        return found

    runs = [simulate(partial(main, size)) for size in (0, 1, 5)]
    assert runs[0] == runs[1] == runs[2]


def test_an_object_hashed_outside_keeps_its_hash_inside() -> None:
    async def nothing() -> None:
        return

    simulate(nothing)
    event = asyncio.Event()
    kept = {event}
    assert hash(event) == object.__hash__(event)

    async def main() -> bool:
        return event in kept

    assert simulate(main)
