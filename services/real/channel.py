"""Channels through the door: real `grpc.aio` channels whose calls say who calls, and wait at the rules.

`grpc.aio` builds every call, intercepted or not, on the call object of its core (`cygrpc._AioCall`), by
name from the channel's core (`cygrpc.AioChannel`). Both are extended here, so what stubs return are
grpc.aio's own call objects, and the door sees each message once, as bytes. These two are internals
of grpcio, whose version is pinned; `tests/real` fails should they change.

Who calls, and the token that proves it, stand in the user agent, which HTTP/2 sends in full only once for
each connection. A traced call has one metadatum more: its number, when it was sent, and its size.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

import grpc
from grpc._cython import cygrpc
from grpc.aio import _channel as _aio

from protos.trace import Message
from services.real.conveyor import END, Conveyor
from services.real.tracing import Sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.real.door import Link
    from services.real.host import RealHost

CALL_KEY = "dsim-call"

_AGENT = "grpc.secondary_user_agent"
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),  # a restarted peer is found within a second
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),  # the machine's proxy has no say between hosts of a cluster
)

_LATE = cygrpc.AioRpcStatus(grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "Deadline Exceeded", (), None)
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def credential(token: str, name: str) -> str:
    """Returns the part of a user agent that says who calls and proves it."""
    return f"dsim/{token}/{name}"


class Channel(_aio.Channel):
    """A `grpc.aio.Channel` to a host of the cluster.

    Args:
        host: the calling host.
        peer: the name of the called one.
        address: where its port is.
        options, compression, interceptors: as `grpc.aio.insecure_channel` takes them; the options
            go before those that make reconnecting fast.
    """

    def __init__(
        self,
        host: RealHost,
        peer: str,
        address: str,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        compression: grpc.Compression | None = None,
    ) -> None:
        given = dict(options)
        agent = " ".join((*filter(None, [given.pop(_AGENT, "")]), credential(host.token, host.name)))
        options = ((_AGENT, agent), *given.items(), *((k, v) for k, v in _OPTIONS if k not in given))
        super().__init__(address, options, None, compression, list(interceptors))  # type: ignore[arg-type]
        self._link = host.door.link(peer)
        self._channel = _Core(
            address.encode(), _aio._augment_channel_arguments(options, compression), None, self._loop
        )
        self._channel.host = host
        self._channel.link = self._link

    async def channel_ready(self) -> None:
        """Waits until calls would leave: the peer serves, and no cut is between."""
        if self._link.rule is not None:
            await self._link.carried_out()
        await super().channel_ready()


class _Core(cygrpc.AioChannel):  # type: ignore[misc]
    """The core of a channel; makes the calls."""

    host: RealHost
    link: Link
    shut = False

    def call(
        self,
        method: bytes,
        deadline: float | None,
        credentials: Any,
        wait_for_ready: bool | None,
        registered_call_handle: int,
    ) -> Any:
        """Returns the core of a new call."""
        if self.shut:
            raise cygrpc.UsageError("Channel is closed.")
        call = _Call(self, deadline, method, credentials, wait_for_ready, registered_call_handle)
        call.link = self.link
        call.method = method
        return call

    def closing(self) -> None:
        """Takes no new calls."""
        self.shut = True
        super().closing()

    def close(self) -> None:
        """Ends the connection."""
        self.shut = True
        super().close()


class _Call(cygrpc._AioCall):  # type: ignore[misc]
    """The core of a call: adds the metadata, waits at the rules, records."""

    link: Link
    method: bytes
    number = 0
    writes = 0
    reads = 0
    watched = False
    conveyor: Conveyor | None = None
    overruled: Any = None  # the status that a cut put in the place of the one that arrived

    # What grpc.aio calls: one method for each way to begin, then those of streams

    async def unary_unary(self, request: bytes, metadata: tuple[Any, ...], context: Any = None) -> Any:
        """Sends the request and waits for the response."""
        metadata = self._begin(metadata, len(request or b""))  # None: it could not be serialized
        if self.link.rule is not None:
            await self._carry()
        response = await super().unary_unary(request, metadata, context)
        if self.link.rule is not None:
            await self._receive()
        self._ended(response)
        return response

    async def initiate_unary_stream(
        self, request: bytes, metadata: tuple[Any, ...], context: Any = None
    ) -> None:
        """Sends the request."""
        self.add_done_callback(self._ended)  # its status may come after the last message is read
        metadata = self._begin(metadata, len(request or b""))  # None: it could not be serialized
        if self.link.rule is not None:
            await self._carry()
        await super().initiate_unary_stream(request, metadata, context)

    async def stream_unary(self, metadata: tuple[Any, ...], sent: Any, context: Any = None) -> Any:
        """Opens the call and waits for the response."""
        metadata = self._begin(metadata, None)
        if self.link.rule is not None:
            await self._clear()
        response = await super().stream_unary(metadata, sent, context)
        if self.link.rule is not None:
            await self._receive()
        self._ended(response)
        return response

    async def initiate_stream_stream(self, metadata: tuple[Any, ...], sent: Any, context: Any = None) -> None:
        """Opens the call."""
        self.add_done_callback(self._ended)  # its status may come after the last message is read
        metadata = self._begin(metadata, None)
        if self.link.rule is not None:
            await self._clear()
        await super().initiate_stream_stream(metadata, sent, context)

    async def send_serialized_message(self, message: bytes) -> None:
        """Sends one message of a stream."""
        self._sent(len(message or b""), time_ns())
        if self.link.rule is not None or self.conveyor is not None:
            await self._convey(message)
        else:
            await super().send_serialized_message(message)

    async def send_receive_close(self) -> None:
        """Ends the stream to the server."""
        if self.link.rule is not None or self.conveyor is not None:
            await self._convey(END)
            assert self.conveyor is not None
            await self.conveyor.drained()
        await super().send_receive_close()

    async def receive_serialized_message(self) -> Any:
        """Receives one message of a stream, or EOF."""
        message = await super().receive_serialized_message()
        if self.link.rule is not None:
            await self._receive()
        if message is not cygrpc.EOF:
            self._received(len(message))
        return message

    # What the call came to

    @property
    def _status(self) -> Any:
        return self.overruled or cygrpc._AioCall._status.__get__(self)

    async def status(self) -> Any:
        """Returns how the call ended, when it has."""
        status = await super().status()
        return self.overruled or status

    def is_ok(self) -> bool:
        """Says whether it ended well."""
        return self.overruled is None and bool(super().is_ok())

    # The door

    def _begin(self, metadata: tuple[Any, ...], size: int | None) -> tuple[Any, ...]:
        host: RealHost = self._channel.host
        if not host.tracing.on:
            host.door.sent += size is not None
            return metadata
        self.number = next(host.call_numbers)
        now = time_ns()
        if size is not None:
            self._sent(size, now)
        return (*metadata, (CALL_KEY, f"{self.number} {now} {size or 0}"))

    async def _carry(self) -> None:
        self._watch()
        await self.link.carried_out(self.time_remaining(), self.done)

    async def _clear(self) -> None:
        self._watch()
        await self.link.cleared(self.time_remaining(), self.done)

    async def _convey(self, message: Any) -> None:
        if self.conveyor is None:
            self._watch()
            self.conveyor = Conveyor(self.link, super().send_serialized_message, self.done)
            self.add_done_callback(self.conveyor.stop)
        await self.conveyor.put(message)

    async def _receive(self) -> None:
        """Waits until what has arrived would have; if the deadline comes first, it never did."""
        self._watch()
        await self.link.carried_in(self.time_remaining(), self.cancelled)
        if (rule := self.link.rule) is not None and rule.cut_in and not self.cancelled():
            self.overruled = _LATE

    def _watch(self) -> None:
        """Has the end of the call end its waiting."""
        if not self.watched:
            self.watched = True
            self.add_done_callback(self.link.wake)

    # The trace

    def _sent(self, size: int, now: int) -> None:
        host: RealHost = self._channel.host
        host.door.sent += 1
        if host.tracing.on:
            host.tracing.sent(
                Sent(
                    now,
                    host.name,
                    self.link.peer,
                    self.number,
                    self.method.decode(),
                    "request",
                    size,
                    "",
                    self.writes,
                )
            )
            self.writes += 1

    def _received(self, size: int, code: str = "") -> None:
        host: RealHost = self._channel.host
        host.door.received += 1
        if host.tracing.on:
            now, peer, method = time_ns(), self.link.peer, self.method.decode()
            host.tracing.write(
                Message(
                    now, host.name, peer, now, self.number, method, "response", size, code, "", self.reads
                )
            )
            self.reads += 1

    def _ended(self, response: bytes | None = None) -> None:
        """Records how the call ended. Whether the peer said so or the core made it up, `joined` finds out."""
        status = self._status
        if status is not None:
            code = status.code()
            self._received(len(response) if response else 0, _NAMES.get(code, str(code)))
