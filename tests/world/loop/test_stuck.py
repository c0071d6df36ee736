"""A run that goes nowhere ends with a report that names who waits where."""

from __future__ import annotations

import asyncio

import pytest

from sim.simulate import simulate
from sim.world.simulation import Simulation
from sim.world.stuck import Deadlock, RealTimeLimit, Spinning, VirtualTimeLimit


async def wait_for_nothing() -> None:
    await asyncio.get_running_loop().create_future()


def line_of(words: str) -> str:
    """Returns "test_stuck.py:N" of the line of this file that reads so."""
    with open(__file__) as file:
        lines = [number for number, line in enumerate(file, 1) if line.strip() == words]
    assert len(lines) == 1
    return f"test_stuck.py:{lines[0]}"


def test_a_deadlock_names_every_waiting_task_its_host_and_its_line() -> None:
    async def program() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_nothing(), name="first")
            group.create_task(wait_for_nothing(), name="second")

    async def main() -> None:
        simulation.boot("alpha", program, adopt=True)
        simulation.boot("beta", program, adopt=True)
        await asyncio.Event().wait()

    simulation = Simulation()
    with pytest.raises(Deadlock) as stuck:
        simulation.run(main())
    said = str(stuck.value)
    where = line_of("await asyncio.get_running_loop().create_future()")
    for host in ("alpha", "beta"):
        for name in ("first", "second"):
            assert f"{host}: {name} (wait_for_nothing) waits at " in said
    assert said.count(where) == 4
    assert f"main: main ({main.__qualname__}) waits at " in said
    assert line_of("await asyncio.Event().wait()") in said


def test_the_limit_of_virtual_time_is_reported_in_the_same_way() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(1)

    with pytest.raises(VirtualTimeLimit) as stuck:
        simulate(main, limit_s=60)
    said = str(stuck.value)
    assert "60 s of virtual time" in said
    assert line_of("await asyncio.sleep(1)") in said


def test_a_task_that_never_lets_time_pass_is_named() -> None:
    async def spinner() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        quiet = asyncio.create_task(wait_for_nothing())
        await asyncio.create_task(spinner(), name="spinner")
        await quiet

    with pytest.raises(Spinning) as stuck:
        simulate(main)
    said = str(stuck.value)
    assert "spinner" in said
    assert line_of("await asyncio.sleep(0)") in said
    assert "wait_for_nothing" not in said


def test_a_task_that_never_waits_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.__globals__, "STEP_LIMIT_S", 0.3)
    turns = 0

    async def main() -> None:
        nonlocal turns
        while True:
            turns += 1

    with pytest.raises(RealTimeLimit) as stuck:
        simulate(main)
    assert "localhost: Task-1" in str(stuck.value)
    assert "test_stuck.py" in str(stuck.value)
    assert turns > 0
