"""Channels and servers from beginning to end: idle, ready, closed; started, stopped, with grace and not."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance import programs
from tests.conformance.programs import ECHO
from tests.conformance.rig import code_of, forever, outcome, plain, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig

IDLE, CONNECTING, READY = (
    grpc.ChannelConnectivity.IDLE,
    grpc.ChannelConnectivity.CONNECTING,
    grpc.ChannelConnectivity.READY,
)
FAILING, SHUTDOWN = grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN


# Channels


async def test_the_states_of_a_channel(rig: Rig) -> None:
    """Idle until asked, ready; failing when the server is gone; ready when it is back.

    (That it is connecting in between can be too short to be seen.)
    """
    at = rig.address()
    server = await rig.spawn(programs.echo_server, at=at)
    await until(lambda: server.events)
    channel = rig.connect(at)
    seen = [channel.get_state()]
    assert channel.get_state(try_to_connect=True) is IDLE
    while seen[-1] is not READY:
        await channel.wait_for_state_change(seen[-1])
        seen.append(channel.get_state())
    assert [state for state in seen if state is not CONNECTING] == [IDLE, READY]
    await server.kill()
    await asyncio.wait_for(channel.wait_for_state_change(READY), 5)
    assert channel.get_state(try_to_connect=True) is IDLE
    while channel.get_state() is not FAILING:
        await asyncio.wait_for(channel.wait_for_state_change(channel.get_state()), 5)
    await rig.spawn(programs.echo_server, at=at)
    await asyncio.wait_for(channel.channel_ready(), 10)
    assert channel.get_state() is READY


async def test_an_idle_channel(rig: Rig) -> None:
    """Opening a channel connects to nobody; `channel_ready` does."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    await asyncio.sleep(0.1)
    assert channel.get_state() is IDLE
    await channel.channel_ready()
    assert channel.get_state() is READY


async def test_channel_ready_without_a_server(rig: Rig) -> None:
    """`channel_ready` waits as long as one lets it."""
    at = rig.address()
    channel = rig.connect(at)
    assert await outcome(asyncio.wait_for(channel.channel_ready(), 0.2)) == ("TimeoutError", "")
    await rig.serve(at=at, **ECHO)
    await asyncio.wait_for(channel.channel_ready(), 5)
    assert channel.get_state() is READY


async def test_a_closed_channel(rig: Rig) -> None:
    """No call on it can be made; closing it again does no harm."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    echo = EchoStub(channel)
    await echo.Say(words())
    await channel.close()
    await channel.close()
    seen = []
    for call in (echo.Say, echo.Repeat, echo.Gather, echo.Chat):
        with pytest.raises(grpc.aio.UsageError) as caught:
            await outcome(call(words() if call in (echo.Say, echo.Repeat) else None))
        seen.append(str(caught.value))
    assert seen == ["Channel is closed."] * 4
    assert channel.get_state() is SHUTDOWN


async def test_closing_a_channel_with_calls_in_flight(rig: Rig) -> None:
    """Without grace its calls are cancelled at once, and their handlers."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    served = await rig.serve(say=say)
    channel = rig.connect(served.target)
    call = EchoStub(channel).Say(words())
    await until(lambda: seen)
    await channel.close()
    assert await outcome(call) == "CancelledError"
    assert await call.code() == grpc.StatusCode.CANCELLED
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cancelled"]


async def test_closing_a_channel_with_calls_that_wait(rig: Rig) -> None:
    """A call that still waits for a connection is cancelled like one under way."""
    channel = rig.connect(rig.address())
    call = EchoStub(channel).Say(words(), wait_for_ready=True)
    await asyncio.sleep(0.05)
    await channel.close()
    assert (await outcome(call), await call.code()) == ("CancelledError", grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize(("needs", "result"), [(0.1, "hello"), (5.0, "CancelledError")])
async def test_closing_a_channel_with_grace(rig: Rig, needs: float, result: Any) -> None:
    """Calls that end within the grace end well; the rest are cancelled."""
    started = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        started.set()
        await asyncio.sleep(needs)
        return request

    served = await rig.serve(say=say)
    channel = rig.connect(served.target)
    call = EchoStub(channel).Say(words("hello"))
    waiting = asyncio.create_task(outcome(call))
    await started.wait()
    await channel.close(0.4)
    assert await waiting == result


async def test_a_channel_as_a_context(rig: Rig) -> None:
    """`async with` closes it."""
    served = await rig.serve(**ECHO)
    async with rig.connect(served.target) as channel:
        echo = EchoStub(channel)
        assert await outcome(echo.Say(words("hello"))) == "hello"
    with pytest.raises(grpc.aio.UsageError, match=r"Channel is closed\."):
        echo.Say(words())


async def test_two_channels(rig: Rig) -> None:
    """Closing one leaves the other."""
    served = await rig.serve(**ECHO)
    one, two = rig.connect(served.target), rig.connect(served.target)
    await EchoStub(one).Say(words())
    assert await outcome(EchoStub(two).Say(words("two"))) == "two"
    await one.close()
    assert await outcome(EchoStub(two).Say(words("still"))) == "still"


# Servers


async def test_stopping_an_idle_server(rig: Rig) -> None:
    """It is gone for its clients at once; it may be stopped again."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    await EchoStub(channel).Say(words())
    await served.stop()
    await served.stop()
    assert await code_of(EchoStub(channel).Say(words())) == "UNAVAILABLE"


async def test_stopping_without_grace(rig: Rig) -> None:
    """Handlers are cancelled and their callers told."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    await until(lambda: seen)
    await served.stop(None)
    assert await code_of(call) == "UNAVAILABLE"
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cancelled"]


async def test_stopping_with_grace_enough(rig: Rig) -> None:
    """Calls in flight finish, new ones are refused, and `stop` returns when the last is done."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        await asyncio.sleep(0.3)
        seen.append("finished")
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    call = echo.Say(words("hello"))
    await until(lambda: seen)

    async def stop() -> None:
        await served.stop(5)
        seen.append("stopped")

    stopping = asyncio.create_task(stop())
    await asyncio.sleep(0.1)
    assert await code_of(echo.Say(words("new"))) == "UNAVAILABLE"
    assert await outcome(call) == "hello"
    await asyncio.wait_for(stopping, 2)
    assert seen == ["started", "finished", "stopped"]


async def test_stopping_with_too_little_grace(rig: Rig) -> None:
    """What is not done by the end of the grace is cancelled."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    await until(lambda: seen)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await served.stop(0.3)
    assert 0.25 < loop.time() - before < 2
    assert await code_of(call) == "UNAVAILABLE"
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cancelled"]


async def test_a_stream_within_the_grace(rig: Rig) -> None:
    """A conversation under way goes on during the grace."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Chat()
    await call.write(words("a"))
    assert plain(await call.read()) == "a"
    stopping = asyncio.create_task(served.stop(5))
    await asyncio.sleep(0.05)
    await call.write(words("b"))
    assert plain(await call.read()) == "b"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await asyncio.wait_for(stopping, 2)


async def test_stopping_in_mid_stream(rig: Rig) -> None:
    """A stream is cut off where it is."""
    served = await rig.serve(repeat=stalled)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    assert plain(await call.read()) == "first"
    await served.stop(None)
    assert await code_of(call.read()) == "UNAVAILABLE"


async def stalled(request: Any, context: Any) -> Any:
    yield words("first")
    await forever()


async def test_waiting_for_termination(rig: Rig) -> None:
    """`wait_for_termination` says whether the timeout came first."""
    served = await rig.serve(**ECHO)
    assert await served.server.wait_for_termination(0.05) is True
    waiting = asyncio.create_task(served.server.wait_for_termination())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await served.stop()
    assert await waiting is False
    assert await served.server.wait_for_termination() is False


async def test_starting_twice(rig: Rig) -> None:
    """Starting a server again does nothing; one that was stopped stays stopped."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    await served.server.start()
    assert await outcome(echo.Say(words("hello"))) == "hello"
    await served.stop()
    assert await outcome(served.server.start()) == ("UsageError", "Server not in ready state")
    assert await code_of(echo.Say(words())) == "UNAVAILABLE"


async def test_a_server_not_started(rig: Rig) -> None:
    """It answers nobody until it is started."""
    served = await rig.serve(start=False, **ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"), wait_for_ready=True)
    await asyncio.sleep(0.1)
    assert not call.done()
    await served.server.start()
    assert await outcome(call) == "hello"


async def test_a_port_added_late(rig: Rig) -> None:
    """One that a running server is given accepts connections, and nobody ever speaks there."""
    served = await rig.serve(**ECHO)
    port = served.server.add_insecure_port("127.0.0.1:0")
    channel = rig.connect(f"{served.target.rsplit(':', 1)[0]}:{port}")
    late = await outcome(EchoStub(channel).Say(words(), timeout=0.3))
    assert late == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert channel.get_state() is CONNECTING
    waiting = asyncio.create_task(code_of(EchoStub(channel).Say(words(), timeout=5)))
    await asyncio.sleep(0.05)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words("hello"))) == "hello"
    await served.stop()
    assert await waiting == "UNAVAILABLE"


async def test_a_server_that_nobody_has(rig: Rig) -> None:
    """It is stopped without grace: calls under way end, its port is closed."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("say")
        try:
            await forever()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async def repeat(request: Any, context: Any) -> Any:
        yield words("one")
        await forever()

    served = await rig.serve(say=say, repeat=repeat)
    target = served.target
    echo = EchoStub(rig.connect(target))
    call, stream = echo.Say(words()), echo.Repeat(words())
    assert plain(await stream.read()) == "one"
    await until(lambda: seen)
    rig.forget(served)
    del served
    stopped = ("UNAVAILABLE", "Cancelling all calls")
    assert [await outcome(call), await outcome(stream.read())] == [stopped, stopped]
    await until(lambda: len(seen) == 2)
    assert seen == ["say", "CancelledError"]
    assert await code_of(echo.Say(words())) == await code_of(EchoStub(rig.connect(target)).Say(words()))
    assert await code_of(echo.Say(words())) == "UNAVAILABLE"


async def test_a_server_that_its_servicer_has(rig: Rig) -> None:
    """It serves on: what serves has the servicer."""
    kept: list[Any] = []

    async def say(request: Any, context: Any, kept: Any = kept) -> Any:
        return words(f"{len(kept)}")

    served = await rig.serve(say=say)
    target, found = served.target, weakref.ref(served.server)
    kept.append(served.server)
    del kept
    rig.forget(served)
    del served
    gc.collect(1)  # all of it is young
    assert await outcome(EchoStub(rig.connect(target)).Say(words())) == "1"
    server = found()
    assert server is not None
    await server.stop(None)


@pytest.mark.differs(door="a host waits for a predecessor's port, so it learns at `start` that it is taken")
async def test_a_port_in_use(rig: Rig) -> None:
    """A second server on the same port cannot be made (unless sockets may share it, as Linux lets them)."""
    alone = [("grpc.so_reuseport", 0)]
    served = await rig.serve(options=alone, **ECHO)
    with pytest.raises(RuntimeError, match="Failed to bind to address"):
        await rig.serve(at=served.target, options=alone, **ECHO)


async def test_a_port_used_again(rig: Rig) -> None:
    """A port is free once its server has stopped, and channels find the next one."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    echo = EchoStub(channel)
    assert await outcome(echo.Say(words("one"))) == "one"
    await served.stop()
    # A call on a connection that the client still believes in may be lost.
    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)

    async def say(request: Any, context: Any) -> Any:
        return words("another")

    await rig.serve(at=served.target, say=say)
    assert await outcome(echo.Say(words("two"), wait_for_ready=True)) == "another"
