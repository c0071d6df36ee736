"""Reports of runs that go nowhere name whoever is to blame."""

from __future__ import annotations

import asyncio

import pytest

from services.host import Host
from sim.simulate import simulate
from sim.world.simulation import Simulation
from sim.world.stuck import Deadlock, Spinning


def test_callbacks_that_call_each_other_for_ever_are_named() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.sleep(1)

    with pytest.raises(Spinning) as caught:
        simulate(main)
    assert "localhost: callback test_callbacks_that" in str(caught.value)
    assert "again at tests" in str(caught.value).replace("\\", "/")


def test_a_deadlock_s_report_tells_hosts_that_are_paused_from_those_that_wait() -> None:
    simulation = Simulation()

    async def program(host: Host) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        simulation.boot("a", program)
        simulation.boot("b", program)
        await asyncio.sleep(1)
        simulation.machines["b"].pause()
        await asyncio.Event().wait()

    with pytest.raises(Deadlock) as caught:
        simulation.run(main())
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines if " waits at " in line] == ["main:", "a:"]
    assert [line.split()[0] for line in lines if " is paused at " in line] == ["b:"]
