"""Peers that die, were never there, or vanish behind a partition; and that come back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance import programs
from tests.conformance.programs import ECHO
from tests.conformance.rig import code_of, drain, forever, outcome, plain, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig

CONNECTING, READY = grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.READY


# Death of a peer


async def test_a_server_killed_during_a_unary_call(rig: Rig) -> None:
    """The caller learns at once that the connection is gone."""
    at = rig.address()
    server = await rig.spawn(programs.stalling_server, at=at)
    call = EchoStub(rig.connect(at)).Say(words("hello"), wait_for_ready=True)
    await until(lambda: ("say", "hello") in server.events)
    await server.kill()
    assert await code_of(call) == "UNAVAILABLE"
    assert server.events == ["serving", ("say", "hello")]


async def test_a_server_killed_in_mid_stream(rig: Rig) -> None:
    """What was sent was received; then the stream fails."""
    at = rig.address()
    server = await rig.spawn(programs.stalling_server, at=at)
    call = EchoStub(rig.connect(at)).Repeat(words("hello"), wait_for_ready=True)
    assert plain(await call.read()) == "first"
    await until(lambda: ("repeat", "hello") in server.events)
    await server.kill()
    assert await code_of(call.read()) == "UNAVAILABLE"


async def test_a_server_killed_while_it_is_written_to(rig: Rig) -> None:
    """Writing fails once the client knows."""
    at = rig.address()
    server = await rig.spawn(programs.stalling_server, at=at)
    call = EchoStub(rig.connect(at)).Gather(wait_for_ready=True)
    await call.write(words("one"))
    await until(lambda: ("gather", "one") in server.events)
    await server.kill()
    await until(call.done)
    assert await outcome(call.write(words("two"))) == ("InvalidStateError", "RPC already finished.")
    assert await code_of(call) == "UNAVAILABLE"


async def test_a_client_killed_during_a_unary_call(rig: Rig) -> None:
    """The handler is cancelled."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(request.text)
        try:
            await forever()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    served = await rig.serve(say=say)
    client = await rig.spawn(programs.unary_client, target=served.target)
    await until(lambda: seen)
    await client.kill()
    await until(lambda: len(seen) == 2)
    assert seen == ["hello", "CancelledError"]


async def test_a_client_killed_while_it_reads(rig: Rig) -> None:
    """The handler of its stream is cancelled."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> Any:
        try:
            yield words("first")
            await forever()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    served = await rig.serve(repeat=repeat)
    client = await rig.spawn(programs.reading_client, target=served.target)
    await until(lambda: client.events)
    await client.kill()
    await until(lambda: seen)
    assert (seen, client.events) == (["CancelledError"], [("read", "first")])


async def test_a_client_killed_while_it_writes(rig: Rig) -> None:
    """The handler is cancelled; its requests may seem to end before that, which is a matter of chance."""
    seen: list[Any] = []

    async def chat(requests: Any, context: Any) -> Any:
        try:
            async for request in requests:
                seen.append(request.text)
                yield request
            seen.append("end")
            await forever()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    served = await rig.serve(chat=chat)
    client = await rig.spawn(programs.writing_client, target=served.target)
    await until(lambda: "heard" in client.events)
    await client.kill()
    await until(lambda: "CancelledError" in seen)
    assert seen in (["one", "two", "end", "CancelledError"], ["one", "two", "CancelledError"])


async def test_a_server_that_comes_back(rig: Rig) -> None:
    """A channel finds a restarted server by itself."""
    at = rig.address()
    server = await rig.spawn(programs.echo_server, at=at)
    echo = EchoStub(rig.connect(at))
    assert await outcome(echo.Say(words("before"), wait_for_ready=True)) == "before"
    await server.kill()
    assert await code_of(echo.Say(words("meanwhile"))) == "UNAVAILABLE"
    await rig.spawn(programs.echo_server, at=at)
    assert await outcome(echo.Say(words("after"), wait_for_ready=True, timeout=5)) == "after"


async def test_waiting_for_ready_does_not_save_a_call_under_way(rig: Rig) -> None:
    """`wait_for_ready` is about calls not yet sent: one that has reached a server dies with it."""
    at = rig.address()
    server = await rig.spawn(programs.stalling_server, at=at)
    echo = EchoStub(rig.connect(at))
    lost = echo.Say(words("one"), wait_for_ready=True)
    await until(lambda: ("say", "one") in server.events)
    await server.kill()
    assert await code_of(lost) == "UNAVAILABLE"
    waiting = echo.Say(words("two"), wait_for_ready=True)
    await rig.spawn(programs.echo_server, at=at)
    assert await outcome(waiting) == "two"


async def test_a_paused_server(rig: Rig) -> None:
    """A stopped process answers nothing and breaks nothing; when it goes on, so does everything."""
    at = rig.address()
    server = await rig.spawn(programs.echo_server, at=at)
    echo = EchoStub(rig.connect(at))
    assert await outcome(echo.Say(words("before"), wait_for_ready=True)) == "before"
    server.pause()
    patient = echo.Say(words("patient"))
    assert await outcome(echo.Say(words("hasty"), timeout=0.2)) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert not patient.done()
    server.resume()
    assert await outcome(patient) == "patient"


# Nobody there


async def test_nobody_listens(rig: Rig) -> None:
    """A call fails at once when its connection is refused, and the details begin in a known way."""
    call = EchoStub(rig.connect(rig.address())).Say(words())
    code, details = await outcome(call)
    assert (code, details[:34]) == ("UNAVAILABLE", "failed to connect to all addresses")
    assert (await call.code(), call.cancelled()) == (grpc.StatusCode.UNAVAILABLE, False)


@pytest.mark.parametrize("shape", ["Repeat", "Gather", "Chat"])
async def test_nobody_listens_to_a_stream(rig: Rig, shape: str) -> None:
    """The other shapes fail alike, wherever they wait."""
    echo = EchoStub(rig.connect(rig.address()))
    if shape == "Repeat":
        assert await code_of(echo.Repeat(words()).read()) == "UNAVAILABLE"
    elif shape == "Gather":
        assert await code_of(echo.Gather(iter([words()]))) == "UNAVAILABLE"
    else:
        call = echo.Chat()
        assert await code_of(call.write(words())) == "UNAVAILABLE"
        assert await code_of(call.read()) == "UNAVAILABLE"


async def test_a_server_that_starts_later(rig: Rig) -> None:
    """`wait_for_ready` waits for it; an impatient call of the same channel fails meanwhile."""
    at = rig.address()
    echo = EchoStub(rig.connect(at))
    patient = echo.Say(words("patient"), wait_for_ready=True)
    assert await code_of(echo.Say(words("hasty"))) == "UNAVAILABLE"
    await asyncio.sleep(0.1)
    assert not patient.done()
    await rig.serve(at=at, **ECHO)
    assert await outcome(patient) == "patient"


async def test_a_stream_that_waits_for_ready(rig: Rig) -> None:
    """Streams wait too, and are written to when it is time."""
    at = rig.address()
    call = EchoStub(rig.connect(at)).Chat(wait_for_ready=True)
    writing = asyncio.create_task(call.write(words("hello")))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert not writing.done()
    await rig.serve(at=at, **ECHO)
    await writing
    await call.done_writing()
    assert await drain(call) == ["hello"]


# A network that loses everything


async def test_a_blackhole_and_a_deadline(rig: Rig) -> None:
    """Nobody says that the peer is gone: only the deadline ends the call."""
    served = await rig.serve(**ECHO)
    link = await rig.link(served.target)
    echo = EchoStub(rig.connect(link.target))
    assert await outcome(echo.Say(words("before"))) == "before"
    link.cut()
    assert await outcome(echo.Say(words("lost"), timeout=0.3)) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")


async def test_a_blackhole_without_a_deadline(rig: Rig) -> None:
    """A call without a deadline hangs, and comes through when the network is healed."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(request.text)
        return request

    served = await rig.serve(say=say)
    link = await rig.link(served.target)
    channel = rig.connect(link.target)
    echo = EchoStub(channel)
    await echo.Say(words("before"))
    link.cut()
    call = echo.Say(words("held"))
    await asyncio.sleep(0.3)
    assert (call.done(), seen, channel.get_state()) == (False, ["before"], READY)
    link.heal()
    assert (await outcome(call), seen) == ("held", ["before", "held"])


async def test_a_blackhole_in_mid_stream(rig: Rig) -> None:
    """A conversation stands still and goes on, in order and without loss."""
    served = await rig.serve(**ECHO)
    link = await rig.link(served.target)
    call = EchoStub(rig.connect(link.target)).Chat()
    await call.write(words("one"))
    assert plain(await call.read()) == "one"
    link.cut()
    await call.write(words("two"))
    await call.write(words("three"))
    reading = asyncio.create_task(call.read())  # type: ignore[arg-type]
    await asyncio.sleep(0.2)
    assert not reading.done()
    link.heal()
    assert (plain(await reading), plain(await call.read())) == ("two", "three")
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


@pytest.mark.differs(door="`done_writing` waits until the door has let everything out")
async def test_half_closing_into_a_blackhole(rig: Rig) -> None:
    """`write` and `done_writing` return at once while there is room to buffer."""
    served = await rig.serve(**ECHO)
    link = await rig.link(served.target)
    call = EchoStub(rig.connect(link.target)).Gather()
    await call.write(words("one"))
    await asyncio.sleep(0.05)
    link.cut()
    await asyncio.wait_for(call.write(words("two")), 1)
    await asyncio.wait_for(call.done_writing(), 1)
    assert not call.done()
    link.heal()
    assert await outcome(call) == "one two"


@pytest.mark.differs(door="a cancellation is sent by gRPC's core, which knows of no door")
async def test_a_cancellation_that_a_blackhole_holds_back(rig: Rig) -> None:
    """The caller is free at once; the handler learns of it when the network is healed."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    served = await rig.serve(say=say)
    link = await rig.link(served.target)
    call = EchoStub(rig.connect(link.target)).Say(words())
    await until(lambda: seen)
    link.cut()
    call.cancel()
    assert await outcome(call) == "CancelledError"
    await asyncio.sleep(0.1)
    assert seen == ["started"]
    link.heal()
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cancelled"]


@pytest.mark.differs(door="the end of a connection is told by gRPC's core, which knows of no door")
async def test_a_server_that_dies_behind_a_blackhole(rig: Rig) -> None:
    """Nobody can say so: its callers wait until the network is healed and somebody sends something.

    (Where only the process died, its kernel tells them at once then; a simulated crash is a machine's.)
    """
    at = rig.address()
    server = await rig.spawn(programs.stalling_server, at=at)
    await until(lambda: server.events)
    link = await rig.link(at)
    echo = EchoStub(rig.connect(link.target))
    call = echo.Say(words("hello"), wait_for_ready=True)
    await until(lambda: ("say", "hello") in server.events)
    link.cut()
    await server.kill()
    await asyncio.sleep(0.2)
    assert not call.done()
    link.heal()
    assert await code_of(echo.Say(words("anybody there?"))) == "UNAVAILABLE"
    assert await code_of(call) == "UNAVAILABLE"


async def test_a_deadline_on_both_sides_of_a_blackhole(rig: Rig) -> None:
    """The server keeps the time itself: it cancels the handler although no word gets through."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    served = await rig.serve(say=say)
    link = await rig.link(served.target)
    call = EchoStub(rig.connect(link.target)).Say(words(), timeout=0.3)
    await until(lambda: seen)
    link.cut()
    assert await outcome(call) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cancelled"]


@pytest.mark.differs(door="connecting is done by gRPC's core, which knows of no door")
async def test_connecting_through_a_blackhole(rig: Rig) -> None:
    """A connection that is never answered is neither refused nor made."""
    served = await rig.serve(**ECHO)
    link = await rig.link(served.target)
    link.cut()
    channel = rig.connect(link.target)
    call = EchoStub(channel).Say(words("hello"))
    await asyncio.sleep(0.2)
    assert (call.done(), channel.get_state()) == (False, CONNECTING)
    assert await code_of(EchoStub(channel).Say(words(), timeout=0.1)) == "DEADLINE_EXCEEDED"
    link.heal()
    assert await outcome(call) == "hello"


@pytest.mark.differs(door="connecting is done by gRPC's core, which knows of no door")
async def test_giving_up_on_a_connection(rig: Rig) -> None:
    """An attempt to connect ends after `grpc.min_reconnect_backoff_ms`; then calls fail."""
    served = await rig.serve(**ECHO)
    link = await rig.link(served.target)
    link.cut()
    channel = rig.connect(link.target, options=[("grpc.min_reconnect_backoff_ms", 300)])
    code, details = await outcome(EchoStub(channel).Say(words(), timeout=2))
    assert (code, details[:34]) == ("UNAVAILABLE", "failed to connect to all addresses")


async def test_waiting_for_the_connection_of_a_call(rig: Rig) -> None:
    """`wait_for_connection` returns when a call was sent, and raises when it cannot be."""
    served = await rig.serve(repeat=stalled)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    await call.wait_for_connection()
    assert (call.done(), plain(await call.read())) == (False, "first")
    lost = EchoStub(rig.connect(rig.address())).Repeat(words())
    assert await code_of(lost.wait_for_connection()) == "UNAVAILABLE"


async def stalled(request: Any, context: Any) -> Any:
    yield words("first")
    await forever()
