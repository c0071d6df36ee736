"""Clocks and timers: what the wall says, what never goes back, and in which order things come due."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.rig import outcome

if TYPE_CHECKING:
    from tests.conformance.rig import Rig

# A timer never fires early; how late it may be depends on the machine, so only the simulation is held to it.


def late(rig: Rig) -> float:
    """Returns by how many seconds a timer may be late: a busy machine's mercy, or nothing at all."""
    return 1.0 if rig.world == "real" else 1e-6


async def test_the_wall_clock(rig: Rig) -> None:
    """It counts from the Unix epoch, in seconds and in nanoseconds alike."""
    clock = rig.clock
    before, between, after = clock.time_ns(), clock.time(), clock.time_ns()
    assert before / 1e9 - 1e-6 <= between <= after / 1e9 + 1e-6
    assert isinstance(before, int) and isinstance(between, float)
    assert before >= 946_684_800 * 10**9  # the year 2000


async def test_the_clocks_advance_together(rig: Rig) -> None:
    """Wall, monotonic and loop time measure the same wait."""
    clock, loop = rig.clock, asyncio.get_running_loop()
    before = clock.time(), clock.monotonic(), loop.time()
    await asyncio.sleep(0.2)
    after = clock.time(), clock.monotonic(), loop.time()
    assert all(0.19 <= b - a <= 0.2 + late(rig) for a, b in zip(before, after, strict=True))


async def test_the_monotonic_clock(rig: Rig) -> None:
    """It never goes back, and is no wall clock."""
    clock = rig.clock
    readings = []
    for _ in range(100):
        readings.append(clock.monotonic())
        await asyncio.sleep(0)
    assert readings == sorted(readings)
    assert clock.monotonic() < clock.time()


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_jump_of_the_wall_clock(rig: Rig, seconds: float) -> None:
    """The wall clock jumps, forward or back; the monotonic clock and timers know nothing of it."""
    clock, loop = rig.clock, asyncio.get_running_loop()
    before = clock.time(), clock.monotonic(), loop.time()
    rig.set_clock(offset=seconds)
    await asyncio.sleep(0.1)
    after = clock.time(), clock.monotonic(), loop.time()
    wall, monotonic, timers = (b - a for a, b in zip(before, after, strict=True))
    assert 0.09 <= wall - seconds <= 0.1 + late(rig)
    assert 0.09 <= monotonic <= 0.1 + late(rig)
    assert 0.09 <= timers <= 0.1 + late(rig)


async def test_a_clock_that_drifts(rig: Rig) -> None:
    """Wall and monotonic clock run at the host's own rate; timers keep true time."""
    clock, loop = rig.clock, asyncio.get_running_loop()
    rig.set_clock(drift=1.0)
    before = clock.time(), clock.monotonic(), loop.time()
    await asyncio.sleep(0.2)
    after = clock.time(), clock.monotonic(), loop.time()
    wall, monotonic, timers = (b - a for a, b in zip(before, after, strict=True))
    assert 0.19 <= timers <= 0.2 + late(rig)
    assert abs(wall - 2 * timers) < 0.1 and abs(monotonic - 2 * timers) < 0.1


async def test_sleepers_wake_in_order(rig: Rig) -> None:
    """By when they are due, whatever the order in which they lay down."""
    seen: list[int] = []

    async def sleeper(number: int) -> None:
        await asyncio.sleep(number * 0.02)
        seen.append(number)

    await asyncio.gather(*(sleeper(number) for number in (3, 1, 5, 2, 4)))
    assert seen == [1, 2, 3, 4, 5]


async def test_timers_in_order(rig: Rig) -> None:
    """`call_at` and `call_later` share one order; what was called off does not come."""
    loop, seen = asyncio.get_running_loop(), []
    now = loop.time()
    loop.call_at(now + 0.06, seen.append, "at 60")
    loop.call_later(0.02, seen.append, "after 20")
    called_off = loop.call_later(0.03, seen.append, "never")
    loop.call_at(now + 0.04, seen.append, "at 40")
    loop.call_soon(seen.append, "soon")
    loop.call_at(now - 1, seen.append, "overdue")
    called_off.cancel()
    await asyncio.sleep(0.1)
    assert seen == ["soon", "overdue", "after 20", "at 40", "at 60"]
    assert called_off.cancelled()


async def test_callbacks_in_order(rig: Rig) -> None:
    """`call_soon` keeps order, and what is added while it runs comes in the next turn."""
    loop, seen = asyncio.get_running_loop(), []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "third")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    for _ in range(3):
        await asyncio.sleep(0)
    assert seen == ["first", "second", "third"]


async def test_no_sleep_is_short(rig: Rig) -> None:
    """A sleep of zero or less lets others run, once; longer ones last at least as long as asked."""
    loop, seen = asyncio.get_running_loop(), []
    loop.call_soon(seen.append, "other")
    await asyncio.sleep(0)
    seen.append("me")
    loop.call_soon(seen.append, "other")
    await asyncio.sleep(-1)
    seen.append("me")
    assert seen == ["other", "me"] * 2
    for seconds in (0.001, 0.05):
        before = loop.time()
        assert await asyncio.sleep(seconds, "result") == "result"
        assert seconds - 1e-3 <= loop.time() - before <= seconds + late(rig)


async def test_a_timeout(rig: Rig) -> None:
    """`asyncio.timeout` ends what takes too long, may be put off, and knows whether it expired."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05) as limit:
            limit.reschedule(before + 0.1)
            await asyncio.sleep(10)
    assert limit.expired()
    assert 0.09 <= loop.time() - before <= 0.1 + late(rig)
    async with asyncio.timeout(5) as limit:
        await asyncio.sleep(0.01)
    assert not limit.expired()


async def test_waiting_for_the_first(rig: Rig) -> None:
    """`wait` and `as_completed` see the shorter sleep end first."""

    async def sleeper(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (0.3, 0.02)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [0.02]
    assert len(pending) == 1
    done, _ = await asyncio.wait(pending, timeout=0.02)
    assert done == set()
    tasks[0].cancel()
    assert await outcome(tasks[0]) == "CancelledError"
    finished = [await earliest for earliest in asyncio.as_completed([sleeper(0.06), sleeper(0.02)])]
    assert finished == [0.02, 0.06]


async def test_a_clock_is_read_often(rig: Rig) -> None:
    """Reading the time takes none in the simulation and hardly any on a machine."""
    clock = rig.clock
    before = clock.time_ns()
    readings: list[Any] = [clock.time_ns() for _ in range(1000)]
    assert readings == sorted(readings)
    assert clock.time_ns() - before <= (10**9 if rig.world == "real" else 0)
