"""Limits: sizes of messages, and how many calls at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import drain, outcome, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig

DEFAULT = 4 * 1024 * 1024  # bytes that a channel or server receives unless told otherwise
OVERHEAD = len(words(payload=bytes(DEFAULT - 10)).SerializeToString()) - (DEFAULT - 10)


def exactly(size: int) -> Any:
    """Returns a message of `size` bytes on the wire."""
    message = words(payload=bytes(size - OVERHEAD))
    while (length := len(message.SerializeToString())) != size:
        message = words(payload=bytes(len(message.payload) + size - length))
    return message


async def test_a_message_of_just_the_limit(rig: Rig) -> None:
    """Four MiB go through, there and back."""
    served = await rig.serve(**ECHO)
    message = exactly(DEFAULT)
    assert await EchoStub(rig.connect(served.target)).Say(message) == message


async def test_a_request_over_the_limit(rig: Rig) -> None:
    """The server refuses it, and the handler never hears of it."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(len(request.payload))
        return words()

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    result = await outcome(echo.Say(exactly(DEFAULT + 1)))
    assert result == ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (4194305 vs. 4194304)")
    assert seen == []
    assert await outcome(echo.Say(words())) == ""


async def test_a_response_over_the_limit(rig: Rig) -> None:
    """The client refuses it; to the handler all went well."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("answered")
        return exactly(DEFAULT + 1)

    served = await rig.serve(say=say)
    result = await outcome(EchoStub(rig.connect(served.target)).Say(words()))
    assert result == ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (4194305 vs. 4194304)")
    assert seen == ["answered"]


async def test_limits_of_a_server(rig: Rig) -> None:
    """A server sets its own limit of what it receives and of what it sends."""
    options = [("grpc.max_receive_message_length", 1000), ("grpc.max_send_message_length", 500)]
    served = await rig.serve(options=options, **ECHO)
    echo = EchoStub(rig.connect(served.target))
    assert [await outcome(echo.Say(exactly(size))) for size in (500, 501, 1000, 1001)] == [
        "",
        ("RESOURCE_EXHAUSTED", "SERVER: Sent message larger than max (501 vs. 500)"),
        ("RESOURCE_EXHAUSTED", "SERVER: Sent message larger than max (1000 vs. 500)"),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (1001 vs. 1000)"),
    ]


async def test_limits_of_a_client(rig: Rig) -> None:
    """A channel does too."""
    served = await rig.serve(**ECHO)
    options = [("grpc.max_receive_message_length", 500), ("grpc.max_send_message_length", 1000)]
    echo = EchoStub(rig.connect(served.target, options=options))
    assert [await outcome(echo.Say(exactly(size))) for size in (500, 501, 1000, 1001)] == [
        "",
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (501 vs. 500)"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (1000 vs. 500)"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (1001 vs. 1000)"),
    ]


async def test_no_limits(rig: Rig) -> None:
    """-1 lifts the limit."""
    free = [("grpc.max_receive_message_length", -1)]
    served = await rig.serve(options=free, **ECHO)
    message = exactly(DEFAULT + 1000)
    assert await EchoStub(rig.connect(served.target, options=free)).Say(message) == message


async def test_a_message_over_the_limit_in_mid_stream(rig: Rig) -> None:
    """What came before was received."""

    async def repeat(request: Any, context: Any) -> Any:
        yield words("one")
        yield words("two", 0, bytes(1000))

    served = await rig.serve(repeat=repeat)
    echo = EchoStub(rig.connect(served.target, options=[("grpc.max_receive_message_length", 500)]))
    assert await drain(echo.Repeat(words())) == [
        "one",
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (1008 vs. 500)"),
    ]


async def test_a_written_message_over_the_limit(rig: Rig) -> None:
    """A stream of requests ends with the one that is too large."""
    served = await rig.serve(options=[("grpc.max_receive_message_length", 500)], **ECHO)
    call = EchoStub(rig.connect(served.target)).Gather()
    await call.write(words("one"))
    await call.write(exactly(501))
    await until(call.done)
    assert await outcome(call) == (
        "RESOURCE_EXHAUSTED",
        "SERVER: Received message larger than max (501 vs. 500)",
    )


async def test_concurrent_calls_over_the_limit(rig: Rig) -> None:
    """`maximum_concurrent_rpcs`: what is too much is refused at once, and there is room again afterwards."""
    gate = asyncio.Event()
    inside = 0

    async def say(request: Any, context: Any) -> Any:
        nonlocal inside
        inside += 1
        await gate.wait()
        return request

    served = await rig.serve(say=say, maximum_concurrent_rpcs=2)
    echo = EchoStub(rig.connect(served.target))
    calls = [echo.Say(words("in")) for _ in range(2)]
    await until(lambda: inside == 2)
    assert await outcome(echo.Say(words("out"))) == ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")
    gate.set()
    assert [await outcome(call) for call in calls] == ["in", "in"]
    await asyncio.sleep(0.05)
    assert (await outcome(echo.Say(words("again"))), inside) == ("again", 3)


async def test_streams_count_as_calls(rig: Rig) -> None:
    """A stream counts for as long as it lasts."""
    served = await rig.serve(maximum_concurrent_rpcs=1, **ECHO)
    echo = EchoStub(rig.connect(served.target))
    call = echo.Chat()
    await call.write(words("a"))
    await call.read()
    assert await outcome(echo.Say(words())) == ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await asyncio.sleep(0.05)
    assert await outcome(echo.Say(words("again"))) == "again"


@pytest.mark.parametrize("method", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_compression(rig: Rig, method: grpc.Compression) -> None:
    """Compressed or not, messages arrive as they were, and limits count what they are unpacked."""
    served = await rig.serve(options=[("grpc.max_receive_message_length", 10_000)], **ECHO)
    echo = EchoStub(rig.connect(served.target))
    assert await echo.Say(exactly(10_000), compression=method) == exactly(10_000)
    assert (await outcome(echo.Say(exactly(20_000), compression=method)))[0] == "RESOURCE_EXHAUSTED"
