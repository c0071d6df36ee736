"""Cores: what competes for them, and who goes first."""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.cpu import ComputeCost, Cpu, RpcCost
from sim.world.loop import VirtualTime
from sim.world.simulation import Simulation


def ends(cores: int, jobs: list[tuple[int, int, bool]], slow: dict[int, float] | None = None) -> list[int]:
    """Returns when jobs (start, work, urgent) end."""
    env = VirtualTime()
    cpu = Cpu(env, cores)
    found = [-1] * len(jobs)

    def note(number: int) -> None:
        found[number] = env.now

    def starter(number: int, at: int, work: int, urgent: bool) -> Any:
        yield env.timeout(at)
        (cpu.run if urgent else cpu.work)(work, note, number)

    def changer(at: int, factor: float) -> Any:
        yield env.timeout(at)
        cpu.set_slow(factor)

    for number, job in enumerate(jobs):
        env.process(starter(number, *job))
    for at, factor in (slow or {}).items():
        env.process(changer(at, factor))
    env.run()
    assert cpu._free == cores
    assert cpu.busy_ns == pytest.approx(sum(work for _, work, _ in jobs), abs=len(jobs))
    return found


def test_each_core_does_one_thing_at_a_time_in_order() -> None:
    assert ends(2, [(0, 100, True), (0, 100, True), (0, 100, True), (50, 10, True)]) == [100, 100, 200, 110]


def test_messages_go_before_computations_and_only_borrow_the_core() -> None:
    assert ends(1, [(0, 1000, False), (300, 50, True), (310, 50, True)]) == [1100, 350, 400]


def test_computations_take_turns_in_order() -> None:
    assert ends(1, [(0, 100, False), (1, 100, False), (2, 10, True)]) == [110, 210, 12]


def test_a_straggler_takes_its_factor_longer_even_in_the_middle() -> None:
    assert ends(1, [(0, 1000, False)], slow={500: 4.0}) == [2500]
    assert ends(1, [(0, 1000, False), (600, 10, True)], slow={500: 4.0, 900: 1.0}) == [1310, 640]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 50), st.booleans()), min_size=1, max_size=15),
)
def test_no_work_is_lost_and_no_core_idles_while_there_is_some(
    cores: int, jobs: list[tuple[int, int, bool]]
) -> None:
    found = ends(cores, jobs)
    assert all(end >= at + work for end, (at, work, _) in zip(found, jobs, strict=True))
    if cores == 1:
        free = 0
        for at, work, _ in sorted(jobs):
            free = max(free, at) + work
        assert max(found) == free


def test_work_of_a_dead_process_is_forgotten() -> None:
    env = VirtualTime()
    cpu = Cpu(env, 1)
    done: list[str] = []
    cpu.run(100, done.append, "serving")
    cpu.work(100, done.append, "computing")
    env.run(until=150)
    cpu.reset()
    cpu.run(100, done.append, "new")
    env.run()
    assert done == ["serving", "new"]
    assert env.now == 250


def double(values: list[int]) -> list[int]:
    values[:] = [2 * value for value in values]
    return values


def fail() -> None:
    raise LookupError("no such thing")


def on_host(story: Any, **hardware: Any) -> tuple[Any, float]:
    simulation = Simulation()

    async def main() -> Any:
        return await story(simulation.boot("a", **hardware))

    return simulation.run(main()), simulation.now() / 1e9


def test_compute_shares_nothing_with_its_caller_and_charges_what_it_is_told() -> None:
    async def story(host: Any) -> tuple[list[int], list[int]]:
        mine = [1, 2]
        return mine, await host.compute(double, mine, cost=3.0)

    assert on_host(story) == (([1, 2], [2, 4]), 3.0)


def test_compute_raises_what_the_function_raises_and_charges_for_it() -> None:
    async def story(host: Any) -> None:
        with pytest.raises(LookupError, match="no such thing"):
            await host.compute(fail, cost=3.0)

    assert on_host(story)[1] == 3.0


def test_without_a_cost_the_bytes_decide() -> None:
    async def story(host: Any) -> None:
        await host.compute(len, b"x" * 10**6)

    duration = on_host(story, compute_cost=ComputeCost(call=1.0, byte=1e-6))[1]
    assert duration == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(("cost", "fn"), [(-1.0, len), (None, lambda: 0)])
def test_what_a_worker_process_could_not_run_is_refused(cost: float | None, fn: Any) -> None:
    async def story(host: Any) -> None:
        with pytest.raises((ValueError, pickle.PicklingError), match=r"cost is|Can't pickle"):
            await host.compute(fn, *(["x"] if fn is len else []), cost=cost)

    on_host(story)


def test_more_computations_than_cores_queue_up() -> None:
    async def story(host: Any) -> None:
        await asyncio.gather(*(host.compute(len, "x", cost=1.0) for _ in range(5)))

    assert on_host(story, cores=2)[1] == 3.0


def test_a_message_costs_by_its_size() -> None:
    assert RpcCost(message=1.0, byte=0.5).seconds(10) == 6.0
    with pytest.raises(ValueError, match="at least one core, not 0"):
        Simulation().add_host("a", cores=0)
    with pytest.raises(ValueError, match="byte is"):
        RpcCost(byte=-1.0)


def test_handling_a_message_is_one_event() -> None:
    """It stands on the path of every RPC: not much more than a bare SimPy timeout."""
    env = VirtualTime()
    cpu = Cpu(env, 1)
    count = 20_000

    def again(left: int) -> None:
        if left:
            cpu.run(10, again, left - 1)

    def bare() -> Any:
        for _ in range(count):
            yield env.timeout(10)

    def measure(start: Any) -> float:
        started = time.perf_counter()
        start()
        env.run()
        return time.perf_counter() - started

    ratios = [measure(lambda: again(count)) / measure(lambda: env.process(bare())) for _ in range(5)]
    assert min(ratios) < 3
