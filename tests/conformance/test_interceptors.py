"""Interceptors of both sides: their order, and all that they may do to a call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import drain, forever, outcome, plain, until, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.rig import Rig


class Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """Intercepts unary calls with a function of (continuation, details, request)."""

    def __init__(self, intercept: Callable[..., Any]) -> None:
        self._intercept = intercept

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await self._intercept(continuation, details, request)


class Responses(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, intercept: Callable[..., Any]) -> None:
        self._intercept = intercept

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await self._intercept(continuation, details, request)


class Requests(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, intercept: Callable[..., Any]) -> None:
        self._intercept = intercept

    async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        return await self._intercept(continuation, details, requests)


class Both(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, intercept: Callable[..., Any]) -> None:
        self._intercept = intercept

    async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return await self._intercept(continuation, details, requests)


class Serving(grpc.aio.ServerInterceptor):
    """Intercepts on the server with a function of (continuation, details)."""

    def __init__(self, intercept: Callable[..., Any]) -> None:
        self._intercept = intercept

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        return await self._intercept(continuation, details)


async def test_the_order_of_interceptors(rig: Rig) -> None:
    """On both sides the first of the list is the outermost."""
    seen: list[str] = []

    def client(name: str) -> Unary:
        async def intercept(continuation: Any, details: Any, request: Any) -> Any:
            seen.append(f"client {name} in")
            call = await continuation(details, request)
            await call
            seen.append(f"client {name} out")
            return call

        return Unary(intercept)

    def server(name: str) -> Serving:
        async def intercept(continuation: Any, details: Any) -> Any:
            seen.append(f"server {name} in")
            handler = await continuation(details)
            seen.append(f"server {name} out")
            return handler

        return Serving(intercept)

    async def say(request: Any, context: Any) -> Any:
        seen.append("handler")
        return request

    served = await rig.serve(say=say, interceptors=[server("one"), server("two")])
    channel = rig.connect(served.target, interceptors=[client("one"), client("two")])
    assert await outcome(EchoStub(channel).Say(words("hello"))) == "hello"
    assert seen == [
        "client one in",
        "client two in",
        "server one in",
        "server two in",
        "server two out",
        "server one out",
        "handler",
        "client two out",
        "client one out",
    ]


async def test_what_a_client_interceptor_is_told(rig: Rig) -> None:
    """Method (as bytes), timeout, metadata and `wait_for_ready`, as the caller gave them."""
    seen: list[Any] = []

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        seen.append((details.method, details.timeout, list(details.metadata), details.wait_for_ready))
        return await continuation(details, request)

    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target, interceptors=[Unary(intercept)]))
    await echo.Say(words(), timeout=5, metadata=(("k", "v"),), wait_for_ready=True)
    await echo.Say(words())
    assert seen == [
        (b"/dsim.echo.Echo/Say", 5, [("k", "v")], True),
        (b"/dsim.echo.Echo/Say", None, [], None),
    ]


async def test_interceptors_of_all_four_shapes(rig: Rig) -> None:
    """Each shape has its own kind; others are passed by."""
    seen: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        async def intercept(continuation: Any, details: Any, request: Any) -> Any:
            seen.append(name)
            return await continuation(details, request)

        return intercept

    served = await rig.serve(**ECHO)
    kinds = [Unary, Responses, Requests, Both]
    channel = rig.connect(served.target, interceptors=[kind(noting(kind.__name__)) for kind in kinds])
    echo = EchoStub(channel)
    assert await outcome(echo.Say(words("hello"))) == "hello"
    assert await drain(echo.Repeat(words("w", 2))) == ["w0", "w1"]
    assert await outcome(echo.Gather(iter([words("a"), words("b")]))) == "a b"
    assert await drain(echo.Chat(iter([words("a"), words("b")]))) == ["a", "b"]
    assert seen == ["Unary", "Responses", "Requests", "Both"]


async def test_intercepted_streams_by_read_and_write(rig: Rig) -> None:
    """An intercepted call can be written to and read from as well."""

    async def through(continuation: Any, details: Any, requests: Any) -> Any:
        return await continuation(details, requests)

    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target, interceptors=[Requests(through), Both(through), Responses(through)])
    gathering = EchoStub(channel).Gather()
    for text in ("a", "b"):
        await gathering.write(words(text))
    await gathering.done_writing()
    assert await outcome(gathering) == "a b"
    chatting = EchoStub(channel).Chat()
    await chatting.write(words("c"))
    assert plain(await chatting.read()) == "c"
    await chatting.done_writing()
    assert await chatting.read() is grpc.aio.EOF
    repeating = EchoStub(channel).Repeat(words("w", 1))
    assert [plain(await repeating.read()), await repeating.read()] == ["w0", grpc.aio.EOF]
    assert await chatting.code() == grpc.StatusCode.OK


async def test_an_interceptor_that_answers_itself(rig: Rig) -> None:
    """A response instead of a call: the server never hears of it, the code is OK."""

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        return words("from the cache")

    channel = rig.connect(rig.address(), interceptors=[Unary(intercept)])
    call = EchoStub(channel).Say(words())
    assert await outcome(call) == "from the cache"
    assert (await call.code(), await call.details(), call.done()) == (grpc.StatusCode.OK, "", True)
    assert isinstance(call, grpc.aio.UnaryUnaryCall)


async def test_an_interceptor_that_changes_the_call(rig: Rig) -> None:
    """Metadata and timeout are the interceptor's to change, and the request."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append((dict(context.invocation_metadata())["token"], context.time_remaining() < 10))
        return request

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        changed = grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=5,
            metadata=grpc.aio.Metadata(*details.metadata or (), ("token", "secret")),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )
        return await continuation(changed, words(request.text.upper()))

    served = await rig.serve(say=say)
    channel = rig.connect(served.target, interceptors=[Unary(intercept)])
    assert await outcome(EchoStub(channel).Say(words("hello"), timeout=100)) == "HELLO"
    assert seen == [("secret", True)]


async def test_an_interceptor_that_raises(rig: Rig) -> None:
    """Its exception is what the caller gets."""
    served = await rig.serve(**ECHO)

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        raise ValueError("not today")

    channel = rig.connect(served.target, interceptors=[Unary(intercept)])
    assert await outcome(EchoStub(channel).Say(words())) == ("ValueError", "not today")


async def test_an_interceptor_that_fails_as_a_call_fails(rig: Rig) -> None:
    """An `AioRpcError` becomes the status of the call."""

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAUTHENTICATED,
            initial_metadata=grpc.aio.Metadata(),
            trailing_metadata=grpc.aio.Metadata(("k", "v")),
            details="who are you",
        )

    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target, interceptors=[Unary(intercept)])).Say(words())
    assert await outcome(call) == ("UNAUTHENTICATED", "who are you")
    assert (await call.code(), await call.details()) == (grpc.StatusCode.UNAUTHENTICATED, "who are you")
    assert tuple(await call.trailing_metadata()) == (("k", "v"),)


async def test_an_interceptor_that_tries_again(rig: Rig) -> None:
    """It may make the call as often as it likes."""
    seen: list[int] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(len(seen))
        if len(seen) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return request

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        while True:
            call = await continuation(details, request)
            if await call.code() == grpc.StatusCode.OK:
                return call

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target, interceptors=[Unary(intercept)]))
    assert (await outcome(echo.Say(words("hello"))), seen) == ("hello", [0, 1, 2])


async def test_an_interceptor_that_changes_responses(rig: Rig) -> None:
    """A generator may stand in for a stream of responses."""

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)

        async def louder() -> Any:
            async for message in call:
                yield words(message.text.upper())

        return louder()

    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target, interceptors=[Responses(intercept)])).Repeat(words("w", 2))
    assert await drain(call) == ["W0", "W1"]


async def test_an_interceptor_that_changes_requests(rig: Rig) -> None:
    """It may put its own iterator before the caller's."""

    async def intercept(continuation: Any, details: Any, requests: Any) -> Any:
        async def louder() -> Any:
            async for message in requests:
                yield words(message.text.upper())

        return await continuation(details, louder())

    async def each() -> Any:
        yield words("a")
        yield words("b")

    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target, interceptors=[Requests(intercept), Both(intercept)]))
    assert await outcome(echo.Gather(each())) == "A B"
    assert await drain(echo.Chat(each())) == ["A", "B"]


async def test_an_intercepted_call_that_fails(rig: Rig) -> None:
    """The call object tells all that a bare one does."""

    async def say(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("early", "1"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such word", (("late", "2"),))

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target, interceptors=[Unary(intercept)])).Say(words())
    assert await outcome(call) == ("NOT_FOUND", "no such word")
    assert (await call.code(), await call.details()) == (grpc.StatusCode.NOT_FOUND, "no such word")
    assert tuple(await call.initial_metadata()) == (("early", "1"),)
    assert tuple(await call.trailing_metadata()) == (("late", "2"),)
    assert (call.done(), call.cancelled()) == (True, False)


async def test_cancelling_an_intercepted_call(rig: Rig) -> None:
    """Cancellation goes through to the handler."""
    seen: list[str] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("started")
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target, interceptors=[Unary(intercept)])).Say(words())
    await until(lambda: seen)
    assert call.cancel() is True
    assert await outcome(call) == "CancelledError"
    assert (call.cancelled(), await call.code()) == (True, grpc.StatusCode.CANCELLED)
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cancelled"]


async def test_cancelling_during_the_interceptor(rig: Rig) -> None:
    """A call that is still in its interceptor can be cancelled."""

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        await forever()

    call = EchoStub(rig.connect(rig.address(), interceptors=[Unary(intercept)])).Say(words())
    await asyncio.sleep(0.02)
    assert (call.done(), call.cancel(), await outcome(call)) == (False, True, "CancelledError")
    assert (call.cancelled(), await call.code(), await call.details()) == (
        True,
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )


async def test_done_callbacks_of_an_intercepted_call(rig: Rig) -> None:
    """They are called once, when all is over."""
    seen: list[Any] = []

    async def intercept(continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)

    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target, interceptors=[Unary(intercept)])).Say(words())
    call.add_done_callback(lambda c: seen.append(c.done()))
    await call
    await until(lambda: seen)
    assert seen == [True]


async def test_what_is_no_interceptor(rig: Rig) -> None:
    """A channel takes client interceptors only, a server server interceptors only."""
    with pytest.raises(ValueError, match="must be"):
        rig.connect(rig.address(), interceptors=[object()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="must be"):
        await rig.serve(interceptors=[object()])  # type: ignore[list-item]


# On the server


async def test_what_a_server_interceptor_is_told(rig: Rig) -> None:
    """Method and metadata; it runs before the handler is even found."""
    seen: list[Any] = []

    async def intercept(continuation: Any, details: Any) -> Any:
        seen.append((details.method, dict(details.invocation_metadata)["k"]))
        handler = await continuation(details)
        seen.append(handler is not None)
        return handler

    served = await rig.serve(interceptors=[Serving(intercept)], **ECHO)
    channel = rig.connect(served.target)
    await EchoStub(channel).Say(words(), metadata=(("k", "1"),))
    await outcome(channel.unary_unary("/no/Such")(b"", metadata=(("k", "2"),)))
    assert seen == [("/dsim.echo.Echo/Say", "1"), True, ("/no/Such", "2"), False]


async def test_a_server_interceptor_that_refuses(rig: Rig) -> None:
    """It answers with a handler of its own."""
    seen: list[str] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append("handler")
        return request

    async def refuse(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

    async def intercept(continuation: Any, details: Any) -> Any:
        if "token" in dict(details.invocation_metadata):
            return await continuation(details)
        return grpc.unary_unary_rpc_method_handler(refuse)

    served = await rig.serve(say=say, interceptors=[Serving(intercept)])
    echo = EchoStub(rig.connect(served.target))
    assert await outcome(echo.Say(words("a"))) == ("UNAUTHENTICATED", "no token")
    assert await outcome(echo.Say(words("b"), metadata=(("token", "t"),))) == "b"
    assert seen == ["handler"]


async def test_a_server_interceptor_that_wraps_the_handler(rig: Rig) -> None:
    """It may put its own function around the real one."""

    async def intercept(continuation: Any, details: Any) -> Any:
        handler = await continuation(details)

        async def around(request: Any, context: Any) -> Any:
            context.set_trailing_metadata((("seen", "yes"),))
            response = await handler.unary_unary(request, context)
            return words(response.text + "!")

        return grpc.unary_unary_rpc_method_handler(
            around,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    served = await rig.serve(interceptors=[Serving(intercept)], **ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    assert await outcome(call) == "hello!"
    assert tuple(await call.trailing_metadata()) == (("seen", "yes"),)


async def test_a_server_interceptor_that_finds_nobody(rig: Rig) -> None:
    """Returning None means that the method is not there."""

    async def intercept(continuation: Any, details: Any) -> Any:
        return None

    served = await rig.serve(interceptors=[Serving(intercept)], **ECHO)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "UNIMPLEMENTED",
        "Method not found!",
    )


async def test_a_server_interceptor_that_raises(rig: Rig) -> None:
    """As a handler that raises."""

    async def intercept(continuation: Any, details: Any) -> Any:
        raise ValueError("not today")

    served = await rig.serve(interceptors=[Serving(intercept)], **ECHO)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words(), timeout=1)) == (
        "UNKNOWN",
        "Unexpected <class 'ValueError'>: not today",
    )
