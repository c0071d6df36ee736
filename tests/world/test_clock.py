"""Clocks: right by default, wrong as told, and never running backwards where they must not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.trace import ClockSample, Note
from services.recorder import Recorder
from sim.world.clock import EPOCH, HostClock
from sim.world.loop import SECOND, VirtualTime
from sim.world.simulation import Simulation


def clock() -> tuple[VirtualTime, HostClock, list[Any]]:
    env = VirtualTime()
    recorder = Recorder()
    records: list[Any] = []
    recorder.write = records.append  # type: ignore[method-assign]
    return env, HostClock(env, "a", recorder), records


def test_a_clock_starts_with_the_year_2000_and_is_right() -> None:
    env, host, _ = clock()
    env.run(until=1_500_000_000)
    assert host.time_ns() == EPOCH + 1_500_000_000
    assert host.time() == 946_684_801.5
    assert host.monotonic() == 1.5


def test_a_jump_moves_the_wall_clock_alone() -> None:
    env, host, _ = clock()
    env.run(until=SECOND)
    host.shift(-5 * SECOND)
    assert host.time_ns() == EPOCH - 4 * SECOND
    assert host.monotonic() == 1.0


def test_drift_adds_up_in_both_clocks_and_stays_when_it_ends() -> None:
    env, host, _ = clock()
    host.drift(0.01)
    env.run(until=100 * SECOND)
    assert host.monotonic() == 101.0
    host.drift(0.0)
    env.run(until=200 * SECOND)
    assert host.offset_ns == SECOND
    assert host.monotonic() == 201.0


def test_a_clock_that_would_stand_still_is_refused() -> None:
    with pytest.raises(ValueError, match=r"clock drift of -1\.0 on a"):
        clock()[1].drift(-1.0)


@given(st.lists(st.tuples(st.integers(1, 10**12), st.floats(-0.99, 9)), max_size=20))
def test_the_monotonic_clock_never_goes_back(changes: list[tuple[int, float]]) -> None:
    env, host, _ = clock()
    before = host.monotonic_ns()
    for duration, rate in changes:
        host.drift(rate)
        assert host.monotonic_ns() == before, "a change of rate is not a jump"
        env.run(until=env.now + duration)
        assert host.monotonic_ns() >= before
        before = host.monotonic_ns()


@given(st.lists(st.tuples(st.integers(1, 10**10), st.integers(-(10**10), 10**10), st.floats(-0.5, 0.5))))
def test_the_samples_draw_the_offset_exactly(changes: list[tuple[int, int, float]]) -> None:
    """Between two samples the offset is linear, so that a picture needs no others."""
    env, host, records = clock()
    seen: list[tuple[int, int]] = []
    for duration, jump, rate in changes:
        host.shift(jump)
        host.drift(rate)
        env.run(until=env.now + duration // 2 + 1)
        seen.append((env.now, host.offset_ns))
        env.run(until=env.now + duration)
    host.sample()
    samples = [(record.time, record.offset) for record in records]
    for time, offset in seen:
        before = [s for s in samples if s[0] <= time][-1]
        after = next(s for s in samples if s[0] > time)
        between = before[1] + (after[1] - before[1]) * (time - before[0]) / (after[0] - before[0])
        assert abs(between - offset) <= 2


def test_timers_do_not_mind_the_clock() -> None:
    async def program(host: Any) -> None:
        await asyncio.sleep(10)
        raise SystemError(str(simulation.now()))

    async def main() -> None:
        simulation.boot("a", program)
        simulation.machines["a"].clock.drift(1.0)
        simulation.machines["a"].clock.shift(1000 * SECOND)
        await asyncio.sleep(20)

    simulation = Simulation()
    simulation.run(main())
    assert str(simulation.failures[0][1]) == str(10 * SECOND)


def test_a_run_samples_the_clocks_that_were_touched_at_its_end() -> None:
    async def main() -> None:
        simulation.boot("a")
        simulation.boot("b")
        simulation.machines["b"].clock.drift(0.5)
        simulation.machines["b"].clock.sample(bound=7)
        await asyncio.sleep(2)

    records: list[Any] = []
    simulation = Simulation(recorder=Recorder(keep=records.extend))
    simulation.run(main())
    assert simulation.trace is not None
    simulation.trace.flush()
    samples = [record for record in records if isinstance(record, ClockSample)]
    assert samples == [
        ClockSample(0, "b", 0),
        ClockSample(0, "b", 0, 7),
        ClockSample(2 * SECOND, "b", SECOND),
    ]


def test_a_claim_that_does_not_hold_is_noted_once_a_stretch_with_the_worst_of_it() -> None:
    env, host, records = clock()
    env.run(until=SECOND)
    now = EPOCH + SECOND
    host.claim(now, now)
    assert not records
    host.claim(now + 5, now + 10)
    host.claim(now - 30, now - 20)
    host.claim(now + 1, now + 10)
    host.claim(now - 1, now + 1)
    host.claim(now - 7, now - 6)
    assert records == [
        Note(SECOND, "a", "truetime-violated", fields={"by_ns": 5, "side": "earliest", "width_ns": 5}),
        Note(SECOND, "a", "truetime-contained", fields={"worst_ns": 20}),
        Note(SECOND, "a", "truetime-violated", fields={"by_ns": 6, "side": "latest", "width_ns": 1}),
    ]
    assert (host.claims, host.violations) == (6, 4)


def test_a_claim_can_be_drawn_from_the_trace() -> None:
    env, host, records = clock()
    env.run(until=SECOND)
    host.claim(EPOCH + SECOND - 10, EPOCH + SECOND + 30, traced=True)
    assert records == [ClockSample(SECOND, "a", 0, 20, 10)]
