"""Children of a simulated host: what they cost, and what faults do to them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from services.child import ChildDied
from sim.world.disk import DiskModel
from sim.world.reality import RealityLeak
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from services.child import Inside
    from sim.world.host import SimHost

DISK = DiskModel(call=0.0, seek=0.5, flush=0.0, bandwidth=1000.0)


def write(inside: Inside, size: int) -> None:
    with inside.disk.open("file", "wb") as file:
        file.write(bytes(size))


def read(inside: Inside) -> int:
    with inside.disk.open("file") as file:
        return len(file.read())


def tell(inside: Inside, count: int) -> None:
    for number in range(count):
        inside.tell(number)


def look_at_the_clock(inside: Inside) -> float:
    return time.time()


def stop_oneself(inside: Inside) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def signal_another(inside: Inside) -> None:
    os.kill(1, signal.SIGKILL)


def nothing(inside: Inside) -> None:
    pass


def simulate(case: Callable[[SimHost], Awaitable[Any]], seed: int = 0, cores: int = 4) -> Simulation:
    """Runs a case as the program of a host."""
    simulation = Simulation(seed)
    simulation.add_host("a", disk=DISK, cores=cores)
    ended: list[None] = []

    async def program(host: SimHost) -> None:
        await case(host)
        ended.append(None)

    async def main() -> None:
        simulation.boot("a", program)
        while simulation.machines["a"].running:
            await asyncio.sleep(0.1)

    simulation.run(main())
    assert ended or simulation.machines["a"].failure is None
    return simulation


async def timed(call: Awaitable[Any]) -> float:
    """Returns how many virtual seconds a call takes."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    await call
    return round(loop.time() - start, 6)


def free(_: Any) -> float:
    return 0.0


def test_time_is_that_of_the_disk_and_the_declared_cost() -> None:
    async def case(host: SimHost) -> None:
        child = host.child(cost=lambda result: 3.0)
        assert await timed(child.run(write, 1000)) == 0.5 + 1.0 + 3.0
        assert await timed(child.run(read)) == 3.0  # cached

    simulate(case)


def test_a_cold_file_is_read_from_the_device_once() -> None:
    async def case(host: SimHost) -> None:
        child = host.child(cost=free)
        await child.run(write, 2000)
        host.machine.disk._files["file"].cached = False
        assert await timed(child.run(read)) == 0.5 + 2.0
        assert await timed(child.run(read)) == 0.0

    simulate(case)


def test_children_wait_for_the_head_and_the_cores() -> None:
    async def case(host: SimHost) -> None:
        disk = [host.child(cost=free).run(write, 1000) for _ in range(2)]
        assert await asyncio.gather(*map(timed, disk)) == [1.5, 3.0]
        cores = [host.child(cost=lambda result: 2.0).run(nothing) for _ in range(2)]
        assert await asyncio.gather(*map(timed, cores)) == [2.0, 4.0]

    simulate(case, cores=1)


def test_a_slow_host_is_slow_for_its_children() -> None:
    async def case(host: SimHost) -> None:
        host.machine.disk.slow = 4.0
        host.machine.cpu.set_slow(10.0)
        assert await timed(host.child(cost=lambda result: 1.0).run(write, 1000)) == 4 * 1.5 + 10.0

    simulate(case)


def test_messages_come_out_while_the_processor_is_paid() -> None:
    async def case(host: SimHost) -> None:
        loop, times = asyncio.get_running_loop(), []
        child = host.child(cost=lambda result: 4.0, heard=lambda number: times.append((number, loop.time())))
        start = loop.time()
        await child.run(tell, 3)
        assert [(number, at - start) for number, at in times] == [(0, 1.0), (1, 2.0), (2, 3.0)]

    simulate(case)


def test_a_killed_child_frees_its_core() -> None:
    async def case(host: SimHost) -> None:
        one, two = host.child(cost=lambda result: 100.0), host.child(cost=lambda result: 1.0)
        call = asyncio.ensure_future(one.run(nothing))
        await asyncio.sleep(1)
        waiting = asyncio.ensure_future(timed(two.run(nothing)))
        await asyncio.sleep(1)
        one.kill("enough")
        with pytest.raises(ChildDied, match="enough"):
            await call
        assert await waiting == 2.0

    simulate(case, cores=1)


def test_a_crash_while_a_call_is_paid_loses_what_it_wrote_and_says_nothing() -> None:
    """Over some seeds the unsynced file is there whole, in part, or not at all."""

    def life(seed: int) -> int:
        simulation = Simulation(seed)
        simulation.add_host("a", disk=DISK)
        came_out: list[None] = []

        async def program(host: SimHost) -> None:
            await host.child(cost=lambda result: 10.0).run(write, 5000)
            came_out.append(None)

        async def main() -> int:
            machine = simulation.boot("a", program).machine
            await asyncio.sleep(8)
            machine.crash()
            await asyncio.sleep(100)
            assert not came_out
            return machine.disk.size_now("file") if machine.disk.exists_now("file") else -1

        found: int = simulation.run(main())
        return found

    sizes = {life(seed) for seed in range(30)}
    assert {-1, 0, 5000} <= sizes and len(sizes) > 3


def test_a_paused_host_hears_of_its_child_when_it_goes_on() -> None:
    simulation = Simulation(0)
    ends: list[float] = []

    async def program(host: SimHost) -> None:
        await host.child(cost=lambda result: 1.0).run(nothing)
        ends.append(asyncio.get_running_loop().time())

    async def main() -> None:
        machine = simulation.boot("a", program).machine
        await asyncio.sleep(0.5)
        machine.pause()
        await asyncio.sleep(9.5)
        assert not ends
        machine.resume()
        await asyncio.sleep(1)

    simulation.run(main())
    assert ends == [10.0]


def test_no_leak_of_reality() -> None:
    async def case(host: SimHost) -> None:
        child = host.child()
        with pytest.raises(RealityLeak, match=r"time\.time\(\)"):
            await child.run(look_at_the_clock)
        with pytest.raises(RealityLeak, match="it may only signal itself"):
            await child.run(signal_another)

    simulate(case)


def test_a_child_that_has_stopped_itself_waits_to_be_killed() -> None:
    async def case(host: SimHost) -> None:
        child = host.child()
        call = asyncio.ensure_future(child.run(stop_oneself))
        await asyncio.sleep(1000)
        assert not call.done()
        child.kill("no progress")
        with pytest.raises(ChildDied, match="no progress"):
            await call

    simulate(case)


def test_a_negative_cost_is_refused() -> None:
    async def case(host: SimHost) -> None:
        with pytest.raises(ValueError, match=r"child: cost is -1\.0 s"):
            await host.child(cost=lambda result: -1.0).run(nothing)

    simulate(case)
