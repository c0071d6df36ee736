"""The client's side of an RPC: its state, from the first byte to the status.

Unary calls (`unary.UnaryCall`) and the core of all others (`core.CoreCall`) are built on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import Message
from sim.world.process import PROCESS
from sim.world.rpc import status
from sim.world.rpc.connection import FRAME, HEADERS, Frame
from sim.world.timers import FIRE, SECOND, Timer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sim.world.process import Process
    from sim.world.rpc.channel import Channel
    from sim.world.rpc.connection import ClientConnection
    from sim.world.rpc.context import Context


class ClientStream:
    """One RPC, as its client has it. It is made bare: whoever makes one sets its channel and method.

    Attributes:
        channel: whose.
        method: "/package.Service/Method".
        deadline: virtual ns at which it ends with DEADLINE_EXCEEDED; None: never.
        wait_for_ready: it waits for a connection instead of failing without one.
        metadata: what the server gets.
        number: joins its messages in the trace.
        sent, task: when and by whom the request was sent.
        connection: on which; None until there is one.
        remote: the server's side, once it knows of the RPC.
        outcome: its status; None while it goes on.
        initial: the initial metadata from the server; None until they come.
        locally_cancelled: by this side.
        surplus: messages have come that nobody will read.
        first: what is sent when there is a connection.
        waiter: the one task that waits, when stepping it is all there is to do at the end (of a unary call).
    """

    channel: Channel
    method: str
    deadline: int | None = None
    wait_for_ready: bool = False
    metadata: tuple[Any, ...] = ()
    number: int = 0
    sent: int = 0
    task: str = ""
    connection: ClientConnection | None = None
    remote: Context | None = None
    outcome: Any = None
    initial: tuple[Any, ...] | None = None
    locally_cancelled: bool = False
    timer: Timer | None = None
    callbacks: list[Callable[[], object]] | None = None
    waiting: list[asyncio.Future[None]] | None = None
    response: bytes | None = None
    surplus: bool = False
    first: Frame | bytes | None = None
    tries: int = 0
    waiter: asyncio.Future[None] | None = None

    # Beginning

    def checked(self, message: Any) -> bytes:
        """Returns what is sent of a serialized message; one that is too large ends the RPC.

        What could not be serialized is sent as an empty message, as grpc.aio does.

        Raises:
            TypeError: the serializer returned something else than bytes.
        """
        if message is None:
            return b""
        if not isinstance(message, bytes):
            raise TypeError(f"Expected bytes, got {type(message).__name__}")
        limit = self.channel.max_send
        if len(message) > limit:
            words = f"CLIENT: {status.too_large_to_send(len(message), limit)}"
            self.finish(status.failure(status.RESOURCE_EXHAUSTED, words))
        return message

    def is_late(self) -> bool:
        """Ends the RPC if its deadline has passed before it has begun, and says so."""
        assert self.deadline is not None
        if self.deadline > self.channel.loop.env._now:
            return False
        self.finish(status.failure(status.DEADLINE_EXCEEDED, status.DEADLINE))
        return True

    def begin(self, first: Frame | bytes) -> None:
        """Starts the RPC with its first frame, or with a whole unary request."""
        channel = self.channel
        self.first = first
        if self.deadline is not None:
            if self.is_late():
                return
            self.watch_deadline()
        connection = channel.connection
        if connection is not None and connection.endpoint.open:
            self.go(connection)
        else:
            channel.subchannel.submit(self)

    def go(self, connection: ClientConnection) -> None:
        """Sends what there is to send, now that there is a connection."""
        if self.outcome is not None:
            return
        first = self.first
        self.connection = connection
        connection.streams[self] = None
        if not self.number:
            self.number = next(self.channel.numbers)
        self.sent = connection.env._now
        if isinstance(first, Frame):
            connection.send_frame(self, first)
        else:
            assert first is not None
            size = (
                FRAME + HEADERS + len(first) + (status.metadata_size(self.metadata) if self.metadata else 0)
            )
            connection.send(size, connection.request, self, first)
        self.connected()

    def connected(self) -> None:
        """The RPC is on its way (a hook: streams may write now)."""

    def watch_deadline(self) -> None:
        """Sets the timer of the deadline."""
        process: Process = self.channel.process
        loop = self.channel.loop
        assert self.deadline is not None
        at = max(self.deadline, loop.env._now)
        self.timer = Timer(self.expire, (), process.context, loop, at, FIRE)
        loop.env.push(at, self.timer)

    def expire(self) -> None:
        """The deadline has come."""
        if self.outcome is None:
            self.abandon()
            # Once there was an answer, gRPC nearly always says where it noticed.
            words = status.DEADLINE if self.initial is None else f"Stream removed ({status.DEADLINE})"
            self.finish(status.failure(status.DEADLINE_EXCEEDED, words))

    # What the server says

    def on_reply(self, data: bytes, sent: int, task: str) -> None:
        """A unary RPC's reply has arrived, with status OK and no metadata (hardware)."""
        connection = self.connection
        assert connection is not None
        if connection.trace is not None:
            connection.trace.write(
                Message(
                    connection.env._now,
                    connection.local,
                    connection.remote,
                    sent,
                    self.number,
                    self.method,
                    "response",
                    len(data),
                    "OK",
                    task,
                )
            )
        connection.deliver(len(data), self.replied, data)

    def replied(self, data: bytes) -> None:
        """The reply of a unary RPC has come, with status OK and no metadata."""
        if self.outcome is not None:
            return
        if len(data) > self.channel.max_receive:
            self._too_large(len(data))
            return
        self.response = data
        self.initial = ()
        self.finish(status.FINE)

    def received(self, frame: Frame) -> None:
        """A frame has come."""
        if self.outcome is not None:
            return
        if frame.headers is not None and self.initial is None:
            self.set_initial(frame.headers)
        if frame.data is not None:
            if len(frame.data) > self.channel.max_receive:
                self._too_large(len(frame.data))
                return
            self.message(frame.data)
        if frame.credit:
            self.credit(frame.credit)
        if frame.status is not None:
            self.ended(frame.status)

    def message(self, data: bytes) -> None:
        """A message has come. More than the one that is read hide the status for good, as in gRPC."""
        if self.response is None:
            self.response = data
        else:
            self.surplus = True

    def credit(self, size: int) -> None:
        """The server has read `size` bytes."""

    def ended(self, how: Any) -> None:
        """The server has sent the status."""
        if not self.surplus:
            self.finish(how)

    def _too_large(self, size: int) -> None:
        self.abandon()
        words = status.too_large(size, self.channel.max_receive)
        self.finish(status.failure(status.RESOURCE_EXHAUSTED, f"Stream removed (CLIENT: {words})"))

    # Ending

    def abandon(self) -> None:
        """Tells the server, if it may know of it, that nobody waits for this RPC any more."""
        connection = self.connection
        if connection is not None and self in connection.streams:
            connection.send_frame(self, Frame("cancel", task=connection.task()))

    def finish(self, how: Any) -> None:
        """The RPC has ended."""
        self.outcome = how
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.connection is not None:
            self.connection.streams.pop(self, None)
            if self.connection.leaving:
                self.channel.subchannel.release(self.connection)
        else:
            self.channel.subchannel.withdraw(self)
        if self.initial is None:
            self.set_initial(())
        waiting, self.waiting = self.waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)
        callbacks, self.callbacks = self.callbacks, None
        if callbacks:
            self.run_callbacks(callbacks)

    def run_callbacks(self, callbacks: list[Callable[[], object]]) -> None:
        """Runs the done callbacks, in the process also when it is hardware that has ended the RPC."""
        inside = PROCESS.get(None) is not None
        context = None if inside else self.channel.process.context.copy()
        for callback in callbacks:
            if context is None:
                callback()
                continue
            try:
                context.run(callback)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.callback_failed(exc)  # and later ones are not called, as in grpc.aio
                return

    def callback_failed(self, error: BaseException) -> None:
        """A done callback has raised."""
        self.channel.loop.call_exception_handler(
            {"message": f"Exception in a done callback of {self.method}", "exception": error}
        )

    def set_initial(self, metadata: tuple[Any, ...]) -> None:
        """The initial metadata are known."""
        self.initial = metadata

    # What grpc.aio's call objects ask of it

    @property
    def _status(self) -> Any:
        return self.outcome

    @property
    def _initial_metadata(self) -> tuple[Any, ...] | None:
        return self.initial

    def done(self) -> bool:
        """Says whether it has ended."""
        return self.outcome is not None

    def cancelled(self) -> bool:
        """Says whether it ended with CANCELLED."""
        return self.outcome is not None and self.outcome.code() == status.CANCELLED

    def is_ok(self) -> bool:
        """Says whether it ended with OK."""
        return self.outcome is not None and self.outcome.code() == status.OK

    def is_locally_cancelled(self) -> bool:
        """Says whether this side cancelled it."""
        return self.locally_cancelled

    def cancel_for(self, details: str) -> None:
        """Ends it with CANCELLED."""
        if self.outcome is None:
            self.locally_cancelled = True
            self.abandon()
            self.finish(status.Status(status.CANCELLED, details, None, None))

    def when_done(self, callback: Callable[[], object]) -> None:
        """Has `callback` called when it has ended; at once when it has."""
        if self.outcome is not None:
            callback()
        elif self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)

    def remaining(self) -> float | None:
        """Returns the seconds until the deadline; None without one."""
        if self.deadline is None:
            return None
        return max(0, self.deadline - self.channel.loop.env._now) / SECOND

    async def wait_status(self) -> Any:
        """Returns the status when it has ended."""
        if self.outcome is None:
            future = self.channel.loop.create_future()
            if self.waiting is None:
                self.waiting = []
            self.waiting.append(future)
            await future
        return self.outcome

    def representation(self, name: str = "_AioCall") -> str:
        """Returns what `repr` of a call says (with code and details changed over, as grpc.aio has it)."""
        how = self.outcome
        if how is None:
            return f"<{name} object>"
        code, details = status.CODES[how.code()], how.details()
        return (
            f"<{name} of RPC that terminated with:\n\tstatus = {details}\n"
            f'\tdetails = "{code}"\n\tdebug_error_string = "{how.debug_error_string()}"\n>'
        )
