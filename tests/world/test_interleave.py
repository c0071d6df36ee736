"""With `interleave`, the seed also decides what comes first of what happens at one instant."""

from __future__ import annotations

import asyncio

import pytest

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from sim.world.simulation import Simulation

SEEDS = range(40)


class Arrivals(echo_pb2_grpc.EchoServicer):
    """Keeps the order in which calls and stream messages come."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def Say(self, request, context):
        self.seen.append(request.text)
        return request

    async def Gather(self, request_iterator, context):
        async for word in request_iterator:
            self.seen.append(word.text)
        return Words()


def arrivals(seed: int, *, interleave: bool, stream: bool = False) -> tuple[str, ...]:
    """Three clients each send at the same instant (or one sends a stream); returns who came first."""
    simulation = Simulation(seed, interleave=interleave)
    service = Arrivals()

    async def serve(host) -> None:
        server = host.serve()
        echo_pb2_grpc.add_EchoServicer_to_server(service, server)
        await server.start()
        await server.wait_for_termination()

    async def main() -> None:
        simulation.boot("server", serve)
        stubs = {
            name: echo_pb2_grpc.EchoStub(simulation.boot(name).connect("server")) for name in ("a", "b", "c")
        }
        for stub in stubs.values():
            await stub.Say(Words(), wait_for_ready=True)
        await asyncio.sleep(1)
        service.seen.clear()
        if stream:
            await stubs["a"].Gather(iter([Words(text=str(n)) for n in range(9)]))
        else:
            await asyncio.gather(*(stub.Say(Words(text=name)) for name, stub in stubs.items()))

    simulation.run(main())
    return tuple(service.seen)


def test_without_it_messages_of_one_instant_come_in_the_order_in_which_they_were_sent() -> None:
    assert {arrivals(seed, interleave=False) for seed in SEEDS} == {("a", "b", "c")}


def test_with_it_they_come_in_any_order() -> None:
    assert len({arrivals(seed, interleave=True) for seed in SEEDS}) == 6


def test_a_seed_always_gives_the_same_order() -> None:
    assert [arrivals(seed, interleave=True) for seed in SEEDS] == [
        arrivals(seed, interleave=True) for seed in SEEDS
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_messages_of_one_connection_keep_their_order(seed: int) -> None:
    assert arrivals(seed, interleave=True, stream=True) == tuple("012345678")
