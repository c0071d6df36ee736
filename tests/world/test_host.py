"""Machines outlive their processes; processes die whole; a run ends without a trace of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from protos.trace import HostEvent, Note, Span
from services.recorder import Recorder
from sim.world.network import racks
from sim.world.simulation import Simulation
from sim.world.stuck import Deadlock


def recorded() -> tuple[Simulation, list[Any]]:
    records: list[Any] = []
    return Simulation(7, recorder=Recorder(keep=records.extend)), records


def of(records: list[Any], kind: type) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def test_a_run_returns_what_its_coroutine_returns() -> None:
    async def main() -> str:
        await asyncio.sleep(3600)
        return "done"

    assert Simulation().run(main()) == "done"


def test_a_run_raises_what_its_coroutine_raises() -> None:
    async def main() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        Simulation().run(main())


def test_a_program_gets_its_host_and_its_parameters() -> None:
    seen: list[Any] = []

    async def program(host: Any, *, size: int) -> None:
        seen.append((host.name, host.incarnation, size))

    async def main() -> None:
        simulation.boot("a", program, {"size": 3})
        await asyncio.sleep(0)

    simulation = Simulation()
    simulation.run(main())
    assert seen == [("a", 0, 3)]


def test_an_adopted_program_gets_no_host() -> None:
    seen: list[Any] = []

    async def program(size: int) -> None:
        seen.append(size)

    async def main() -> None:
        simulation.boot("a", program, {"size": 3}, adopt=True)
        await asyncio.sleep(0)

    simulation = Simulation()
    simulation.run(main())
    assert seen == [3]


def test_nothing_of_a_crashed_process_runs_again() -> None:
    after: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            after.append("child's finally")

    async def program(host: Any) -> None:
        task = asyncio.create_task(child())
        asyncio.get_running_loop().call_later(5, after.append, "timer")
        try:
            await task
        except BaseException:
            after.append("except")
            raise

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(1)
        simulation.machines["a"].crash()
        await asyncio.sleep(100)

    simulation = Simulation()
    simulation.run(main())
    assert after == []


def test_restart_starts_the_same_program_as_the_next_incarnation() -> None:
    seen: list[tuple[int, float]] = []

    async def program(host: Any, *, bound: int) -> None:
        seen.append((host.incarnation, host.rng.randrange(bound)))
        await asyncio.sleep(1e6)

    async def main() -> None:
        simulation.boot("a", program, {"bound": 10**12})
        for _ in range(2):
            await asyncio.sleep(1)
            simulation.machines["a"].crash()
            simulation.machines["a"].restart()
        await asyncio.sleep(1)

    simulation = Simulation()
    simulation.run(main())
    assert [incarnation for incarnation, _ in seen] == [0, 1, 2]
    assert len({draw for _, draw in seen}) == 3, "each incarnation has chance of its own"


def test_stop_lets_the_program_and_its_tasks_clean_up() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(1)
            ended.append("child")

    async def program(host: Any) -> None:
        background = asyncio.create_task(child())
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append("program")
        await background

    async def main() -> float:
        simulation.boot("a", program)
        await asyncio.sleep(1)
        await simulation.machines["a"].stop()
        return simulation.loop.time()

    simulation, records = recorded()
    assert simulation.run(main()) == 2.0
    assert ended == ["program", "child"]
    simulation.trace.flush()
    assert [event.name for event in of(records, HostEvent) if event.host == "a"] == ["boot", "exit"]


def test_a_program_that_raises_takes_its_host_down_and_is_reported() -> None:
    reports: list[str] = []

    async def program(host: Any) -> None:
        await asyncio.sleep(1)
        raise LookupError("no such luck")

    async def main() -> bool:
        simulation.on_failure = lambda name, error: reports.append(f"{name}: {error}")
        simulation.boot("a", program)
        await asyncio.sleep(2)
        return simulation.machines["a"].running

    simulation, records = recorded()
    assert simulation.run(main()) is False
    assert reports == ["a: no such luck"]
    assert [(name, type(error)) for name, error in simulation.failures] == [("a", LookupError)]
    simulation.trace.flush()
    (event,) = [event for event in of(records, HostEvent) if event.name == "exit"]
    assert event.time == 10**9
    assert event.fields == {"error": "LookupError: no such luck"}


@pytest.mark.parametrize(("status", "failures"), [(0, []), (3, ["the program exited with status 3"])])
def test_sys_exit_ends_the_program_and_not_the_world(status: int, failures: list[str]) -> None:
    async def program(host: Any) -> None:
        sys.exit(status)

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(1)
        assert not simulation.machines["a"].running

    simulation = Simulation()
    simulation.run(main())
    assert [str(error) for _, error in simulation.failures] == failures


def test_the_host_of_a_run_watches_and_takes_nobodys_place() -> None:
    async def main() -> dict[str, str]:
        simulation.boot("a")
        simulation.boot("b")
        return dict(simulation.network.hosts)

    simulation = Simulation(topology=racks(2))
    assert simulation.run(main()) == {"main": "rack1", "a": "rack1", "b": "rack2"}


def test_a_paused_host_goes_on_where_it_stood() -> None:
    times: list[float] = []

    async def program(host: Any) -> None:
        while True:
            await asyncio.sleep(1)
            times.append(simulation.loop.time())

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(2.5)
        simulation.machines["a"].pause()
        await asyncio.sleep(7)
        simulation.machines["a"].resume()
        await asyncio.sleep(1.5)

    simulation = Simulation()
    simulation.run(main())
    assert times == [1.0, 2.0, 9.5, 10.5]


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("crash", "a is down: there is nothing to crash"),
        ("pause", "a is down: there is nothing to pause"),
        ("resume", "a is down: there is nothing to resume"),
        ("restart", "a was never booted"),
    ],
)
def test_what_a_machine_cannot_do_it_says(verb: str, message: str) -> None:
    machine = Simulation().add_host("a")
    with pytest.raises(ValueError, match=message):
        getattr(machine, verb)()


@pytest.mark.parametrize("name", ["", "a:1", "a/b"])
def test_a_name_that_no_target_could_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a host"):
        Simulation().add_host(name)


def test_notes_and_spans_say_when_where_and_in_which_task() -> None:
    async def program(host: Any) -> None:
        host.trace("elected", epoch=3)
        with host.span("mapping", shard=1) as fields:
            await asyncio.sleep(2)
            fields["words"] = 10
        with pytest.raises(KeyError), host.span("failing"):
            raise KeyError
        with host.span("interrupted"):
            await asyncio.sleep(1e6)

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(5)
        simulation.machines["a"].crash()

    simulation, records = recorded()
    simulation.run(main())
    simulation.trace.flush()
    assert of(records, Note) == [Note(0, "a", "elected", "a", {"epoch": 3})]
    assert [(s.name, s.start, s.time, s.ok, s.fields) for s in of(records, Span)] == [
        ("mapping", 0, 2 * 10**9, True, {"shard": 1, "words": 10}),
        ("failing", 2 * 10**9, 2 * 10**9, False, {}),
        ("interrupted", 2 * 10**9, 5 * 10**9, False, {}),
    ]


def test_a_client_host_runs_no_program() -> None:
    async def main() -> int:
        host = simulation.boot("client")
        await asyncio.sleep(1)
        return await host.compute(len, "four")

    simulation = Simulation()
    assert simulation.run(main()) == 4


NOISE = """
import asyncio
from sim.world.simulation import Simulation

async def generator():
    try:
        while True:
            yield 1
            await asyncio.sleep(1)
    finally:
        print("finally of the dead")

async def program(host):
    asyncio.create_task(asyncio.sleep(1e6))
    try:
        async for _ in generator():
            pass
    finally:
        await asyncio.sleep(1)
        print("finally of the dead")

async def main(simulation, forever):
    for name in "abc":
        simulation.boot(name, program)
    await asyncio.sleep(3)
    simulation.machines["a"].crash()
    if forever:
        await asyncio.Event().wait()

for forever in (False, True):
    simulation = Simulation(limit_s=10)
    try:
        simulation.run(main(simulation, forever))
    except RuntimeError as exc:
        print(type(exc).__name__)
"""


def test_the_end_of_a_run_and_of_python_is_silent() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", NOISE], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("VirtualTimeLimit\n", "")


def test_a_deadlocked_run_ends_clean() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    simulation = Simulation()
    with pytest.raises(Deadlock, match="main"):
        simulation.run(main())
    assert simulation.loop.is_closed()
