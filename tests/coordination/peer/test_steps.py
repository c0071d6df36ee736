"""A server of three that crashes at each step of its disk, in a workload with an election and snapshots.

Every operation that the server does on its disk in that workload is one step; the seed decides what of the
unsynced bytes and names survives. Afterwards it comes back, and everybody has delivered the same.

    python -m tests.coordination.peer.test_steps

takes every step of every host, one after the other (the suite: every third), and then the storage alone
with every state that a crash may leave, and every torn length of the log's last record
(`storage/test_crashes.py`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.world.simulation import Simulation
from tests.coordination.peer import machine
from tests.coordination.peer.hunt import Witness
from tests.coordination.peer.machine import RUNNING, ensemble, serve, until

HOSTS = ("zk1", "zk2", "zk3")
STRIDE = 3  # the suite's: each of its hosts begins at another step


class Steps:
    """Crashes a machine at its n-th operation on its disk.

    Attributes:
        count: how many there were.
    """

    def __init__(self, simulation: Simulation, host: str, at: int) -> None:
        self.count = 0
        machine_ = simulation.machines[host]
        pay, request = machine_.disk._pay, machine_.disk._request

        async def step(how: Any, *args: Any, **options: Any) -> None:
            self.count += 1
            if self.count == at:
                machine_.crash()
                await asyncio.sleep(1e6)  # it never returns
            await how(*args, **options)

        machine_.disk._pay = lambda cost: step(pay, cost)  # type: ignore[method-assign]
        machine_.disk._request = lambda size, **o: step(request, size, **o)  # type: ignore[method-assign]


def story(host: str, at: int) -> int:
    """Tells it, and returns how many steps there were."""
    RUNNING.clear()
    simulation = Simulation(at, limit_s=300)
    machine.JOURNAL = Witness
    Witness.order = []
    hosts = list(HOSTS)
    options = {"members": str(ensemble(3)), "snap_count": 6, "keep_snapshots": 1}
    steps: Any = None

    def up() -> Iterator[str]:
        return (one for one in hosts if one in RUNNING and simulation.machines[one].running)

    def leader() -> str | None:
        return next((one for one in up() if RUNNING[one][1].phase == "leading"), None)

    def revive() -> None:
        for one in hosts:
            if not simulation.machines[one].running:
                simulation.machines[one].restart()

    async def propose(count: int) -> None:
        """Has whoever leads propose until so many more have been delivered."""
        goal = len(Witness.order) + count
        while len(Witness.order) < goal:
            if len(list(up())) < 2:
                revive()
            now = leader()
            if now is not None:
                process = simulation.machines[now].host.process
                process.context.copy().run(RUNNING[now][1].propose, b"%d" % len(Witness.order))
            await asyncio.sleep(0.01)

    async def main() -> None:
        nonlocal steps
        for one in hosts:
            simulation.add_host(one)
        steps = Steps(simulation, host, at)
        for one in hosts:
            simulation.boot(one, serve, options)
        await propose(4)
        revive()
        first = leader()
        if first is not None:
            simulation.machines[first].crash()
        await propose(7)
        revive()
        await propose(4)
        revive()

        def settled() -> bool:
            revive()
            return len(list(up())) == 3 and all(
                RUNNING[one][1].phase != "looking" and len(RUNNING[one][0].delivered) == len(Witness.order)
                for one in hosts
            )

        await until(settled, within=60.0)

    simulation.run(main())
    assert simulation.failures == []
    return int(steps.count)


def crash_at_each_step(host: str, first: int, stride: int) -> int:
    """Tells the story with a crash at each of these steps; returns how many steps there are."""
    steps = story(host, 0)
    for at in range(first, steps + 1, stride):
        story(host, at)
    return steps


@pytest.mark.parametrize(("host", "first"), [("zk1", 1), ("zk3", 2)])
def test_a_crash_at_each_step(host: str, first: int) -> None:
    assert crash_at_each_step(host, first, STRIDE) > 60


if __name__ == "__main__":
    for one in HOSTS:
        print(one, crash_at_each_step(one, 1, 1), "steps, nothing lost")
    sys.exit(pytest.main(["-v", str(Path(__file__).parents[1] / "storage" / "test_crashes.py")]))
