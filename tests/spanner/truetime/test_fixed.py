"""TrueTime of a fixed uncertainty: what the interval says, and that waiting waits for certainty."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.real.clock import SkewedClock
from services.spanner.truetime import TrueTime
from services.spanner.truetime.fixed import FixedTrueTime
from sim.world.clock import EPOCH
from sim.world.simulation import Simulation

MS = 1_000_000  # ns
SECOND = 1_000 * MS


def test_the_interval_lies_around_the_wall_clock() -> None:
    simulation = Simulation()

    async def main() -> None:
        await asyncio.sleep(1)
        truetime: TrueTime = FixedTrueTime(simulation.machines["main"].clock, 4 * MS)
        now = truetime.now()
        assert now == (EPOCH + SECOND - 4 * MS, EPOCH + SECOND + 4 * MS)
        assert now.epsilon == 4 * MS
        assert not truetime.after(now.earliest)
        assert truetime.after(now.earliest - 1)
        assert not truetime.before(now.latest)
        assert truetime.before(now.latest + 1)

    simulation.run(main())
    clock = simulation.machines["main"].clock
    assert (clock.claims, clock.violations) == (5, 0)


@pytest.mark.parametrize("drift", [0.0, 200e-6, -200e-6, 0.5, -0.5])
def test_the_wait_ends_when_the_time_has_certainly_passed_and_soon(drift: float) -> None:
    simulation = Simulation()
    waited: list[int] = []

    async def main() -> None:
        clock = simulation.machines["main"].clock
        clock.drift(drift)
        truetime = FixedTrueTime(clock, 4 * MS)
        latest = truetime.now().latest
        await truetime.until_after(latest)
        assert truetime.after(latest)
        assert truetime.now().earliest - latest < 0.01 * MS + max(drift, 0) * 8 * MS
        waited.append(simulation.now())
        await truetime.until_after(latest)
        assert simulation.now() == waited[0], "what has passed needs no wait"

    simulation.run(main())
    assert waited[0] == pytest.approx(8 * MS / (1 + drift), rel=abs(drift) + 1e-6)


def test_a_clock_outside_its_bound_is_seen_by_the_world() -> None:
    simulation = Simulation()

    async def main() -> None:
        clock = simulation.machines["main"].clock
        truetime = FixedTrueTime(clock, 4 * MS)
        clock.shift(4 * MS)
        truetime.now()
        assert clock.violations == 0
        clock.shift(1)
        truetime.now()
        assert clock.violations == 1

    simulation.run(main())


def test_on_a_real_loop_it_waits_as_long_too() -> None:
    async def main() -> Any:
        clock = SkewedClock()
        truetime = FixedTrueTime(clock, 2 * MS)
        start = clock.time_ns()
        await truetime.until_after(truetime.now().latest)
        assert clock.time_ns() - start > 4 * MS
        assert clock.violations == 0

    asyncio.run(main())


def test_an_uncertainty_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="an uncertainty of -1 ns: must be 0 or more"):
        FixedTrueTime(SkewedClock(), -1)
