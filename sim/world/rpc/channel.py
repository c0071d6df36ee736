"""`grpc.aio.Channel` on the simulated network, and the multicallables that generated stubs are made of."""

from __future__ import annotations

import asyncio
from sys import intern
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import grpc
from grpc import _common
from grpc._cython import cygrpc
from grpc.aio._call import StreamUnaryCall

from sim.world.process import PROCESS
from sim.world.rpc.core import CoreCall
from sim.world.rpc.intercepted import INTERCEPTED, sort_interceptors
from sim.world.rpc.metadata import as_metadata
from sim.world.rpc.options import parse_options
from sim.world.rpc.streaming import StreamStreamCall, UnaryStreamCall
from sim.world.rpc.subchannel import READY, SHUTDOWN, Subchannel
from sim.world.rpc.targets import parse_target
from sim.world.rpc.unary import UNARY_START, UnaryCall
from sim.world.rpc.world import world_of
from sim.world.tasks import label_of
from sim.world.timers import SECOND, Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from sim.world.process import Process
    from sim.world.rpc.connection import ClientConnection
    from sim.world.simulation import Simulation

_LONGEST = 7e9  # seconds: a longer timeout is beyond what gRPC can count from the Unix epoch


class Channel(grpc.aio.Channel):
    """A channel of a simulated process.

    Args:
        simulation, process: where it is.
        target: see `targets.parse_target`.
        options, interceptors, compression: as `grpc.aio.insecure_channel` takes them.

    Attributes:
        connection: the one that is ready, if one is.
    """

    __slots__ = (
        "calls",
        "closing",
        "connection",
        "interceptors",
        "loop",
        "max_receive",
        "max_send",
        "numbers",
        "pauses",
        "process",
        "rng",
        "settled",
        "simulation",
        "subchannel",
        "trace",
    )

    def __init__(
        self,
        simulation: Simulation,
        process: Process,
        target: str,
        options: Sequence[tuple[str, Any]] | None = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] | None = (),
        compression: grpc.Compression | None = None,
    ) -> None:
        world = world_of(simulation)
        told = parse_options(options)
        self.simulation = simulation
        self.process = process
        self.loop = simulation.loop
        self.trace = simulation.trace
        self.numbers = world.numbers
        self.settled = world.settled
        self.pauses = world.pauses
        self.rng = simulation.chance.stream("grpc/backoff")
        self.max_send = told.max_send
        self.max_receive = told.max_receive
        self.connection: ClientConnection | None = None
        self.interceptors = sort_interceptors(interceptors)
        self.subchannel = Subchannel(
            self,
            parse_target(target, process.name),
            told.initial_backoff,
            told.max_backoff,
            told.connect_timeout,
        )
        self.calls: WeakSet[Any] = WeakSet()  # streaming and intercepted ones
        self.closing = False

    def __del__(self) -> None:
        """Closes the connection of a channel that nobody has any more, as `grpc.aio.Channel` does.

        Multicallables and calls hold their channel; what holds a connection (the network) does not.
        """
        subchannel = getattr(self, "subchannel", None)
        if subchannel is not None and subchannel.state is not SHUTDOWN and not self.process.dead:
            subchannel.drop(self.connection)

    # What its parts use

    def enter(self, then: Callable[..., object], *args: Any) -> None:
        """Goes from hardware into the process: at once, or when it is resumed."""
        if self.process.halted:
            self.process.hold(Handle(then, args, self.process.context))
        else:
            then(*args)

    def from_hardware(self) -> bool:
        """Says whether a task may be stepped directly from here."""
        return PROCESS.get(None) is None and asyncio.current_task(self.loop) is None

    def task(self) -> str:
        """Returns the name of the running task, when there is a trace to write it to."""
        return "" if self.trace is None else label_of(asyncio.current_task(self.loop))

    def deadline(self, timeout: float | None) -> int | None:
        """Returns the virtual time in ns that is `timeout` seconds from now.

        gRPC counts ns in 64 bits: what does not fit, infinity included, is over at once.
        """
        if timeout is None:
            return None
        if timeout >= _LONGEST:
            timeout = -1.0
        return self.loop.env._now + round(timeout * SECOND)

    def check_open(self) -> None:
        """Raises what a call on a closed channel raises.

        Raises:
            UsageError: the channel is closed, or closing.
        """
        if self.closing:
            raise cygrpc.UsageError("Channel is closed." if self.closed() else "Channel is closing.")

    def closed(self) -> bool:
        """Says whether it is closed."""
        return self.subchannel.state is SHUTDOWN

    # What grpc.aio's call objects use of a channel

    def call(
        self,
        method: bytes,
        deadline: int | None,
        credentials: Any,
        wait_for_ready: bool | None,
        handle: int = 0,
    ) -> CoreCall:
        """Returns the state of a new RPC; `deadline` is in virtual ns."""
        refuse_credentials(credentials)
        self.check_open()
        return CoreCall(self, method.decode(), deadline, bool(wait_for_ready))

    def get_registered_call_handle(self, method: bytes) -> int:
        """Returns 0: methods are not registered with anything."""
        return 0

    # `grpc.aio.Channel`

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel.

        Args:
            grace: seconds that RPCs under way are given; then, or without it, they are cancelled.

        Raises:
            ValueError: the grace is negative.
        """
        if self.closed():
            return
        if grace and grace < 0:
            raise ValueError(f"grace must be non-negative, got {grace}.")
        self.closing = True
        calls = [call for call in self._active() if not call.done()]
        if grace and calls:
            tasks = [self.loop.create_task(_ended(call)) for call in calls]
            await asyncio.wait(tasks, timeout=grace)
        for call in calls:
            call.cancel()
        self.subchannel.shut_down()

    def _active(self) -> list[Any]:
        streams = [*self.subchannel.streams(), *self._unstarted()]
        calls = list(self.calls)
        calls.sort(key=lambda call: call._dsim_order)
        return [*(s for s in streams if isinstance(s, UnaryCall)), *calls]

    def _unstarted(self) -> list[Any]:
        soon: Iterable[Any] = self.loop._soon
        return [h for h in soon if type(h) is UnaryCall and h.channel is self]

    def register(self, call: Any) -> Any:
        """Takes note of a call, so that closing the channel ends it."""
        call._dsim_order = next(self.loop.orders)
        self.calls.add(call)
        return call

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the state; with `try_to_connect` an idle channel begins to connect."""
        state = self.subchannel.state
        if try_to_connect and state is grpc.ChannelConnectivity.IDLE:
            self.subchannel.connect()
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when the state is another than the one given."""
        if self.closed():
            raise cygrpc.UsageError("Channel is closed.")
        await self.subchannel.changed(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns when the channel is connected."""
        state = self.get_state(try_to_connect=True)
        while state is not READY:
            await self.wait_for_state_change(state)
            state = self.get_state(try_to_connect=True)

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnary:
        """Returns what calls a method with one request and one response."""
        return UnaryUnary(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> UnaryStream:
        """Returns what calls a method with one request and many responses."""
        return UnaryStream(self, method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> StreamUnary:
        """Returns what calls a method with many requests and one response."""
        return StreamUnary(self, method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> StreamStream:
        """Returns what calls a method with many requests and many responses."""
        return StreamStream(self, method, request_serializer, response_deserializer)


async def _ended(call: Any) -> None:
    try:
        await call.code()
    except Exception:
        return


def refuse_credentials(credentials: Any) -> None:
    """Refuses what needs TLS, with the error that grpc.aio has for it.

    Raises:
        UsageError: there are credentials.
    """
    if credentials is not None:
        raise cygrpc.UsageError(
            "Call credentials are only valid on secure channels, and the simulated network has none: "
            "leave `credentials` away, or send what identifies the caller as metadata"
        )


class _MultiCallable:
    """What the four kinds share."""

    __slots__ = ("_channel", "_deserialize", "_interceptors", "_loop", "_method", "_serialize", "_soon")

    def __init__(self, channel: Channel, method: str, serialize: Any, deserialize: Any) -> None:
        self._channel = channel
        self._method = intern(method.decode() if isinstance(method, bytes) else str(method))
        self._serialize = serialize
        self._deserialize = deserialize
        self._loop = channel.loop
        self._soon: Any = channel.loop._soon
        self._interceptors = channel.interceptors[type(self).__name__]

    def _start(
        self,
        plain: Any,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: Any,
        wait_for_ready: bool | None,
    ) -> Any:
        channel = self._channel
        refuse_credentials(credentials)
        channel.check_open()
        metadata = as_metadata(metadata)
        rest = (
            metadata,
            credentials,
            wait_for_ready,
            channel,
            _common.encode(self._method),
            self._serialize,
            self._deserialize,
            self._loop,
        )
        if self._interceptors:
            intercepted = INTERCEPTED[type(self).__name__]
            return channel.register(intercepted(self._interceptors, request, timeout, *rest))
        return channel.register(plain(request, channel.deadline(timeout), *rest))


class UnaryUnary(_MultiCallable, grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """Calls a method with one request and one response."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Calls; the arguments are grpc.aio's."""
        channel = self._channel
        if channel.closing or credentials is not None or self._interceptors:
            return self._start(None, request, timeout, metadata, credentials, wait_for_ready)
        call = UnaryCall()
        call.channel = channel
        call.method = self._method
        call.request = request
        call.serialize = self._serialize
        call.deserialize = self._deserialize
        call.callback = UNARY_START
        call.waiter = call.outcome = None
        call.plain = True
        if timeout is not None or metadata or wait_for_ready:
            call.plain = False
            call.deadline = channel.deadline(timeout)
            call.wait_for_ready = bool(wait_for_ready)
            call.metadata = tuple(as_metadata(metadata)) if metadata else ()
        self._soon.append(call)
        return call


class UnaryStream(_MultiCallable, grpc.aio.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    """Calls a method with one request and many responses."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Calls; the arguments are grpc.aio's."""
        return self._start(UnaryStreamCall, request, timeout, metadata, credentials, wait_for_ready)


class StreamUnary(_MultiCallable, grpc.aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """Calls a method with many requests and one response."""

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Calls; the arguments are grpc.aio's."""
        return self._start(StreamUnaryCall, request_iterator, timeout, metadata, credentials, wait_for_ready)


class StreamStream(_MultiCallable, grpc.aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """Calls a method with many requests and many responses."""

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Calls; the arguments are grpc.aio's."""
        return self._start(StreamStreamCall, request_iterator, timeout, metadata, credentials, wait_for_ready)
