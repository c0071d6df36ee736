"""The core of a server: its ports and connections, the RPCs on them, and the workers that serve these.

What an application holds is `server.Server`; everything below holds this, so that a server that the
application has dropped is noticed.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context as Variables
from contextvars import copy_context
from sys import intern
from typing import TYPE_CHECKING, Any

import grpc
from grpc import _common
from grpc._cython import cygrpc

from sim.world.process import PROCESS
from sim.world.rpc import status
from sim.world.rpc.connection import Frame, ServerConnection
from sim.world.rpc.context import Context
from sim.world.rpc.handlers import Handler, finish_unary, understand
from sim.world.rpc.metadata import excess
from sim.world.rpc.options import parse_options
from sim.world.rpc.targets import parse_address
from sim.world.rpc.worker import Worker
from sim.world.rpc.world import FIRST_EPHEMERAL, world_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.world.network import Endpoint
    from sim.world.process import Process
    from sim.world.rpc.stream import ClientStream
    from sim.world.simulation import Simulation

_LOGGER = logging.getLogger("grpc.aio.server")


class CoreServer:
    """What a server of a simulated process is.

    Args:
        simulation, process: where it is.
        port: to serve on; None leaves that to `add_insecure_port`.
        options, interceptors, maximum_concurrent_rpcs, handlers: as `grpc.aio.server` takes them.

    Raises:
        RuntimeError: the port is in use.
        ValueError: an interceptor is none, or the limit is not positive.
    """

    __slots__ = (
        "_active",
        "_connections",
        "_generic",
        "_limit",
        "_methods",
        "_mute",
        "_ports",
        "_registered",
        "_started",
        "_terminated",
        "_workers",
        "_world",
        "attentive",
        "idle",
        "interceptors",
        "loop",
        "losing",
        "max_receive",
        "max_send",
        "process",
        "quick",
        "settled",
        "simulation",
        "stopped",
        "stopping",
        "tasks",
        "variables",
    )

    def __init__(
        self,
        simulation: Simulation,
        process: Process,
        port: int | None = None,
        options: Sequence[tuple[str, Any]] | None = (),
        interceptors: Sequence[Any] | None = (),
        maximum_concurrent_rpcs: int | None = None,
        handlers: Sequence[grpc.GenericRpcHandler] | None = (),
    ) -> None:
        wrong = [i for i in interceptors or () if not isinstance(i, grpc.aio.ServerInterceptor)]
        if wrong:
            raise ValueError(f"Interceptor must be ServerInterceptor, the following are invalid: {wrong}")
        if maximum_concurrent_rpcs is not None and maximum_concurrent_rpcs <= 0:
            raise ValueError("maximum_concurrent_rpcs should be a positive integer")
        told = parse_options(options)
        world = world_of(simulation)
        self.simulation = simulation
        self.process = process
        self.loop = simulation.loop
        self.interceptors = tuple(interceptors or ())
        self.max_send = told.max_send
        self.max_receive = told.max_receive
        self.losing = world.losing
        self.settled = world.settled
        self.variables = Variables()
        self.idle: Worker | None = None  # the last that became idle, which serves next; it knows the others
        self.tasks = 0  # that workers have used so far
        self.quick: dict[str, Handler] = {}  # methods whose requests need not go the general way
        self.stopping = False
        self.attentive = maximum_concurrent_rpcs is not None  # it wants to know when an RPC has ended
        self.stopped = False
        self._world = world
        self._limit = maximum_concurrent_rpcs
        self._active = 0
        self._started = False
        self._generic: list[grpc.GenericRpcHandler] = list(handlers or ())
        self._registered: dict[str, Any] = {}
        self._methods: dict[str, Handler] = {}
        self._ports: list[int] = []
        self._connections: dict[ServerConnection, None] = {}
        self._mute: dict[Endpoint, None] = {}  # connections to ports that were added too late
        self._terminated: asyncio.Future[None] | None = None
        self._workers = 0
        if port is not None:
            self.listen(f"[::]:{port}")

    # What `server.Server` passes on

    def add_generic(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Adds handlers that are asked in turn for a method."""
        self._generic.extend(handlers)

    def add_registered(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Adds the handlers of a service's methods, before the server is started."""
        if self._started:
            _LOGGER.warning("Cannot register method handlers once server has started")
            return
        for method, handler in method_handlers.items():
            self._registered[intern(_common.fully_qualified_method(service_name, method))] = handler

    def listen(self, address: str) -> int:
        """Serves on a port, 0 meaning any; returns the port.

        One that is added when the server has been started accepts connections, and never says a word.

        Raises:
            RuntimeError: it cannot be bound, or the server was stopped.
        """
        if self.stopping:
            raise RuntimeError(f"Failed to bind to address {address}; the server was stopped")
        port = parse_address(address)
        try:
            return self._bind(port)
        except OSError as exc:
            raise RuntimeError(f"Failed to bind to address {address}; {exc.strerror}") from exc

    def _bind(self, port: int) -> int:
        network = self.simulation.network
        accept = self._ignore if self._started else self._accept
        if port:
            network.listen(self.process, port, accept)
        else:
            port = FIRST_EPHEMERAL
            while True:
                try:
                    network.listen(self.process, port, accept)
                    break
                except OSError:
                    port += 1
        self._ports.append(port)
        return port

    async def start(self) -> None:
        """Starts serving.

        Raises:
            UsageError: it was stopped.
        """
        if self.stopping:
            raise cygrpc.UsageError("Server not in ready state")
        if self._started:
            return
        self._started = True
        self.variables = copy_context()
        if PROCESS not in self.variables:
            self.variables.run(PROCESS.set, self.process)
        if not self.interceptors and self._limit is None:
            self._methods = {method: understand(handler) for method, handler in self._registered.items()}
            if all(handler.fast for handler in self._methods.values()):
                self.quick = self._methods
            else:
                self.quick = {method: handler for method, handler in self._methods.items() if handler.fast}
        for connection in list(self._connections):
            if connection.client is not None:
                connection._answer()
        await asyncio.sleep(0)

    async def stop(self, grace: float | None) -> None:
        """Stops serving.

        Args:
            grace: seconds that RPCs under way are given; without it they are cancelled at once.
        """
        if not self._started or self.stopped:
            return
        first = not self.stopping
        self.stopping = self.attentive = True
        self.quick = {}
        if first:
            self._unlisten()
            for connection in list(self._connections):
                connection.go_away()
            self._retire_idle()
        ended = self._when_terminated()
        self._check_terminated()
        if grace is not None:
            await asyncio.wait([ended], timeout=grace)
        if not ended.done():
            for context in self._contexts():
                context._refuse(status.UNAVAILABLE, status.STOPPED)
        await asyncio.shield(ended)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped; returns True when `timeout` seconds passed before that."""
        ended = self._when_terminated()
        try:
            await asyncio.wait_for(asyncio.shield(ended), timeout)
        except TimeoutError:
            return True
        return False

    def _when_terminated(self) -> asyncio.Future[None]:
        if self._terminated is None:
            self._terminated = self.loop.create_future()
        return self._terminated

    def _check_terminated(self) -> None:
        if self.stopping and not self.stopped and not self._contexts():
            self.stopped = True
            for connection in list(self._connections):
                connection.endpoint.close()
            self._connections.clear()
            ended = self._when_terminated()
            if not ended.done():
                ended.set_result(None)

    def _unlisten(self) -> None:
        for port in self._ports:
            self.simulation.network.unlisten(self.process, port)
        for endpoint in list(self._mute):
            endpoint.abort()
        self._mute.clear()

    # Connections

    def _accept(self, endpoint: Endpoint) -> None:
        connection = ServerConnection(self.simulation, endpoint, self)
        self._connections[connection] = None

    def _ignore(self, endpoint: Endpoint) -> None:
        self._mute[endpoint] = None
        endpoint.on_broken = lambda _: self._mute.pop(endpoint, None)

    @property
    def serving(self) -> bool:
        """Says whether it has been started and not been stopped."""
        return self._started and not self.stopping

    def _contexts(self) -> list[Context]:
        """Returns the RPCs that handlers serve now."""
        return [context for connection in self._connections for context in connection.streams]

    def forget(self, connection: ServerConnection) -> None:
        """A connection is gone, and so is the last handler that served an RPC on it."""
        self._connections.pop(connection, None)

    # RPCs

    def begin_unary(self, connection: ServerConnection, stream: ClientStream, data: bytes) -> None:
        """A unary request has come."""
        handler = self._methods.get(stream.method)
        if (
            handler is None
            or not handler.fast
            or self.stopping
            or len(data) > self.max_receive
            or not connection.endpoint.open
            or (stream.metadata and excess(stream.metadata))
        ):
            self.begin(connection, stream, Frame("request", stream.sent, data=data, end=True, headers=()))
            return
        worker = self._worker()
        context = Context(connection, stream, data, handler, worker)
        stream.remote = context
        connection.last = stream.number
        connection.streams[context] = None
        if stream.deadline is not None:
            context._watch_deadline(connection.env._now + stream.deadline - stream.sent)
        worker.serve(context)

    def begin(self, connection: ServerConnection, stream: ClientStream, frame: Frame) -> None:
        """An RPC has come, with its first frame."""
        if not connection.open:
            return
        if self.stopping:
            connection.refuse(stream)
            return
        handler = self._methods.get(stream.method)
        context = Context(connection, stream, None, handler)
        stream.remote = context
        connection.streams[context] = None
        connection.last = stream.number
        refused = excess(stream.metadata)
        if refused:
            context._refuse(status.RESOURCE_EXHAUSTED, refused)
            return
        if frame.data is not None and len(frame.data) > self.max_receive:
            context._too_large(frame.data)
            return
        if self._limit is not None:
            context._excess = self._active >= self._limit
            if not context._excess:
                self._active += 1
        if stream.deadline is not None:
            context._watch_deadline(connection.env._now + stream.deadline - stream.sent)
        if frame.data is not None and (handler is None or not handler.request_streaming):
            context._request = frame.data
        elif frame.data is not None:
            context._in().put(frame.data)
        if frame.end:
            context._in().end()
        if handler is not None and handler.fast and context._request is None:
            context._handler = None  # its request comes by itself: the general way waits for it
        context._worker = self._worker()
        context._worker.serve(context)

    def resolve(self, details: Any) -> Any:
        """Returns the method handler for a call, None when there is none."""
        found = self._registered.get(details.method)
        if found is not None:
            return found
        for generic in self._generic:
            found = generic.service(details)
            if found is not None:
                return found
        return None

    def finish_unary(self, context: Context, handler: Handler, response: Any) -> None:
        """Sends the response of a handler, and whatever it has said of status and metadata."""
        if self.loses(context):
            return
        finish_unary(context, response, handler.response_serializer, self.max_send)

    def reply(self, context: Context, data: Any) -> None:
        """Sends a serialized response that needs a second look."""
        if self.loses(context):
            return
        finish_unary(context, data, None, self.max_send)

    def loses(self, context: Context) -> bool:
        """Loses the reply that is about to be sent, if a fault wants that, and says so."""
        stream, connection = context._stream, context._connection
        if not self.losing or not self._world.loses(self.process.name, stream.method):
            return False
        connection.lose(stream, "response", connection.env._now, 0, "the reply was lost")
        context._status_sent = True
        context._plain = False
        connection.endpoint.abort()
        connection.broken("the reply was lost")
        return True

    # Workers

    def _worker(self) -> Worker:
        """Returns a worker that has nothing to do: the last that had, or a new one."""
        worker = self.idle
        if worker is not None:
            self.idle = worker.below
            return worker
        self._workers += 1
        return Worker(self, f"rpc-{self._workers}")

    def _retire_idle(self) -> None:
        idle: list[Worker] = []
        while self.idle is not None:
            idle.append(self.idle)
            self.idle = self.idle.below
        for worker in reversed(idle):
            worker.task.cancel()

    def run_callbacks(self, context: Context) -> None:
        """Runs the done callbacks of an RPC."""
        try:
            for callback in context._callbacks or ():
                callback()
        except Exception:
            _LOGGER.exception("Error in callback for method [%s]", context._stream.method)

    def served(self, context: Context) -> None:
        """A worker has done with an RPC that `attentive` says must be counted."""
        if not context._connection.open and not context._connection.streams:
            self.forget(context._connection)
        if self._limit is not None and not context._excess:
            self._active -= 1
        if self.stopping:
            self._check_terminated()
