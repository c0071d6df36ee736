"""Handlers behind the door.

Each handler is wrapped when it is added to a server, in a function of its own kind (coroutine, generator,
plain), so that grpc.aio treats it as the original. The wrapper turns away calls without the cluster's token,
hides the door's metadata from the service, records, and lets rules hold or lose the reply.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from services.real.calls import LOST, REFUSAL, Context, Incoming, PlainContext, admit, code_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from services.real.host import RealHost

_KEPT = 1000
"""Wrapped handlers that a server remembers: some services make a handler anew for every call."""


class Handlers(grpc.GenericRpcHandler):
    """A service's generic handler, with wrapped methods."""

    def __init__(self, host: RealHost, inner: grpc.GenericRpcHandler) -> None:
        self._host = host
        self._inner = inner
        self._wrapped: dict[Any, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Returns the handler of a method, None when it has none."""
        handler = self._inner.service(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped.get(handler)
        if wrapped is None:
            wrapped = wrap(self._host, handler_call_details.method, handler)
            if len(self._wrapped) < _KEPT:
                self._wrapped[handler] = wrapped
        return wrapped


def wrap(host: RealHost, method: str, handler: Any) -> Any:
    """Returns a handler like the given one, behind the door."""
    shape = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    behaviour = getattr(handler, shape)
    if handler.response_streaming:
        wrapped = _streaming(host, method, behaviour, streaming=handler.request_streaming)
    else:
        wrapped = _single(host, method, behaviour, streaming=handler.request_streaming)
    make: Callable[..., Any] = getattr(grpc, f"{shape}_rpc_method_handler")
    return make(wrapped, handler.request_deserializer, handler.response_serializer)


async def _requests(messages: Any, call: Incoming) -> AsyncIterator[Any]:
    async for message in messages:
        await call.read(message)
        yield message


def _single(host: RealHost, method: str, behaviour: Any, *, streaming: bool) -> Any:
    """Wraps a handler that returns its one response."""
    if not inspect.iscoroutinefunction(behaviour):
        return _threaded(host, method, behaviour, streaming=streaming, many=False)

    async def single(request: Any, context: Any) -> Any:
        call = admit(host, method, context, streaming=streaming)
        if call is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)
            return None
        if call.link.rule is not None:
            await call.link.carried_in()
        try:
            response = await behaviour(
                _requests(request, call) if streaming else request, Context(context, call)
            )
        except Exception:
            if not context.done():  # that is, not by `abort`
                await call.end(context, code_of(context, "UNKNOWN"))
            raise
        call.sent(code_of(context, "OK"))
        if call.link.rule is not None or host.door.losing:
            await call.leave(context)
        return response

    return single


def _streaming(host: RealHost, method: str, behaviour: Any, *, streaming: bool) -> Any:
    """Wraps a handler that streams its responses, by generator or by `context.write`."""
    if inspect.isasyncgenfunction(behaviour):

        async def respond(request: Any, context: Context, call: Incoming) -> None:
            async for message in behaviour(request, context):
                await context.write(message)

    elif inspect.iscoroutinefunction(behaviour):

        async def respond(request: Any, context: Context, call: Incoming) -> None:
            await behaviour(request, context)

    else:
        return _threaded(host, method, behaviour, streaming=streaming, many=True)

    async def stream(request: Any, context: Any) -> None:
        call = admit(host, method, context, streaming=streaming)
        if call is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)
            return
        if call.link.rule is not None:
            await call.link.carried_in()
        try:
            await respond(_requests(request, call) if streaming else request, Context(context, call), call)
            await call.end(context, code_of(context, "OK"))
        except Exception:
            if not context.done():  # that is, not by `abort`
                await call.end(context, code_of(context, "UNKNOWN"))
            raise
        finally:
            if call.conveyor is not None:
                call.conveyor.stop()

    return stream


def _threaded(host: RealHost, method: str, behaviour: Any, *, streaming: bool, many: bool) -> Any:
    """Wraps a plain function or generator, which grpc.aio runs in a thread: there the door is waited at."""
    loop = asyncio.get_running_loop()

    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def arrive(context: Any) -> Incoming | None:
        call = admit(host, method, context, streaming=streaming)
        if call is not None and call.link.rule is not None:
            await call.link.carried_in()
        return call

    async def leave(call: Incoming, code: str) -> bool:
        """Says whether the reply is to be lost."""
        call.sent(code)
        if call.link.rule is not None:
            await call.link.carried_out()
        return bool(host.door.losing) and host.door.loses_reply(method)

    def begin(context: Any) -> tuple[PlainContext, Callable[[str], None]]:
        call = wait(arrive(context))
        if call is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)

        def reply(code: str) -> None:
            if wait(leave(call, code)):
                context.set_trailing_metadata(())
                context.abort(grpc.StatusCode.UNAVAILABLE, LOST)

        return PlainContext(context, reply), reply

    def one(request: Any, context: Any) -> Any:
        seen, reply = begin(context)
        with _failure_told(reply):
            response = behaviour(request, seen)
        reply("OK")
        return response

    def several(request: Any, context: Any) -> Any:
        seen, reply = begin(context)
        with _failure_told(reply):
            for response in behaviour(request, seen):
                reply("")
                yield response
        reply("OK")

    return several if many else one


@contextmanager
def _failure_told(reply: Callable[[str], None]) -> Iterator[None]:
    """Has the door let out an exception's error as it does that of an `abort`."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Exception:
        reply("UNKNOWN")
        raise
