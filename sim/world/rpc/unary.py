"""Unary calls, the fast way: what `await stub.Method(request)` makes.

`UnaryCall` does what `grpc.aio._call.UnaryUnaryCall` does, without its task: the call is the state of
the RPC, it is started by its first `await` (or by the loop's next turn, when nobody awaits it before that),
and the arrival of the reply steps the waiting task. What is rarely asked for is made when it is asked for.
"""

from __future__ import annotations

import _asyncio
import asyncio
from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from grpc import _common
from grpc.aio._call import _create_rpc_error

from sim.world.rpc import status
from sim.world.rpc.connection import FRAME, HEADERS
from sim.world.rpc.fast import REQUEST
from sim.world.rpc.metadata import outbound
from sim.world.rpc.stream import ClientStream
from sim.world.rpc.waking import pause, wake

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

# asyncio.current_task without the layer in Python that 3.11 has.
current_task: Callable[[Any], Any] = getattr(_asyncio, "current_task", _current_tasks.get)

_UNSET: Any = object()


class UnaryCall(ClientStream):
    """A unary RPC and its `grpc.aio.UnaryUnaryCall` in one.

    It is also the loop's handle of its own start: `callback`, `args` and `context` are what the loop
    runs, and a call that has been started has no callback left.
    """

    request: Any = None
    serialize: Callable[[Any], bytes] | None = None
    deserialize: Callable[[bytes], Any] | None = None
    callback: Callable[[Any], None] | None = None
    plain: bool = (
        True  # nothing is unusual: there is a request, and perhaps one task that waits for the reply
    )
    waiters: list[asyncio.Future[None]] | None = None  # those that wait, when it is not plain
    value: Any = _UNSET
    error: BaseException | None = None

    @property
    def args(self) -> tuple[Any, ...]:
        """Returns what the loop calls `callback` with."""
        return (self,)

    @property
    def context(self) -> Context:
        """Returns what the loop calls `callback` in."""
        return self.channel.process.context

    def start(self) -> None:
        """Serializes the request and sends it."""
        self.callback = None
        channel = self.channel
        connection = channel.connection
        if not self.plain or connection is None or not connection.endpoint.open:
            self._start()
            return
        serialize = self.serialize
        try:
            data = self.request if serialize is None else serialize(self.request)
        except Exception:
            data = _common.serialize(self.request, serialize)  # it fails again, and is logged
        if type(data) is not bytes or len(data) > channel.max_send:
            self._begin(data)
            return
        # `begin` and `go`, written out: this is the hot path.
        self.request = None
        self.first = data
        self.connection = connection
        connection.streams[self] = None
        self.number = next(channel.numbers)
        self.sent = connection.env._now
        if channel.trace is not None:
            try:  # `label_of`, written out
                self.task = current_task(channel.loop).label
            except AttributeError:
                self.task = ""
        connection.wire.transmit(FRAME + HEADERS + len(data), connection.request, (self, data), REQUEST)

    def _start(self) -> None:
        """Does so when there is something unusual about it."""
        if self.deadline is not None and self.is_late():
            return
        self._begin(_common.serialize(self.request, self.serialize))

    def _begin(self, message: Any) -> None:
        self.request = None
        try:
            data = self.checked(message)
            self.metadata = outbound(self.metadata)
        except Exception as exc:  # whoever awaits the call gets that; it has not begun, and never ends
            self.error = exc
            self._wake()
            return
        if self.outcome is None:
            self.task = self.channel.task()
            self.begin(data)

    def finish(self, how: Any) -> None:
        """The RPC has ended."""
        self.callback = None
        ClientStream.finish(self, how)
        self._wake()

    def _wake(self) -> None:
        self._share()
        waiters, self.waiters = self.waiters, None
        for waiter in waiters or ():
            if len(waiters) == 1 and self.channel.from_hardware():  # type: ignore[arg-type]
                wake(waiter, self.channel.settled)
            elif not waiter.done():
                waiter.set_result(None)

    def _share(self) -> None:
        """There is more to do at the end than to step one task: the general way does that."""
        self.plain = False
        if self.waiter is not None:
            self.waiters = [self.waiter]
            self.waiter = None

    def when_done(self, callback: Callable[[], object]) -> None:
        """Has `callback` called when it has ended; at once when it has."""
        self._share()
        ClientStream.when_done(self, callback)

    # `grpc.aio.UnaryUnaryCall`

    def __await__(self) -> Generator[Any, None, Any]:
        channel = self.channel
        if self.callback is not None:
            soon: Any = channel.loop._soon
            if soon and soon[-1] is self:
                soon.pop()  # the loop need not start it
            self.start()
        if self.outcome is None and self.error is None:
            pauses = channel.pauses
            future: Any = pauses.pop() if pauses else pause(channel.loop)
            if self.plain and self.waiter is None:
                self.waiter = future
            else:
                self._share()
                if self.waiters is None:
                    self.waiters = [future]
                else:
                    self.waiters.append(future)
            future._asyncio_future_blocking = True
            try:
                yield future
            except asyncio.CancelledError:
                self.cancel()
                raise
        if (self.outcome is status.FINE and self.error is None) or (
            self.response is not None and self._went_well()
        ):
            if self.value is _UNSET:
                raw: Any = self.response
                deserialize = self.deserialize
                try:
                    self.value = raw if deserialize is None else deserialize(raw)
                except Exception:
                    self.value = _common.deserialize(raw, deserialize)  # None, and logged
            return self.value
        return self._failed()

    def callback_failed(self, error: BaseException) -> None:
        """A done callback has raised: whoever awaits the call gets that, as in grpc.aio."""
        self.error = error

    def _went_well(self) -> bool:
        return self.error is None and bool(self.outcome.code() == status.OK)

    def _failed(self) -> Any:
        if self.error is not None:
            raise self.error
        if self.locally_cancelled:
            raise asyncio.CancelledError
        if self.outcome.code() == status.OK:
            return None  # the server sent no message
        raise _create_rpc_error(self.initial or (), self.outcome)

    def cancel(self) -> bool:
        """Cancels the RPC; says whether that had an effect."""
        if self.outcome is not None:
            return False
        self.cancel_for(status.LOCALLY_CANCELLED)
        return True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Has `callback(call)` called when the RPC has ended."""
        self.when_done(partial(callback, self))

    def time_remaining(self) -> float | None:
        """Returns the seconds until the deadline; None without one."""
        return self.remaining()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Returns the initial metadata from the server, when they have come."""
        await self.wait_status()  # they are known earlier, but grpc.aio asks for all of a unary reply at once
        return grpc.aio.Metadata.from_tuple(self.initial or ())

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Returns the trailing metadata from the server, when the RPC has ended."""
        how = await self.wait_status()
        return grpc.aio.Metadata.from_tuple(how.trailing_metadata() or ())

    async def code(self) -> grpc.StatusCode:
        """Returns the status code, when the RPC has ended (never, if it could not begin: as in grpc.aio)."""
        how = await self.wait_status()
        return status.CODES[how.code()]

    async def details(self) -> str:
        """Returns the details of the status, when the RPC has ended."""
        details: str = (await self.wait_status()).details()
        return details

    async def debug_error_string(self) -> str:
        """Returns gRPC core's description of the error, when the RPC has ended."""
        text: str = (await self.wait_status()).debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        """Returns when the RPC has ended (as in grpc.aio).

        Raises:
            AioRpcError: it failed.
        """
        await self.wait_status()
        self._raise_for_status()

    def _raise_for_status(self) -> None:
        if not self._went_well():
            self._failed()

    async def _news(self) -> None:
        self._share()
        future = self.channel.loop.create_future()
        if self.waiting is None:
            self.waiting = []
        self.waiting.append(future)
        await future

    async def wait_status(self) -> Any:
        """Returns the status when the RPC has ended."""
        while self.outcome is None:
            await self._news()
        return self.outcome

    def __repr__(self) -> str:
        return self.representation()

    __str__ = __repr__


UNARY_START = UnaryCall.start

grpc.aio.UnaryUnaryCall.register(UnaryCall)
