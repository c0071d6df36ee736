"""Unary calls: what comes back, and what goes wrong in a handler or around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import outcome, plain, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig

SAY = "/dsim.echo.Echo/Say"


async def test_an_answer(rig: Rig) -> None:
    """A unary call returns the response, and its call object the rest."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words("hello", 7, b"\0\xff"))
    assert await call == words("hello", 7, b"\0\xff")
    assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")
    assert (tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())) == ((), ())
    assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)


async def test_an_empty_message(rig: Rig) -> None:
    """A message of no bytes is a message."""
    served = await rig.serve(**ECHO)
    assert await EchoStub(rig.connect(served.target)).Say(Words()) == Words()


async def test_bytes_without_generated_code(rig: Rig) -> None:
    """Without serializers a channel carries bytes, and any name of a method goes."""

    async def reverse(request: bytes, context: Any) -> bytes:
        return request[::-1]

    def add(server: grpc.aio.Server) -> None:
        handlers = {"Reverse": grpc.unary_unary_rpc_method_handler(reverse)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Name", handlers),))

    served = await rig.serve(add=add)
    assert await rig.connect(served.target).unary_unary("/any.Name/Reverse")(b"abc\0") == b"\0cba"


async def test_a_generic_handler(rig: Rig) -> None:
    """A generic handler is asked about each method, with the metadata of the call."""

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            async def answer(request: bytes, context: Any) -> bytes:
                return f"{details.method} {dict(details.invocation_metadata)['key']}".encode()

            return None if "Nothing" in details.method else grpc.unary_unary_rpc_method_handler(answer)

    served = await rig.serve(add=lambda server: server.add_generic_rpc_handlers((Everything(),)))
    channel = rig.connect(served.target)
    metadata = (("key", "value"),)
    assert await outcome(channel.unary_unary("/a/b")(b"", metadata=metadata)) == b"/a/b value"
    assert await outcome(channel.unary_unary("/a/Nothing")(b"", metadata=metadata)) == (
        "UNIMPLEMENTED",
        "Method not found!",
    )


async def test_handlers_added_to_a_running_server(rig: Rig) -> None:
    """Generic handlers may come late; of two for the same method the first counts."""
    served = await rig.serve(**ECHO)
    for name in (b"first", b"second"):

        async def answer(request: bytes, context: Any, name: bytes = name) -> bytes:
            return name

        handlers = {"Late": grpc.unary_unary_rpc_method_handler(answer)}
        served.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("any.Name", handlers),))
    assert await outcome(rig.connect(served.target).unary_unary("/any.Name/Late")(b"")) == b"first"


async def test_several_services_on_one_server(rig: Rig) -> None:
    """Services share a server; a method belongs to its service."""

    async def other(request: bytes, context: Any) -> bytes:
        return b"other"

    def add(server: grpc.aio.Server) -> None:
        handlers = {"Say": grpc.unary_unary_rpc_method_handler(other)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("other.Echo", handlers),))

    served = await rig.serve(add=add, **ECHO)
    channel = rig.connect(served.target)
    assert await outcome(EchoStub(channel).Say(words("echo"))) == "echo"
    assert await outcome(channel.unary_unary("/other.Echo/Say")(b"")) == b"other"


@pytest.mark.parametrize("method", ["/dsim.echo.Echo/Shout", "/dsim.echo.Other/Say", "/nonsense"])
async def test_unknown_method_or_service(rig: Rig, method: str) -> None:
    """What nobody handles is UNIMPLEMENTED."""
    served = await rig.serve(**ECHO)
    call = rig.connect(served.target).unary_unary(method)(b"")
    assert await outcome(call) == ("UNIMPLEMENTED", "Method not found!")


async def test_a_server_without_handlers(rig: Rig) -> None:
    """A server to which nothing was added answers that it implements nothing."""
    served = await rig.serve()
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "UNIMPLEMENTED",
        "Method not found!",
    )


async def test_a_method_left_out(rig: Rig) -> None:
    """The generated base class answers for methods that a servicer does not override."""
    served = await rig.serve(say=ECHO["say"])
    echo = EchoStub(rig.connect(served.target))
    assert await outcome(echo.Gather(iter(()))) == (
        "UNIMPLEMENTED",
        "Unexpected <class 'NotImplementedError'>: Method not implemented!",
    )


async def test_a_handler_that_is_not_async(rig: Rig) -> None:
    """A plain function serves as well."""

    def say(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("plain", "yes"),))
        return words(request.text.upper())

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    assert await outcome(call) == "HELLO"
    assert tuple(await call.trailing_metadata()) == (("plain", "yes"),)


async def test_an_exception_in_a_handler(rig: Rig) -> None:
    """It is UNKNOWN, and its text is the details."""

    async def say(request: Any, context: Any) -> Any:
        raise ValueError("no such word")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "UNKNOWN",
        "Unexpected <class 'ValueError'>: no such word",
    )


async def test_an_exception_in_a_plain_handler(rig: Rig) -> None:
    """A plain function's exception is reported as an async one's is."""

    def say(request: Any, context: Any) -> Any:
        raise KeyError("no such word")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "UNKNOWN",
        "Unexpected <class 'KeyError'>: 'no such word'",
    )


async def test_an_exception_after_set_code(rig: Rig) -> None:
    """A code that was set before an exception stands; the details are the exception's."""

    async def say(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("lost it")
        raise ValueError("no such word")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "DATA_LOSS",
        "Unexpected <class 'ValueError'>: no such word",
    )


@pytest.mark.parametrize("answer", [None, "text", 7])
async def test_a_handler_that_returns_what_is_no_message(rig: Rig, answer: Any) -> None:
    """What cannot be serialized fails on the server."""

    async def say(request: Any, context: Any) -> Any:
        return answer

    served = await rig.serve(say=say)
    code, details = await outcome(EchoStub(rig.connect(served.target)).Say(words()))
    assert (code, details[:35]) == ("UNKNOWN", "Unexpected <class 'TypeError'>: des")


async def test_a_request_that_is_no_message(rig: Rig) -> None:
    """What the client cannot serialize is logged, and an empty message is sent in its place."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(request)
        return words("heard")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say("text")) == "heard"  # type: ignore[arg-type]
    assert seen == [Words()]


async def test_bytes_that_the_server_cannot_parse(rig: Rig) -> None:
    """A request that cannot be deserialized fails on the server, before the handler."""
    served = await rig.serve(**ECHO)
    code, details = await outcome(rig.connect(served.target).unary_unary(SAY)(b"\xff\xff\xff"))
    assert (code, details[:62]) == (
        "UNKNOWN",
        "Unexpected <class 'google.protobuf.message.DecodeError'>: Erro",
    )


async def test_bytes_that_the_client_cannot_parse(rig: Rig) -> None:
    """A response that cannot be deserialized is logged, and None is returned in its place."""
    served = await rig.serve(**ECHO)

    def parse(data: bytes) -> Any:
        raise ValueError("not for me")

    call = rig.connect(served.target).unary_unary(SAY, response_deserializer=parse)(b"")
    assert await call is None
    assert await call.code() == grpc.StatusCode.OK


async def test_awaiting_twice(rig: Rig) -> None:
    """A call can be awaited again, by anybody: it gives the same again."""

    async def say(request: Any, context: Any) -> Any:
        if not request.text:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "say something")
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    good, bad = echo.Say(words("hello")), echo.Say(words())
    first, second = await asyncio.gather(good, good)
    assert first is second
    assert (plain(await good), await outcome(bad), await outcome(bad)) == (
        "hello",
        ("INVALID_ARGUMENT", "say something"),
        ("INVALID_ARGUMENT", "say something"),
    )


async def test_asking_before_the_end(rig: Rig) -> None:
    """`code`, `details` and `trailing_metadata` wait for the end; nobody need await the call itself."""
    gate = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        await gate.wait()
        await context.abort(grpc.StatusCode.ABORTED, "at last", (("late", "1"),))

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    asked = [asyncio.ensure_future(c) for c in (call.code(), call.details(), call.trailing_metadata())]
    await asyncio.sleep(0.1)
    assert (call.done(), [question.done() for question in asked]) == (False, [False] * 3)
    gate.set()
    code, details, metadata = await asyncio.gather(*asked)
    assert (code, details, tuple(metadata)) == (grpc.StatusCode.ABORTED, "at last", (("late", "1"),))
    assert call.done()


async def test_done_callbacks(rig: Rig) -> None:
    """They are called once each, in order, with the call; late ones too."""
    seen: list[Any] = []
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    call.add_done_callback(lambda c: seen.append(("first", c is call, c.done())))
    call.add_done_callback(lambda c: seen.append(("second", c is call, c.done())))
    await call
    await until(lambda: len(seen) == 2)
    call.add_done_callback(lambda c: seen.append(("late", c is call, c.done())))
    await until(lambda: len(seen) == 3)
    assert seen == [("first", True, True), ("second", True, True), ("late", True, True)]


async def test_a_done_callback_that_raises(rig: Rig) -> None:
    """Whoever awaits the call gets its exception, and later callbacks are not called."""
    seen: list[str] = []

    def bad(_: Any) -> None:
        seen.append("bad")
        raise ValueError("in a callback")

    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    call.add_done_callback(bad)
    call.add_done_callback(lambda _: seen.append("good"))
    assert await outcome(call) == ("ValueError", "in a callback")
    assert seen == ["bad"]


@pytest.mark.differs(door="the door's calls have a class of their own, and its name is told")
async def test_what_a_call_looks_like(rig: Rig) -> None:
    """`str` of a call tells how it ended (with details and code changed over, as they are in grpc.aio)."""

    async def say(request: Any, context: Any) -> Any:
        if not request.text:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such word")
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    good, bad = echo.Say(words("hello")), echo.Say(words())
    before = str(good)
    await outcome(good)
    await outcome(bad)
    assert before == "<_AioCall object>"
    assert str(good) == (
        '<_AioCall of RPC that terminated with:\n\tstatus = \n\tdetails = "StatusCode.OK"\n'
        '\tdebug_error_string = ""\n>'
    )
    assert str(bad).startswith(
        "<_AioCall of RPC that terminated with:\n\tstatus = no such word\n"
        '\tdetails = "StatusCode.NOT_FOUND"\n\tdebug_error_string = "'
    )


async def test_what_calls_are(rig: Rig) -> None:
    """Calls, channel, server and metadata are instances of the classes that grpc.aio publishes."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    echo = EchoStub(channel)
    calls = [echo.Say(words()), echo.Repeat(words()), echo.Gather(iter(())), echo.Chat(iter(()))]
    kinds = [
        grpc.aio.UnaryUnaryCall,
        grpc.aio.UnaryStreamCall,
        grpc.aio.StreamUnaryCall,
        grpc.aio.StreamStreamCall,
    ]
    assert [[isinstance(call, kind) for kind in kinds] for call in calls] == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    assert all(isinstance(call, grpc.aio.Call) and isinstance(call, grpc.aio.RpcContext) for call in calls)
    assert isinstance(channel, grpc.aio.Channel) and isinstance(served.server, grpc.aio.Server)
    await calls[0]
    assert isinstance(await calls[0].initial_metadata(), grpc.aio.Metadata)


async def test_a_thousand_calls_at_once(rig: Rig) -> None:
    """A thousand calls run side by side on one channel: the last to arrive lets all of them go."""
    arrived = 0
    everybody = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        nonlocal arrived
        arrived += 1
        if arrived == 1000:
            everybody.set()
        await everybody.wait()
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    answers = await asyncio.gather(*(echo.Say(words(number=number)) for number in range(1000)))
    assert [answer.number for answer in answers] == list(range(1000))


async def test_a_handler_that_cancels_itself(rig: Rig) -> None:
    """A `CancelledError` that nobody asked for ends the handler, and nobody tells the caller."""

    async def say(request: Any, context: Any) -> Any:
        raise asyncio.CancelledError

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words(), timeout=0.3)) == (
        "DEADLINE_EXCEEDED",
        "Deadline Exceeded",
    )


async def test_a_handler_that_calls_its_own_server(rig: Rig) -> None:
    """A server serves calls that its own handlers make."""
    channels: list[grpc.aio.Channel] = []

    async def say(request: Any, context: Any) -> Any:
        if not request.number:
            return request
        return await EchoStub(channels[0]).Say(words(f"{request.text}{request.number}", request.number - 1))

    served = await rig.serve(say=say)
    channels.append(rig.connect(served.target))
    assert await outcome(EchoStub(channels[0]).Say(words("", 3))) == "321"


@pytest.mark.differs(door="the door's wrapper takes it for a plain function: other words")
async def test_a_generator_for_a_unary_method(rig: Rig) -> None:
    """A handler of the wrong shape fails the call."""

    async def say(request: Any, context: Any) -> Any:
        yield request

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "UNKNOWN",
        "Unexpected <class 'TypeError'>: object async_generator can't be used in 'await' expression",
    )


async def test_a_handler_that_calls_another_server(rig: Rig) -> None:
    """A handler is a client too; context variables of the caller do not travel."""
    behind = await rig.serve(**ECHO)

    async def say(request: Any, context: Any) -> Any:
        answer = await EchoStub(rig.connect(behind.target)).Say(words(request.text + "!"))
        return words(answer.text + "?")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words("hello"))) == "hello!?"
