"""What a simulated RPC costs, in bare SimPy timeouts.

Reference: `yield env.timeout(1)` in one process of a plain `simpy.Environment`, measured in turn with the
RPCs in this same interpreter; printed is the median of the ratios. Targets: a
traced unary RPC with its four serializations at most 6, with a network of latency and bandwidth at most 12;
and with 1,000 hosts at 10,000 RPCs a virtual second at most 1.5 times the cost with 10 hosts. (There the
network answers within 0.2 ms, so that each of 10 hosts, too, sleeps between its 1,000 RPCs a second: at the
default's 1 ms it would never get round to it, and the two would be compared at different work.)

Run as `python -m tests.bench.rpc [--quick]`.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from typing import TYPE_CHECKING, Any

import simpy

from protos import echo_pb2 as pb
from protos import echo_pb2_grpc as echo
from services.recorder import Recorder
from sim.world.network import lan
from sim.world.simulation import Simulation
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterator

    import networkx as nx

RATE = 10_000  # RPCs a virtual second, all hosts together


class Echo(echo.EchoServicer):
    async def Say(self, request: Any, context: Any) -> Any:
        return request


async def serve(host: Any) -> None:
    server = host.serve()
    echo.add_EchoServicer_to_server(Echo(), server)
    await server.start()
    await server.wait_for_termination()


def run(simulation: Simulation, name: str, main: Coroutine[Any, Any, None]) -> float:
    """Runs a coroutine on a host and returns the seconds that took."""
    host = simulation.machines[name].host if name in simulation.machines else simulation.boot(name)
    task = simulation.loop.create_task(main, context=host.process.context.copy())
    gc.collect()
    start = time.process_time()
    simulation.loop.run_until_complete(task)
    return time.process_time() - start


def timeouts(count: int) -> float:
    """Returns the seconds of a bare SimPy timeout."""

    def process() -> Generator[Any, Any, None]:
        for _ in range(count):
            yield env.timeout(1)

    env = simpy.Environment()
    env.process(process())
    gc.collect()
    gc.disable()
    start = time.process_time()
    env.run()
    taken = time.process_time() - start
    gc.enable()
    return taken / count


def unary(count: int, topology: nx.Graph[Any], *, traced: bool = True) -> float:
    """Returns the seconds of a unary RPC, one after the other."""
    simulation = Simulation(recorder=Recorder() if traced else None, topology=topology)
    simulation.boot("server", serve)

    async def calls(number: int) -> None:
        for _ in range(number):
            reply = await stub.Say(request)
            assert reply is not request
        assert number == 0 or reply == request

    request = pb.Words(text="hello world", number=42)
    stub = echo.EchoStub(simulation.boot("client").connect("server"))
    try:
        run(simulation, "client", calls(100))
        idle = run(simulation, "client", calls(0))
        return (run(simulation, "client", calls(count)) - idle) / count
    finally:
        simulation.close()


def cluster(hosts: int, virtual_s: float) -> float:
    """Returns the seconds of an RPC among many hosts, each of which calls others in turn."""
    simulation = Simulation(recorder=Recorder(), topology=lan(latency_s=1e-4))
    names = [f"host{number}" for number in range(hosts)]
    made = 0

    async def program(host: Any) -> None:
        nonlocal made
        await serve_and(host)
        me = names.index(host.name)
        peers = [names[(me + step) % hosts] for step in (1, 2, 3)]
        stubs = [echo.EchoStub(host.connect(peer)) for peer in peers]
        for stub in stubs:
            await stub.Say(pb.Words(), wait_for_ready=True)
        loop = asyncio.get_running_loop()
        pause = hosts / RATE
        due = 1.0 + me / RATE
        while due < 1.0 + virtual_s:
            await asyncio.sleep(due - loop.time())
            await stubs[made % 3].Say(pb.Words(text="hello world", number=me))
            made += 1
            due += pause
        await asyncio.Event().wait()

    async def serve_and(host: Any) -> None:
        server = host.serve()
        servers.append(server)
        echo.add_EchoServicer_to_server(Echo(), server)
        await server.start()

    servers: list[Any] = []
    try:
        for name in names:
            simulation.boot(name, program)
        run(simulation, "timer", asyncio.sleep(0.9))  # they boot, and connect
        taken = run(simulation, "timer", asyncio.sleep(0.2 + virtual_s))
        assert made >= 0.99 * virtual_s * RATE, made
        return taken / made
    finally:
        simulation.close()


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    rounds, count = (3, 10_000) if quick else (9, 30_000)
    plain, wide = lan(bandwidth_Bps=None), lan()
    kinds: list[tuple[str, Any, bool, float]] = [
        ("a unary RPC, traced, constant latency", plain, True, 6),
        ("a unary RPC, traced, latency and bandwidth", wide, True, 12),
        ("a unary RPC, not traced, constant latency", plain, False, 0),
    ]
    for what, topology, traced, target in kinds:
        ratios = []
        for _ in range(rounds):
            before = timeouts(4 * count)
            cost = unary(count, topology, traced=traced)
            after = timeouts(4 * count)
            ratios.append(cost * 2 / (before + after))
        ratio = statistics.median(ratios)
        yield Figure(what, ratio, "x", "at most" if target else "", target, "a bare SimPy timeout")
    virtual_s = 2.0 if quick else 60.0
    few, many = cluster(10, virtual_s), cluster(1_000, virtual_s)
    what = f"an RPC among 1,000 hosts, {RATE:,} a virtual second for {virtual_s:g} s"
    yield Figure(what, many / few, "x", "at most", 1.5, "the same among 10 hosts")


if __name__ == "__main__":
    show(figures)
