"""How a handler is found, run and concluded: the general way, for every kind of handler.

This follows grpc.aio's own `_handle_rpc` step by step; `worker` has a shorter way for the commonest kind.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import traceback
from typing import TYPE_CHECKING, Any

from grpc._cython import cygrpc
from msgspec import Struct

from sim.world.rpc import status
from sim.world.rpc.metadata import visible
from sim.world.rpc.sync import SyncContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sim.world.rpc.context import Context
    from sim.world.rpc.serving import CoreServer

_LOGGER = logging.getLogger("grpc.aio.server")


class Handler(Struct, eq=False):
    """A `grpc.RpcMethodHandler`, and what is known of it.

    Attributes:
        behaviour: the function that serves.
        fast: it is a coroutine function from one request to one response.
    """

    request_streaming: bool
    response_streaming: bool
    request_deserializer: Any
    response_serializer: Any
    behaviour: Any
    fast: bool


def understand(handler: Any) -> Handler:
    """Returns what is known of a method handler."""
    many, stream = bool(handler.request_streaming), bool(handler.response_streaming)
    if many:
        behaviour = handler.stream_stream if stream else handler.stream_unary
    else:
        behaviour = handler.unary_stream if stream else handler.unary_unary
    fast = not many and not stream and inspect.iscoroutinefunction(behaviour)
    return Handler(many, stream, handler.request_deserializer, handler.response_serializer, behaviour, fast)


def _is_async(behaviour: Any) -> bool:
    return (
        inspect.isawaitable(behaviour)
        or inspect.iscoroutinefunction(behaviour)
        or inspect.isasyncgenfunction(behaviour)
    )


async def serve(server: CoreServer, context: Context) -> None:
    """Serves one RPC, whatever becomes of it."""
    try:
        await _serve(server, context)
    except BaseException as exc:
        failed(context, exc)
    else:
        if context._abort is not None:
            _LOGGER.error(
                "Abort error unexpectedly suppressed: %s", traceback.format_exception(context._abort)
            )


def failed(context: Context, error: BaseException) -> None:
    """Concludes an RPC whose handler has raised."""
    method = context._stream.method
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    if isinstance(error, cygrpc.AbortError):
        if context._abort is not error:
            raise AssertionError("Abort error has been replaced!") from error
    elif isinstance(error, asyncio.CancelledError):
        _LOGGER.debug("RPC cancelled for servicer method [%s]", method)
    elif isinstance(error, cygrpc._ServerStoppedError):
        _LOGGER.warning("Aborting method [%s] due to server stop.", method)
    elif isinstance(error, cygrpc.ExecuteBatchError):
        if not context._client_closed:
            _LOGGER.error("ExecuteBatchError raised in core by servicer method [%s]", method, exc_info=error)
    elif isinstance(error, Exception):
        _LOGGER.error(
            "Unexpected [%s] raised by servicer method [%s]", type(error).__name__, method, exc_info=error
        )
        if not context._status_sent:
            code = status.UNKNOWN if context._code == status.OK else context._code
            context._code, context._details = code, f"Unexpected {type(error)}: {error}"
            context._conclude()
    else:
        raise error
    context._plain = False


async def _serve(server: CoreServer, context: Context) -> None:
    handler = context._handler
    if handler is None:
        found = await _find(server, context)
        if found is None:
            context._end_with(status.failure(status.UNIMPLEMENTED, status.METHOD_NOT_FOUND))
            return
        handler = context._handler = understand(found)
    if context._excess:
        context._end_with(status.failure(status.RESOURCE_EXHAUSTED, status.TOO_MANY_CALLS))
        return
    context._deserialize = handler.request_deserializer
    context._serialize = handler.response_serializer
    request: Any
    if not handler.request_streaming:
        data = context._request
        if data is None:
            data = await context._in().get()
        if data is None:
            return
        decode = handler.request_deserializer
        request = data if decode is None else decode(data)
    elif _is_async(handler.behaviour):
        _unpack(context)
        request = _Requests(context)
    else:
        _unpack(context)
        request = await _collect(context)
    if handler.response_streaming:
        await _stream(server, context, handler, request)
    else:
        await _unary(server, context, handler, request)


def _unpack(context: Context) -> None:
    """Makes a stream of one out of a unary request: on the wire they are the same."""
    if context._request is not None:
        inflow = context._in()
        inflow.put(context._request)
        inflow.end()
        context._request = None


async def _unary(server: CoreServer, context: Context, handler: Handler, request: Any) -> None:
    if _is_async(handler.behaviour):
        response = await handler.behaviour(request, context)
    else:
        sync = SyncContext(context)
        response = await server.loop.run_in_executor(None, handler.behaviour, request, sync)
        for callback in sync._callbacks:
            callback()
    server.finish_unary(context, handler, response)


async def _stream(server: CoreServer, context: Context, handler: Handler, request: Any) -> None:
    behaviour = handler.behaviour
    if inspect.iscoroutinefunction(behaviour):
        await behaviour(request, context)
    else:
        responses: Any
        if inspect.isasyncgenfunction(behaviour):
            responses = behaviour(request, context)
        else:
            responses = _iterate(behaviour(request, SyncContext(context)))
        async for response in responses:
            context._check()
            await context.write(response)
            del response  # the next may take long, and this one may be large
    context._check()
    if not server.loses(context):
        context._conclude()


def finish_unary(context: Context, response: Any, encode: Any, max_send: int) -> None:
    """Sends the response of a handler that has one, with all that the handler has said of it."""
    context._check()
    data = None
    if context._code == status.OK:
        data = response if encode is None else encode(response)
        if not isinstance(data, bytes):
            raise TypeError(f"Expected bytes, got {type(data)}")
        if len(data) > max_send:
            words = f"SERVER: {status.too_large_to_send(len(data), max_send)}"
            context._plain = False
            context._end_with(status.failure(status.RESOURCE_EXHAUSTED, words))
            return
    context._conclude(data)


async def _iterate(responses: Iterator[Any]) -> AsyncIterator[Any]:
    for response in responses:
        yield response


async def _collect(context: Context) -> Iterator[Any]:
    """Returns all requests: a handler that is no coroutine cannot wait for them one by one."""
    requests = [request async for request in _Requests(context)]
    return iter(requests)


class _Requests:
    """The requests of a stream, as an asynchronous iterator."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._generator: AsyncIterator[Any] | None = None

    async def _receive(self) -> AsyncIterator[Any]:
        while True:
            message = await self._context.read()
            if message is cygrpc.EOF:
                return
            yield message

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._generator is None:
            self._generator = self._receive()
        return self._generator

    async def __anext__(self) -> Any:
        return await self.__aiter__().__anext__()


async def _find(server: CoreServer, context: Context) -> Any:
    """Returns the method handler, by way of the interceptors."""
    details = cygrpc._HandlerCallDetails(context._stream.method, visible(context._stream.metadata))
    return await _intercept(iter(server.interceptors), server.resolve, details)


async def _intercept(interceptors: Iterator[Any], resolve: Any, details: Any) -> Any:
    interceptor = next(interceptors, None)
    if interceptor is None:
        return resolve(details)
    continuation = functools.partial(_intercept, interceptors, resolve)
    return await interceptor.intercept_service(continuation, details)
