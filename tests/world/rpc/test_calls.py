"""Calls in the simulated world: the fast way and grpc.aio's own, time, trace, cost, memory."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc.aio._call import UnaryUnaryCall

from protos.echo_pb2 import Words
from sim.world.cpu import RpcCost
from sim.world.rpc.targets import parse_address, parse_target
from tests.world.rpc.worlds import TestWorld, outcome


class _Pass(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """Does nothing: and so has the call made by grpc.aio's own class."""

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)


async def moody(request: Any, context: Any) -> Any:
    mood = request.text
    if mood == "abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "nothing", (("why", "because"),))
    if mood == "code":
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details("set")
    if mood == "raise":
        raise ValueError("no")
    if mood == "metadata":
        await context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"),))
    if mood == "sleep":
        await asyncio.sleep(10)
    if mood == "large":
        return Words(payload=b"x" * 5_000_000)
    return request


MOODS = ("plain", "abort", "code", "raise", "metadata", "sleep", "large")


def _everything(interceptors: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    """Returns all that a client can learn of calls of every mood, and what the trace says of them."""
    world = TestWorld()
    world.serve(say=moody)
    learnt: list[Any] = []

    async def main() -> None:
        stub = world.stub(interceptors=interceptors)
        for mood in MOODS:
            done: list[Any] = []
            call = stub.Say(Words(text=mood), timeout=1.0)
            call.add_done_callback(lambda call, done=done: done.append(call.done()))
            result = await outcome(call)
            learnt.append(
                (
                    result,
                    await call.code(),
                    await call.details(),
                    tuple(await call.initial_metadata()),
                    tuple(await call.trailing_metadata()),
                    call.done(),
                    call.cancelled(),
                    call.cancel(),
                    len(done),
                )
            )
        call = stub.Say(Words(text="sleep"))
        await asyncio.sleep(0.1)
        learnt.append((call.cancel(), call.cancelled(), call.done(), await call.code(), await call.details()))
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stub.Say(Words(text="sleep")), 0.1)
        first, second = await asyncio.gather(*(_twice(stub.Say(Words(text="same"))) for _ in range(2)))
        learnt.append((first, second))

    world.run(main)
    messages = [(m.time, m.sent, m.part, m.size, m.code, m.call) for m in world.kinds("Message")]
    return learnt, messages


async def _twice(call: Any) -> tuple[bool, str]:
    first, second = await call, await call
    return first is second, first.text


def test_the_fast_way_is_not_to_be_told_from_grpc_aios_own_class() -> None:
    fast, own = _everything(()), _everything((_Pass(),))
    assert fast[0] == own[0]
    assert fast[1] == own[1]


def test_calls_are_what_grpc_aio_says_they_are() -> None:
    world = TestWorld()
    world.serve()

    async def main() -> None:
        channel = world.channel()
        stub = world.stub()
        assert isinstance(channel, grpc.aio.Channel)
        assert isinstance(world.servers[0], grpc.aio.Server)
        assert isinstance(stub.Say, grpc.aio.UnaryUnaryMultiCallable)
        call = stub.Say(Words())
        assert isinstance(call, grpc.aio.UnaryUnaryCall)
        assert isinstance(call, grpc.aio.Call)
        assert not asyncio.isfuture(call)
        await call
        assert isinstance(stub.Repeat(Words()), grpc.aio.UnaryStreamCall)
        assert not isinstance(call, UnaryUnaryCall)

    world.run(main)


def test_a_call_nobody_awaits_is_made_all_the_same() -> None:
    world = TestWorld()
    heard: list[str] = []

    async def say(request: Any, context: Any) -> Any:
        heard.append(request.text)
        return request

    world.serve(say=say)

    async def main() -> None:
        stub = world.stub()
        request = Words(text="before")
        call = stub.Say(request)
        request.text = "after"  # it is serialized when the loop comes round, as in grpc.aio
        await asyncio.sleep(0.1)
        assert heard == ["after"]
        assert call.done()
        dropped = stub.Say(Words(text="cancelled at once"))
        dropped.cancel()
        await asyncio.sleep(0.1)
        assert heard == ["after"]

    world.run(main)


def test_two_runs_leave_the_same_trace() -> None:
    def digest(seed: int) -> str:
        world = TestWorld(seed)
        world.serve(say=moody)
        world.serve("other")

        async def client(number: int) -> None:
            stub = world.stub(["server", "other"][number % 2])
            for mood in MOODS[:5]:
                await outcome(stub.Say(Words(text=mood), timeout=1.0))
            async for _ in stub.Repeat(Words(text="x", number=5)):
                pass
            await stub.Gather([Words(text="y")] * 3)

        async def main() -> None:
            await asyncio.gather(*(client(number) for number in range(6)))

        world.run(main)
        return world.recorder.sha256

    assert digest(1) == digest(1)


def test_every_message_is_in_the_trace_once() -> None:
    world = TestWorld()
    world.serve()

    async def main() -> None:
        stub = world.stub()
        await stub.Say(Words(text="hello"))
        assert len([reply async for reply in stub.Repeat(Words(text="hello", number=2))]) == 2

    world.run(main)
    told = [(m.host, m.source, m.part, m.index, m.size, m.code) for m in world.kinds("Message")]
    assert told == [
        ("server", "client", "request", 0, 7, ""),
        ("client", "server", "response", 0, 7, "OK"),
        ("server", "client", "request", 0, 9, ""),
        ("client", "server", "response", 0, 7, ""),
        ("client", "server", "response", 1, 9, ""),
        ("client", "server", "status", 0, 0, "OK"),
    ]
    assert [m.call for m in world.kinds("Message")] == [1, 1, 2, 2, 2, 2]
    assert world.kinds("Message")[0].task == "client"


def test_without_a_recorder_nothing_is_recorded() -> None:
    world = TestWorld()
    world.simulation.trace = None
    world.serve()

    async def main() -> Any:
        return await outcome(world.stub().Say(Words(text="x")))

    assert world.run(main) == "x"
    assert world.records == []


def test_a_writer_blocks_when_its_reader_does_not_read() -> None:
    world = TestWorld()
    written: list[int] = []
    gate = asyncio.Event()

    async def chat(requests: Any, context: Any) -> Any:
        await gate.wait()
        async for request in requests:
            yield Words(number=request.number)

    world.serve(chat=chat)

    async def main() -> None:
        call = world.stub().Chat()

        async def write() -> None:
            for number in range(200):
                await call.write(Words(number=number, payload=b"x" * 1000))
                written.append(number)
            await call.done_writing()

        writing = asyncio.create_task(write())
        await asyncio.sleep(10)
        assert 60 <= len(written) <= 66  # 64 KiB
        gate.set()
        numbers = []
        while (reply := await call.read()) is not grpc.aio.EOF:
            numbers.append(reply.number)
        await writing
        assert numbers == list(range(200))

    world.run(main)


def test_a_server_blocks_as_well_and_its_handler_is_cancelled_with_the_call() -> None:
    world = TestWorld()
    sent: list[int] = []

    async def repeat(request: Any, context: Any) -> Any:
        try:
            for number in range(1000):
                sent.append(number)
                yield Words(number=number, payload=b"x" * 1000)
        except (asyncio.CancelledError, GeneratorExit):
            sent.append(-1)
            raise

    world.serve(repeat=repeat)

    async def main() -> None:
        call = world.stub().Repeat(Words())
        await call.read()
        await asyncio.sleep(10)
        assert 60 <= len(sent) <= 67
        call.cancel()
        await asyncio.sleep(1)

    world.run(main)
    assert sent[-1] == -1


def test_leaving_a_stream_half_way_cancels_it() -> None:
    world = TestWorld()
    ended: list[str] = []

    async def repeat(request: Any, context: Any) -> Any:
        context.add_done_callback(lambda context: ended.append("done"))
        for number in range(1_000_000):
            yield Words(number=number, payload=b"x" * 1000)

    world.serve(repeat=repeat)

    async def main() -> None:
        async for _ in world.stub().Repeat(Words()):
            break
        await asyncio.sleep(1)
        assert ended == ["done"]

    world.run(main)


def test_messages_cost_processor_time_in_order() -> None:
    world = TestWorld(rpc_cost=RpcCost(message=0.01, byte=0.0), cores=8)
    world.serve()

    async def main() -> None:
        stub = world.stub()
        await stub.Say(Words())
        before = asyncio.get_running_loop().time()
        await stub.Say(Words())
        assert asyncio.get_running_loop().time() - before == pytest.approx(0.041, abs=1e-4)
        replies = [reply.number async for reply in stub.Chat([Words(number=n) for n in range(20)])]
        assert replies == list(range(20))

    world.run(main)


def test_what_a_message_costs_may_depend_on_the_other_host() -> None:
    world = TestWorld(rpc_cost=lambda peer: RpcCost(message=0.01, byte=0.0) if peer == "server" else None)
    world.serve()

    async def main() -> None:
        stub = world.stub()
        await stub.Say(Words())
        before = asyncio.get_running_loop().time()
        await stub.Say(Words())  # only the client pays, for what it sends and what it gets
        assert asyncio.get_running_loop().time() - before == pytest.approx(0.021, abs=1e-4)

    world.run(main)


def test_deadlines_of_intercepted_calls_run_in_virtual_time() -> None:
    world = TestWorld()
    world.serve(say=moody)

    async def main() -> None:
        stub = world.stub(interceptors=(_Pass(),))
        before = asyncio.get_running_loop().time()
        assert await outcome(stub.Say(Words(text="sleep"), timeout=2.5)) == (
            "DEADLINE_EXCEEDED",
            "Deadline Exceeded",
        )
        assert asyncio.get_running_loop().time() - before == pytest.approx(2.5)

    world.run(main)


def test_unary_calls_leave_no_garbage() -> None:
    """Memory is given back by counting references: the collector runs rarely in a simulation."""
    world = TestWorld()
    world.serve()

    async def main() -> None:
        stub = world.stub()
        await stub.Say(Words())
        gc.collect()
        before = Counter(type(thing).__name__ for thing in gc.get_objects())
        for _ in range(50):
            await stub.Say(Words(), timeout=10.0, metadata=(("k", "v"),))
        after = Counter(type(thing).__name__ for thing in gc.get_objects())
        for name in ("UnaryCall", "Context", "Future", "Delivery"):
            assert after[name] - before[name] <= 1, name

    world.run(main)


def test_what_needs_tls_is_refused_with_a_word() -> None:
    world = TestWorld()
    world.serve()

    async def main() -> None:
        with pytest.raises(ValueError, match="add_insecure_port"):
            world.servers[0].add_secure_port("[::]:443", None)
        with pytest.raises(grpc.aio.UsageError, match="credentials"):
            world.stub().Say(Words(), credentials=grpc.access_token_call_credentials("x"))

    asyncio_main = main
    world.run(asyncio_main)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("zk1", "zk1", 50051),
        ("zk1:2181", "zk1", 2181),
        ("dns:///zk1:2181", "zk1", 2181),
        ("ipv4:zk1:1", "zk1", 1),
        ("localhost:7", "me", 7),
        ("127.0.0.1:7", "me", 7),
        ("[::1]:7", "me", 7),
    ],
)
def test_targets(text: str, host: str, port: int) -> None:
    target = parse_target(text, "me")
    assert (target.host, target.port) == (host, port)


@pytest.mark.parametrize("text", ["unix:/tmp/x", "zk1:port", "zk1:99999"])
def test_targets_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"unix|port"):
        parse_target(text, "me")


def test_addresses_to_serve_on() -> None:
    assert [parse_address(a) for a in ("[::]:50051", "0.0.0.0:1", "localhost:0", "localhost")] == [
        50051,
        1,
        0,
        0,
    ]


def test_a_call_that_another_task_awaits_first_starts_once() -> None:
    """The loop starts a call that nobody awaits; whoever awaits it before that takes it from the loop."""
    world = TestWorld()
    world.serve()

    async def main() -> list[Any]:
        stub, calls = world.stub(), []
        seen = []

        async def other() -> None:
            seen.append("other")
            seen.append(await outcome(calls[0]))

        task = asyncio.create_task(other())  # ready before the call, in the same turn of the loop
        calls.append(stub.Say(Words(text="reply")))
        await asyncio.sleep(0)
        seen.append("next turn")
        await task
        return seen

    assert world.run(main) == ["other", "next turn", "reply"]
    assert len([message for message in world.kinds("Message") if message.part == "request"]) == 1
