"""Crash, pause, partition, a lost reply: what an RPC makes of them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import grpc
import pytest

from protos.echo_pb2 import Words
from sim.world.rpc import lose_replies
from tests.world.rpc.worlds import TestWorld, outcome

BROKEN = ("UNAVAILABLE", "Stream removed (Socket closed)")
REFUSED = (
    "UNAVAILABLE",
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:server:50051: "
    "Failed to connect to remote host: Connection refused",
)


def test_a_crash_takes_the_handler_and_tells_the_caller() -> None:
    world = TestWorld()
    seen: list[str] = []

    async def say(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(10)
        finally:
            seen.append("finally")

    machine = world.serve(say=say)

    async def main() -> None:
        stub = world.stub()
        call = stub.Say(Words())
        await asyncio.sleep(1)
        machine.crash()
        assert await outcome(call) == BROKEN
        assert world.simulation.now() == 1_000_000_000 + 500_000
        assert await outcome(stub.Say(Words())) == REFUSED

    world.run(main)
    assert seen == []


def test_what_a_crash_took_is_in_the_trace_as_lost() -> None:
    world = TestWorld()
    machine = world.serve()

    async def main() -> None:
        stub = world.stub()
        await stub.Say(Words(text="first"))
        call = stub.Say(Words(text="second"))
        await asyncio.sleep(0.0002)  # it is under way
        machine.crash()
        assert await outcome(call) == BROKEN

    world.run(main)
    lost = world.kinds("Lost")
    assert [(r.part, r.host, r.source, r.method, r.size) for r in lost] == [
        ("request", "server", "client", "/dsim.echo.Echo/Say", 8)
    ]


def test_a_paused_server_answers_when_it_is_resumed() -> None:
    world = TestWorld()
    machine = world.serve()

    async def main() -> None:
        stub = world.stub()
        await stub.Say(Words())
        machine.pause()
        calls = [stub.Say(Words(text=text)) for text in "abc"]
        late = stub.Say(Words(text="late"), timeout=1.0)
        assert await outcome(late) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
        assert not any(call.done() for call in calls)
        machine.resume()
        assert [await outcome(call) for call in calls] == ["a", "b", "c"]

    world.run(main)
    requests = [r for r in world.kinds("Message") if r.part == "request"]
    assert all(r.time - r.sent < 1_000_000 for r in requests)  # its kernel took them in


def test_a_stream_keeps_its_order_across_a_pause() -> None:
    world = TestWorld()
    machine = world.serve()

    async def main() -> list[int]:
        stub = world.stub()
        call = stub.Chat()
        await call.write(Words(number=0))
        await call.read()
        machine.pause()
        for number in range(1, 50):
            await call.write(Words(number=number))
            await asyncio.sleep(0.0001)
        machine.resume()
        await call.write(Words(number=50))
        await call.done_writing()
        return [reply.number async for reply in _read(call)]

    assert world.run(main) == list(range(1, 51))


async def _read(call: Any) -> Any:
    while (reply := await call.read()) is not grpc.aio.EOF:
        yield reply


def test_connecting_to_a_paused_host_hangs_until_the_timeout() -> None:
    world = TestWorld()
    machine = world.serve()

    async def main() -> None:
        await asyncio.sleep(1)
        machine.pause()
        code, details = await outcome(world.stub().Say(Words()))
        assert code == "UNAVAILABLE"
        assert details.endswith("connection attempt timed out before receiving SETTINGS frame")
        assert world.simulation.now() == 21_000_000_000

    world.run(main)


def test_a_paused_client_hears_its_replies_when_it_is_resumed() -> None:
    world = TestWorld()
    world.serve()
    heard: list[float] = []

    async def program(host: Any) -> None:
        from protos.echo_pb2_grpc import EchoStub

        stub = EchoStub(host.connect("server"))
        await stub.Say(Words())
        await asyncio.sleep(1.0)
        await stub.Say(Words())
        heard.append(asyncio.get_running_loop().time())

    async def main() -> None:
        world.simulation.boot("other", program)
        machine = world.simulation.machines["other"]
        await asyncio.sleep(1.0032)  # its second request is out
        machine.pause()
        await asyncio.sleep(5)
        machine.resume()
        await asyncio.sleep(1)

    world.run(main)
    assert heard == [pytest.approx(6.0032, abs=1e-4)]


def test_a_partition_hangs_and_a_deadline_ends_it_on_both_sides() -> None:
    world = TestWorld()
    seen: list[tuple[str, float]] = []

    async def say(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            seen.append(("cancelled", asyncio.get_running_loop().time()))
            raise

    world.serve(say=say)

    async def main() -> None:
        call = world.stub().Say(Words(), timeout=2.0)
        await asyncio.sleep(1)
        network = world.simulation.network
        network.cut("client", "server")
        network.cut("server", "client")
        assert await outcome(call) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
        await asyncio.sleep(1)

    world.run(main)
    assert seen == [("cancelled", pytest.approx(2.0, abs=0.002))]


def test_a_lost_reply_was_executed_and_the_caller_cannot_know() -> None:
    world = TestWorld()
    seen: list[str] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(request.text)
        return request

    world.serve(say=say)

    async def main() -> list[Any]:
        stub = world.stub()
        lose_replies("server", world.simulation, "/dsim.echo.Echo/Say", 2)
        return [await outcome(stub.Say(Words(text=text))) for text in "abc"]

    assert world.run(main) == [BROKEN, BROKEN, "c"]
    assert seen == ["a", "b", "c"]


def test_a_lost_reply_of_another_method_is_not_lost() -> None:
    world = TestWorld()
    world.serve()

    async def main() -> Any:
        lose_replies("server", world.simulation, "/dsim.echo.Echo/Gather", 1)
        lose_replies("elsewhere", world.simulation)
        stub = world.stub()
        return [await outcome(stub.Say(Words(text="a"))), await outcome(stub.Gather([Words(text="b")]))]

    assert world.run(main) == ["a", BROKEN]


def test_a_reply_inside_a_stream_is_lost_and_all_on_the_connection_with_it() -> None:
    world = TestWorld()
    world.serve()

    async def main() -> list[Any]:
        stub = world.stub()
        first, second = stub.Chat(), stub.Chat()
        seen: list[Any] = []
        for call in (first, second):
            await call.write(Words(text="a"))
            seen.append((await call.read()).text)
        lose_replies("server", world.simulation, "Chat", 1)
        await first.write(Words(text="b"))
        seen += [await outcome(first.read()), await outcome(second.read())]
        third = stub.Chat()
        await third.write(Words(text="c"))
        return [*seen, (await third.read()).text]

    assert world.run(main) == ["a", "a", BROKEN, BROKEN, "c"]


def test_reconnection_backs_off_by_a_factor_of_1_6() -> None:
    world = TestWorld()

    async def main() -> list[int]:
        world.simulation.add_host("server")
        channel = world.channel()
        times: list[int] = []
        dial = world.simulation.network.dial

        def watch(*args: Any) -> Any:
            times.append(world.simulation.now())
            return dial(*args)

        world.simulation.network.dial = watch  # type: ignore[method-assign]
        channel.get_state(try_to_connect=True)
        await asyncio.sleep(600)
        return times

    times = world.run(main)
    pauses = [(b - a) / 1e9 for a, b in itertools.pairwise(times)]
    for pause, expected in zip(pauses, [1.6**n for n in range(10)], strict=False):
        assert 0.8 * expected <= pause <= 1.2 * expected
    assert all(96 <= pause <= 144 for pause in pauses[11:])
    assert len(pauses) >= 12


def test_wait_for_ready_outlives_a_restart() -> None:
    world = TestWorld()
    machine = world.serve()

    async def main() -> Any:
        stub = world.stub()
        await stub.Say(Words())
        machine.crash()
        await asyncio.sleep(0.01)
        call = stub.Say(Words(text="again"), wait_for_ready=True)
        await asyncio.sleep(3)
        machine.restart()
        return await outcome(call)

    assert world.run(main) == "again"
