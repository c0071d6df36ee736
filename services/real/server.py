"""Servers through the door: real `grpc.aio` servers whose handlers know who calls.

Each handler is wrapped when it is added, in a function of its own kind (coroutine, generator, plain), so
grpc.aio treats it as the original. The wrapper turns away calls without the cluster's token, hides
the door's metadata from the service, records, and lets rules hold or lose the reply.
"""

from __future__ import annotations

import asyncio
import inspect
from hmac import compare_digest
from time import time_ns
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import _server as _aio

from protos.trace import Message
from services.real.channel import CALL_KEY, credential
from services.real.conveyor import END, Conveyor
from services.real.names import parse_port
from services.real.tracing import Sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from services.real.door import Link
    from services.real.host import RealHost

_OPTIONS = (("grpc.so_reuseport", 0),)  # two servers on one port would share its connections
_BIND_WITHIN = 5.0  # seconds to wait for a port that a predecessor still holds
_LOST = "Socket closed"  # what gRPC says of a connection that broke
_REFUSAL = "this cluster's token is missing from the call's metadata"


class Server(_aio.Server):
    """A `grpc.aio.Server` on a host of the cluster. Its ports are the host's: names, not the machine's."""

    def __init__(
        self,
        host: RealHost,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
        compression: grpc.Compression | None = None,
        migration_thread_pool: Any = None,
        handlers: Sequence[grpc.GenericRpcHandler] = (),
    ) -> None:
        self._host = host
        self._ports: list[int] = []
        self._unbound: list[int] = []
        gate = (Authentication(host.token),) if interceptors else ()
        super().__init__(
            migration_thread_pool,
            [_Handlers(host, handler) for handler in handlers],
            (*gate, *interceptors),
            (*options, *_OPTIONS),
            maximum_concurrent_rpcs,
            compression,
        )

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As grpc.aio's."""
        super().add_generic_rpc_handlers([_Handlers(self._host, handler) for handler in generic_rpc_handlers])

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """As grpc.aio's."""
        super().add_registered_method_handlers(
            service_name,
            {
                name: wrap(self._host, f"/{service_name}/{name}", handler)
                for name, handler in method_handlers.items()
            },
        )

    def add_insecure_port(self, address: str) -> int:
        """Serves on a port of this host.

        Args:
            address: "[::]:50051" or the like; only its port counts. 0 takes any.

        Returns:
            The port, by which others connect to this host.
        """
        port = parse_port(address)
        if port == 0:
            port = self._host.any_port()
        self._ports.append(port)
        if not self._bind(port):
            self._unbound.append(port)  # a predecessor may still be dying: `start` tries again
        return port

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Is refused: hosts of a cluster talk in the clear, and the cluster's token is their credential."""
        raise NotImplementedError(f"{address}: TLS inside a cluster is not supported; use add_insecure_port")

    async def start(self) -> None:
        """Starts serving.

        Raises:
            OSError: a port is taken by another program.
        """
        deadline = asyncio.get_running_loop().time() + _BIND_WITHIN
        while self._unbound:
            self._unbound = [port for port in self._unbound if not self._bind(port)]
            if self._unbound:
                if asyncio.get_running_loop().time() > deadline:
                    port = self._unbound[0]
                    where = self._host.names.resolve(self._host.name, port)
                    raise OSError(
                        f"{self._host.name}:{port} is to be {where}, which another program has taken"
                    )
                await asyncio.sleep(0.05)
        await super().start()
        self._host.serving.update(dict.fromkeys(self._ports))

    async def stop(self, grace: float | None) -> None:
        """As grpc.aio's."""
        for port in self._ports:
            self._host.serving.pop(port, None)
        await super().stop(grace)

    def _bind(self, port: int) -> bool:
        where = self._host.names.resolve(self._host.name, port)
        try:
            super().add_insecure_port(self._host.listens_at(where))
        except RuntimeError:
            return False
        return True


class _Handlers(grpc.GenericRpcHandler):
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
            if len(self._wrapped) < 1000:  # a handler made anew for every call is not worth keeping
                self._wrapped[handler] = wrapped
        return wrapped


class Authentication(grpc.aio.ServerInterceptor):
    """Keeps calls without the token from whatever comes behind it.

    (Handlers check for themselves; an interceptor in front of them would cost every call more.)
    """

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Passes the call on, if it may."""
        agent = dict(handler_call_details.invocation_metadata).get("user-agent", "")
        if caller(agent, self._token) is not None:
            return await continuation(handler_call_details)

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)

        return grpc.unary_unary_rpc_method_handler(refuse)


class Context:
    """What a handler gets for its context: the real one, without the door's metadata."""

    __slots__ = ("_call", "_inner")

    def __init__(self, inner: Any, call: Incoming) -> None:
        self._inner = inner
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def invocation_metadata(self) -> Any:
        """Returns the metadata that the caller sent."""
        return tuple(
            (key, value.rpartition(" ")[0]) if key == "user-agent" else (key, value)
            for key, value in self._inner.invocation_metadata()
            if key != CALL_KEY
        )

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Has `callback` called, with what the handler knows as its context, when the call has ended."""
        self._inner.add_done_callback(lambda _: callback(self))

    async def read(self) -> Any:
        """Reads the next message of the caller's."""
        message = await self._inner.read()
        await self._call.read(message)
        return message

    async def write(self, message: Any) -> None:
        """Writes a message to the caller."""
        await self._call.write(self._inner, message)

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Sends the initial metadata."""
        if self._call.link.rule is not None:
            await self._call.link.cleared()
        await self._inner.send_initial_metadata(metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        """Ends the call with an error."""
        if not self._inner.done():
            await self._call.end(self._inner, getattr(code, "name", str(code)))  # a number does, too
        await self._inner.abort(code, details, trailing_metadata)

    async def abort_with_status(self, status: grpc.Status) -> None:
        """Ends the call with an error."""
        await self.abort(status.code, status.details, status.trailing_metadata)


class Incoming:
    """One call at the server's side."""

    __slots__ = ("conveyor", "host", "link", "method", "number", "reads", "writes")

    def __init__(self, host: RealHost, link: Link, method: str, number: int) -> None:
        self.host = host
        self.link = link
        self.method = method
        self.number = number
        self.reads = 0
        self.writes = 0
        self.conveyor: Conveyor | None = None

    def received(self, sent: int = 0, size: int = 0) -> None:
        """Records a request."""
        host = self.host
        host.door.received += 1
        if host.tracing.on:
            now = time_ns()
            host.tracing.write(
                Message(
                    now,
                    host.name,
                    self.link.peer,
                    sent or now,
                    self.number,
                    self.method,
                    "request",
                    size,
                    "",
                    "",
                    self.reads,
                )
            )
            self.reads += 1

    def sent(self, code: str = "") -> None:
        """Records a response."""
        host = self.host
        host.door.sent += 1
        if host.tracing.on:
            host.tracing.sent(
                Sent(
                    time_ns(),
                    host.name,
                    self.link.peer,
                    self.number,
                    self.method,
                    "response",
                    0,
                    code,
                    self.writes,
                )
            )
            self.writes += 1

    async def read(self, message: Any) -> None:
        """Lets in a message of a stream."""
        if self.link.rule is not None:
            await self.link.carried_in()
        if message is not grpc.aio.EOF:
            self.received()

    async def write(self, context: Any, message: Any) -> None:
        """Sends a message of a stream."""
        self.sent()
        if self.host.door.losing:
            await self.lose(context)
        if self.link.rule is not None or self.conveyor is not None:
            if self.conveyor is None:
                self.conveyor = Conveyor(self.link, context.write, context.done)
            await self.conveyor.put(message)
        else:
            await context.write(message)

    async def end(self, context: Any, code: str) -> None:
        """Lets out the end of a call."""
        self.sent(code)
        await self.leave(context)

    async def leave(self, context: Any) -> None:
        """Waits at the rules, and loses the reply if it is to be."""
        if self.conveyor is not None:
            await self.conveyor.put(END)
            await self.conveyor.drained()
        elif self.link.rule is not None:
            await self.link.carried_out()
        if self.host.door.losing:
            await self.lose(context)

    async def lose(self, context: Any) -> None:
        """Has the reply lost, if it is to be: the caller sees the connection break."""
        if self.host.door.loses_reply(self.method):
            context.set_trailing_metadata(())
            await context.abort(grpc.StatusCode.UNAVAILABLE, _LOST)


def caller(agent: str, token: str) -> str | None:
    """Returns who calls, by the user agent; None when that does not hold the token."""
    proof, _, name = agent.rpartition(" ")[2].rpartition("/")
    return name if compare_digest(f"{proof}/".encode(), credential(token, "").encode()) else None


def admit(host: RealHost, method: str, context: Any, *, streaming: bool) -> Incoming | None:
    """Returns the call, or None when it lacks the token."""
    agent, about = "", "0 0 0"
    for key, value in context.invocation_metadata():
        if key == "user-agent":
            agent = value
        elif key == CALL_KEY:
            about = value
    link = host.callers.get(agent)
    if link is None:
        name = caller(agent, host.token)
        if name is None:
            return None
        link = host.callers[agent] = host.door.link(name)
    number, sent, size = about.split(" ")
    call = Incoming(host, link, method, int(number))
    if not streaming:
        call.received(int(sent), int(size))
    return call


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
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)
            return None
        if call.link.rule is not None:
            await call.link.carried_in()
        try:
            response = await behaviour(
                _requests(request, call) if streaming else request, Context(context, call)
            )
        except Exception:
            if not context.done():  # that is, not by `abort`
                await call.end(context, _code(context, "UNKNOWN"))
            raise
        call.sent(_code(context, "OK"))
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
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)
            return
        if call.link.rule is not None:
            await call.link.carried_in()
        try:
            await respond(_requests(request, call) if streaming else request, Context(context, call), call)
            await call.end(context, _code(context, "OK"))
        except Exception:
            if not context.done():  # that is, not by `abort`
                await call.end(context, _code(context, "UNKNOWN"))
            raise
        finally:
            if call.conveyor is not None:
                call.conveyor.stop()

    return stream


def _threaded(host: RealHost, method: str, behaviour: Any, *, streaming: bool, many: bool) -> Any:
    """Wraps a plain function or generator, which grpc.aio runs in a thread: there the door is waited at."""
    loop = asyncio.get_running_loop()

    def wait(carried: Any) -> None:
        asyncio.run_coroutine_threadsafe(carried, loop).result()

    def begin(context: Any) -> Incoming:
        call = admit(host, method, context, streaming=streaming)
        if call is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)
            raise AssertionError("abort raises")
        if call.link.rule is not None:
            wait(call.link.carried_in())
        return call

    def reply(context: Any, call: Incoming, code: str = "") -> None:
        call.sent(code)
        if call.link.rule is not None:
            wait(call.link.carried_out())
        if host.door.losing and host.door.loses_reply(method):
            context.abort(grpc.StatusCode.UNAVAILABLE, _LOST)

    def one(request: Any, context: Any) -> Any:
        call = begin(context)
        response = behaviour(request, context)
        reply(context, call, "OK")
        return response

    def several(request: Any, context: Any) -> Any:
        call = begin(context)
        for response in behaviour(request, context):
            reply(context, call)
            yield response
        reply(context, call, "OK")

    return several if many else one


def _code(context: Any, otherwise: str) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else otherwise
