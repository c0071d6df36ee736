"""What came due in a pause or after a crash: cancelled timers stay cancelled, nothing of the dead runs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

from services.host import Host
from sim.world.simulation import Simulation


def test_a_timer_that_came_due_in_a_pause_can_still_be_cancelled_by_an_earlier_one() -> None:
    simulation, ran = Simulation(), list[str]()

    async def program(host: Host) -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later(1.1, ran.append, "later")
        loop.call_later(1.0, lambda: (ran.append("earlier"), later.cancel()))
        await asyncio.sleep(9)
        assert later.cancelled()

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(0.5)
        simulation.machines["a"].pause()
        await asyncio.sleep(2)
        simulation.machines["a"].resume()
        await asyncio.sleep(10)

    simulation.run(main())
    assert ran == ["earlier"]
    assert simulation.failures == []


def test_nothing_that_only_a_timer_of_a_dead_process_held_runs_when_the_timer_is_due() -> None:
    simulation, ran = Simulation(), list[str]()

    class Loud:
        def __del__(self) -> None:
            ran.append("__del__")

    def generator() -> Iterator[None]:
        try:
            yield
        finally:
            ran.append("finally")

    async def program(host: Host) -> None:
        suspended = generator()
        next(suspended)
        asyncio.get_running_loop().call_later(5, print, suspended, Loud())
        del suspended
        await asyncio.sleep(100)

    async def main() -> None:
        simulation.boot("a", program)
        await asyncio.sleep(1)
        simulation.machines["a"].crash()
        await asyncio.sleep(10)
        gc.collect()
        assert ran == []

    simulation.run(main())
