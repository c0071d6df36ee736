"""Connections as HTTP/2 gives them to gRPC: many streams, in order, between a client and a server.

Each end is a `Connection`. What one end sends is a call of a method of the other, made when the last
byte has arrived (`Endpoint.send`). Two kinds of messages need no more than bytes, the request and
the reply of a unary RPC; everything else is a `Frame`.

What arrives is first written to the trace, then paid for where the host charges for RPCs, then handed to
the process; while that is paused, its kernel keeps what has come, in order.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from protos.trace import Lost, Message
from sim.world.network.connection import ARRIVED
from sim.world.rpc import status
from sim.world.rpc.world import world_of
from sim.world.tasks import label_of
from sim.world.timers import Handle, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.network import Endpoint
    from sim.world.rpc.context import Context
    from sim.world.rpc.serving import CoreServer
    from sim.world.rpc.stream import ClientStream
    from sim.world.rpc.subchannel import Subchannel
    from sim.world.simulation import Simulation

PREFACE = 64  # bytes: what each side says first
HEADERS = 48  # bytes: request or response headers and trailers, compressed, with their framing
FRAME = 14  # bytes: framing of a message: 9 for HTTP/2, 5 for gRPC


class Frame(Struct, eq=False):
    """What is not simply a unary request or reply: any of headers, a message, an end.

    Attributes:
        part: what the trace calls it; "" is not traced.
        sent: when it was handed over, in ns.
        task: the sending task.
        index: of the message among those of its direction.
        headers: initial metadata, None when there is none in this frame.
        data: a message.
        end: the client will send no more.
        status: how the RPC ended (from the server).
        credit: bytes of messages that the sender has taken in since it said so last.
    """

    part: str
    sent: int = 0
    task: str = ""
    index: int = 0
    headers: tuple[Any, ...] | None = None
    data: bytes | None = None
    end: bool = False
    status: Any = None
    credit: int = 0

    def size(self) -> int:
        """Returns the bytes it takes on the wire."""
        size = FRAME if self.data is None else FRAME + len(self.data)
        if self.headers is not None:
            size += HEADERS + status.metadata_size(self.headers)
        if self.status is not None:
            size += HEADERS + status.metadata_size(self.status.trailing_metadata() or ())
        return size


class Line:
    """Work that a processor does for a connection in one direction, one message after the other."""

    def __init__(self, cpu: Any, cost: Any) -> None:
        self._cpu = cpu
        self._cost = cost
        self._queue: deque[tuple[int, Callable[..., object], tuple[Any, ...]]] = deque()

    def add(self, size: int, then: Callable[..., object], *args: Any) -> None:
        """Calls `then(*args)` when a message of `size` bytes, and all before it, have been worked on."""
        self._queue.append((size, then, args))
        if len(self._queue) == 1:
            self._start()

    def _start(self) -> None:
        ns = nanoseconds(self._cost.seconds(self._queue[0][0]))
        self._cpu.run(ns, self._done)

    def _done(self) -> None:
        _, then, args = self._queue.popleft()
        if self._queue:
            self._start()
        then(*args)


class Connection(ABC):
    """One end.

    Attributes:
        simulation, loop, env, trace, process, endpoint: where it is.
        local, remote: names of the two hosts.
        streams: RPCs under way.
        done: a settled future, for waking tasks.
        wire: what sends, as `Endpoint.transmit` does, when the processor has been paid.
        incoming: where what arrives is paid for; None where that costs nothing.
        held: how many messages wait for the process, which later ones must not overtake.
        detour: what arrives must go the general way: 0 when nothing speaks against the fast one.
    """

    __slots__ = (
        "_outgoing",
        "detour",
        "done",
        "endpoint",
        "env",
        "held",
        "incoming",
        "local",
        "loop",
        "process",
        "remote",
        "simulation",
        "streams",
        "trace",
        "wire",
    )

    def __init__(self, simulation: Simulation, endpoint: Endpoint) -> None:
        self.simulation = simulation
        self.loop = simulation.loop
        self.env = simulation.loop.env
        self.trace = simulation.trace
        self.endpoint = endpoint
        self.process = endpoint.process
        self.local = endpoint.process.name
        self.remote = endpoint.peer.process.name
        self.streams: dict[Any, None] = {}
        self.done = world_of(simulation).settled
        self.held = 0
        self.detour = 0
        endpoint.owner = self
        endpoint.on_broken = self._on_broken
        endpoint.on_lost = self._on_lost
        cpu = getattr(self.process.host, "cpu", None)
        self.wire: Any = endpoint
        self.incoming: Line | None = None
        cost = None if cpu is None else cpu.rpc_cost_with(self.remote)
        if cost is not None:
            self._outgoing = Line(cpu, cost)
            self.incoming = Line(cpu, cost)
            self.detour += 1
            self.wire = _Paid(self)

    def send(self, size: int, arrive: Callable[..., None], *args: Any) -> None:
        """Sends `size` bytes, as `Endpoint.send` does, when the processor has been paid."""
        self.wire.transmit(size, arrive, args, ARRIVED)

    def pay_and_transmit(
        self, size: int, arrive: Callable[..., None], args: tuple[Any, ...], callbacks: Any
    ) -> None:
        """Sends when the processor has been paid."""
        self._outgoing.add(size, self._sent, size, arrive, args)

    def _sent(self, size: int, arrive: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.endpoint.open:
            self.endpoint.send(size, arrive, *args)
        else:
            self._on_lost("the connection was gone", args)

    @property
    def open(self) -> bool:
        """Says whether it can be used."""
        return self.endpoint.open

    def deliver(self, size: int, then: Callable[..., object], *args: Any) -> None:
        """Hands what has arrived to the process: at once, or when it has been paid for, or goes on."""
        if self.incoming is not None:
            self.incoming.add(size, self._enter, then, args)
        else:
            self._enter(then, args)

    def _enter(self, then: Callable[..., object], args: tuple[Any, ...]) -> None:
        process = self.process
        if process.halted or self.held:
            self.held += 1
            self.detour += 1
            handle = Handle(self._let_in, (then, args), process.context)
            if process.halted:
                process.hold(handle)
            else:
                self.loop.ready([handle])
            return
        then(*args)

    def _let_in(self, then: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.held -= 1
        self.detour -= 1
        then(*args)

    def record(self, stream: ClientStream, frame: Frame) -> None:
        """Writes a frame that has arrived to the trace."""
        if self.trace is None or not frame.part:
            return
        self.trace.write(
            Message(
                self.env._now,
                self.local,
                self.remote,
                frame.sent,
                stream.number,
                stream.method,
                frame.part,
                0 if frame.data is None else len(frame.data),
                "" if frame.status is None else status.NAMES[frame.status.code()],
                frame.task,
                frame.index,
            )
        )

    def _on_broken(self, reason: str) -> None:
        self._enter(self.broken, (reason,))

    @abstractmethod
    def broken(self, reason: str) -> None:
        """The connection is gone."""

    def _on_lost(self, why: str, args: tuple[Any, ...]) -> None:
        """Writes what will not arrive to the trace: `(stream, data, ...)` or `(stream, frame)`."""
        if self.trace is None or len(args) < 2:
            return
        stream, what = args[0], args[1]
        if isinstance(what, Frame):
            if what.part:
                size = 0 if what.data is None else len(what.data)
                self.lose(stream, what.part, what.sent, size, why)
        elif len(args) == 2:
            self.lose(stream, "request", stream.sent, len(what), why)
        else:
            self.lose(stream, "response", args[2], len(what), why)

    def lose(self, stream: ClientStream, part: str, sent: int, size: int, why: str) -> None:
        """Writes to the trace that a message from this end will never arrive."""
        if self.trace is None:
            return
        self.trace.write(
            Lost(self.env._now, self.remote, self.local, sent, stream.number, stream.method, part, why, size)
        )

    def task(self) -> str:
        """Returns the name of the running task, when there is a trace to write it to."""
        if self.trace is None:
            return ""
        return label_of(asyncio.current_task(self.loop))


class _Paid:
    """The wire of a host whose processor is paid for what it sends."""

    def __init__(self, connection: Connection) -> None:
        self.transmit = connection.pay_and_transmit


class ClientConnection(Connection):
    """The client's end.

    Attributes:
        request: what to send a unary request to: `connection.send(size, connection.request, stream, data)`.
        leaving: it takes no new RPCs, and closes with the last.
    """

    __slots__ = ("leaving", "request", "server", "subchannel")

    server: ServerConnection

    def __init__(self, simulation: Simulation, endpoint: Endpoint, subchannel: Subchannel) -> None:
        super().__init__(simulation, endpoint)
        self.subchannel = subchannel
        self.leaving = False
        self.request: Callable[[ClientStream, bytes], None]

    def greet(self) -> None:
        """Says the HTTP/2 preface; the server's settings make the connection ready."""
        server = self.endpoint.peer.owner
        if isinstance(server, ServerConnection):
            self.endpoint.send(PREFACE, server.on_preface, self)

    def on_settings(self, server: ServerConnection) -> None:
        """The server speaks HTTP/2: RPCs may begin."""
        self.server = server
        self.request = server.on_unary
        self._enter(self.subchannel.ready, (self,))

    def send_frame(self, stream: ClientStream, frame: Frame) -> None:
        """Sends a frame of a stream."""
        frame.sent = self.env._now
        if self.endpoint.open:
            self.send(frame.size(), self.server.on_frame, stream, frame)

    def on_frame(self, stream: ClientStream, frame: Frame) -> None:
        """A frame has arrived."""
        self.record(stream, frame)
        if frame.part:
            self.deliver(frame.size(), stream.received, frame)
        else:
            self._enter(stream.received, (frame,))

    def on_refused(self, stream: ClientStream) -> None:
        """The server shuts down and has not looked at this RPC: it may be tried elsewhere."""
        self._enter(self.subchannel.refused, (self, stream))

    def on_goaway(self, last: int) -> None:
        """The server shuts down: RPCs up to number `last` may end, later ones it has not looked at."""
        self._enter(self._leave, (last,))

    def _leave(self, last: int) -> None:
        self.subchannel.lost(self)
        for stream in [stream for stream in self.streams if stream.number > last]:
            self.subchannel.refused(self, stream)

    def broken(self, reason: str) -> None:
        """Fails all RPCs under way."""
        self.subchannel.lost(self)
        streams, self.streams = self.streams, {}
        for stream in streams:
            stream.finish(status.failure(status.UNAVAILABLE, f"Stream removed ({status.BROKEN})"))


class ServerConnection(Connection):
    """The server's end."""

    __slots__ = ("client", "last", "remote_port", "server")

    streams: dict[Context, None]

    def __init__(self, simulation: Simulation, endpoint: Endpoint, server: CoreServer) -> None:
        super().__init__(simulation, endpoint)
        self.server = server
        self.client: ClientConnection | None = None
        self.last = 0  # number of the last RPC that began
        self.remote_port = world_of(simulation).port()

    def on_preface(self, client: ClientConnection) -> None:
        """The client has said its preface."""
        self.client = client
        self._enter(self._answer, ())

    def _answer(self) -> None:
        """Sends the settings, once the server has been started."""
        if self.endpoint.open and self.client is not None and self.server.serving:
            self.endpoint.send(PREFACE, self.client.on_settings, self)

    def on_unary(self, stream: ClientStream, data: bytes) -> None:
        """A unary request has arrived, whole."""
        if self.trace is not None:
            self.trace.write(
                Message(
                    self.env._now,
                    self.local,
                    self.remote,
                    stream.sent,
                    stream.number,
                    stream.method,
                    "request",
                    len(data),
                    "",
                    stream.task,
                )
            )
        if self.incoming is None and not self.held and not self.process.halted:
            self.server.begin_unary(self, stream, data)
        else:
            self.deliver(len(data), self.server.begin_unary, self, stream, data)

    def on_frame(self, stream: ClientStream, frame: Frame) -> None:
        """A frame has arrived."""
        self.record(stream, frame)
        if frame.part:
            self.deliver(frame.size(), self._received, stream, frame)
        else:
            self._enter(self._received, (stream, frame))

    def _received(self, stream: ClientStream, frame: Frame) -> None:
        if stream.remote is not None:
            stream.remote._received(frame)
        elif frame.headers is not None:
            self.server.begin(self, stream, frame)

    def send_frame(self, stream: ClientStream, frame: Frame) -> None:
        """Sends a frame of a stream."""
        frame.sent = self.env._now
        if self.endpoint.open:
            assert self.client is not None
            self.send(frame.size(), self.client.on_frame, stream, frame)

    def refuse(self, stream: ClientStream) -> None:
        """Tells the client that an RPC was not looked at."""
        if self.endpoint.open:
            assert self.client is not None
            self.endpoint.send(FRAME, self.client.on_refused, stream)

    def go_away(self) -> None:
        """Tells the client to begin nothing new."""
        if self.endpoint.open and self.client is not None:
            self.endpoint.send(FRAME, self.client.on_goaway, self.last)

    def broken(self, reason: str) -> None:
        """The client is gone: cancels all handlers."""
        for context in list(self.streams):
            context._lose_client()
        if not self.streams:
            self.server.forget(self)
