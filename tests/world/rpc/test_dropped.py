"""What nobody has any more is given back: channels and servers that were dropped without a word."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import grpc
import pytest

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoServicer, EchoStub, add_EchoServicer_to_server
from sim.world.simulation import Simulation


class Echo(EchoServicer):
    async def Say(self, request: Any, context: Any) -> Any:
        await asyncio.sleep(0.1)
        return request


def server_of(host: Any) -> Any:
    server = host.serve()
    add_EchoServicer_to_server(Echo(), server)  # type: ignore[no-untyped-call]
    return server


async def keep(host: Any) -> None:
    server = server_of(host)
    await server.start()
    await server.wait_for_termination()


def run(main: Any, *, interleave: bool = False) -> Any:
    simulation = Simulation(seed=1, interleave=interleave)
    simulation.boot("server", keep)
    return simulation.run(main(simulation))


def test_a_dropped_channel_is_freed_with_its_connection() -> None:
    """At the client and, when word has come, at the server."""

    async def main(simulation: Simulation) -> None:
        host = simulation.machines["main"].host
        ends = simulation.network._endpoints
        await asyncio.sleep(0.01)
        channel = host.connect("server")
        await EchoStub(channel).Say(Words())
        assert [len(of) for of in ends.values()] == [1, 1]
        gone = weakref.ref(channel)
        del channel
        await asyncio.sleep(0.01)  # until then, the loop holds the message that came last
        await asyncio.sleep(0.01)
        assert gone() is None
        assert [len(of) for of in ends.values()] == [0, 0]

    run(main)


def test_a_stub_or_a_call_keeps_its_channel() -> None:
    """As in grpc.aio: `EchoStub(insecure_channel(...))` can be used."""

    async def main(simulation: Simulation) -> None:
        host = simulation.machines["main"].host
        await asyncio.sleep(0.01)
        stub = EchoStub(host.connect("server"))
        assert await stub.Say(Words(text="stub")) == Words(text="stub")
        call = stub.Say(Words(text="call"))
        await asyncio.sleep(0.05)
        del stub
        gc.collect()
        assert await call == Words(text="call")

    run(main)


def test_a_dropped_channel_stops_trying() -> None:
    """One that nobody has does not dial for ever."""

    async def main(simulation: Simulation) -> None:
        host = simulation.machines["main"].host
        stub = EchoStub(host.connect("server:1"))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Say(Words())
        del stub
        gc.collect()
        await asyncio.sleep(0.01)
        assert not [item for item in simulation.loop.env._queue if item[3].callbacks]

    run(main)


def test_a_dropped_server_gives_its_port_back() -> None:
    """Another can serve there at once, and the old one's calls have ended."""

    async def main(simulation: Simulation) -> None:
        host = simulation.machines["main"].host
        server = server_of(host)
        await server.start()
        stub = EchoStub(host.connect("main"))
        call = stub.Say(Words())
        await asyncio.sleep(0.05)
        del server
        with pytest.raises(grpc.aio.AioRpcError, match="Cancelling all calls"):
            await call
        server = server_of(host)
        await server.start()
        assert await stub.Say(Words(text="again")) == Words(text="again")

    run(main)


@pytest.mark.parametrize("keeping", ["waiting", "stopped", "never started"])
def test_servers_that_are_not_dropped(keeping: str) -> None:
    """Who waits for a server's termination has it; one that does not serve need not be stopped."""

    async def main(simulation: Simulation) -> None:
        host = simulation.machines["main"].host
        if keeping == "waiting":
            waiting = asyncio.create_task(keep(host))
            await asyncio.sleep(0.01)
            gc.collect()
            assert await EchoStub(host.connect("main")).Say(Words(text="x")) == Words(text="x")
            waiting.cancel()
            return
        server = server_of(host)
        if keeping == "stopped":
            await server.start()
            await server.stop(None)
        del server
        await asyncio.sleep(0.01)

    run(main)


@pytest.mark.parametrize("interleave", [False, True])
def test_a_server_that_garbage_has(interleave: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's collector finds it, after the same number of turns in every run."""
    monkeypatch.setattr("sim.world.loop._GC_EVERY", 500)
    monkeypatch.setattr("sim.world.loop._FULL_GC_EVERY", 1)

    def story() -> int:
        async def main(simulation: Simulation) -> int:
            host = simulation.machines["main"].host
            server = server_of(host)
            await server.start()
            garbage: list[Any] = [server]
            garbage.append(garbage)
            del server, garbage
            stub = EchoStub(host.connect("main"))
            for number in range(1_000):
                try:
                    await stub.Say(Words())
                except grpc.aio.AioRpcError:
                    return number
            return -1

        return run(main, interleave=interleave)  # type: ignore[no-any-return]

    gc.freeze()  # what other tests have left need not be looked through
    try:
        times = {story(), story()}
    finally:
        gc.unfreeze()
    assert len(times) == 1 and times != {-1}


@pytest.mark.parametrize("interleave", [False, True])
def test_when_garbage_is_found_does_not_change_a_run(interleave: bool) -> None:
    """Messages of others arrive at the same moments whether a channel is dropped sooner, later, or never."""

    def story(when: int) -> list[int]:
        async def main(simulation: Simulation) -> list[int]:
            host = simulation.machines["main"].host
            await asyncio.sleep(0.01)
            stub, dropped = EchoStub(host.connect("server")), host.connect("server")
            await EchoStub(dropped).Say(Words())
            times = []
            for number in range(6):
                if number == when:
                    del dropped
                await stub.Say(Words())
                times.append(simulation.now())
            return times

        return run(main, interleave=interleave)  # type: ignore[no-any-return]

    assert story(1) == story(4) == story(99)
