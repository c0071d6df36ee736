"""A client's connection to one spanserver: calls of many transactions on one stream (`Spanserver.Pipeline`).

Whatever is handed over while a message is being written goes into the next one: nothing waits for company,
and a thousand reads made at once travel in a few messages. A stream that breaks, or says nothing while it
is asked, ends all calls on it with UNAVAILABLE; the next call opens another. After silence it does so on
another connection: TCP tries one that was cut less and less often, and finds out long after the cut is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from protos import spanner_pb2 as pb
from services.parts import part
from services.spanner.errors import SpannerError
from services.spanner.statuses import of_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.host import Host

PIPELINE = "/dsim.spanner.Spanserver/Pipeline"
CALLS = pb.Calls.CALLS_FIELD_NUMBER
SILENCE = 2.0  # seconds without a word from a server that owes answers: it is taken for gone
CLOSE = 1e-6  # seconds: timers may go off so much early
PING = SILENCE / 4
MESSAGE = 256  # calls in one message
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # when to try again is decided here, not by gRPC's backoff
)


class Answer(Protocol):
    """What waits for the answers to a call."""

    def heard(self, reply: pb.Reply) -> bool:
        """Takes an answer; says whether it is the last one."""
        ...

    def broken(self, error: SpannerError) -> None:
        """No answer will come any more."""
        ...


class _One:
    """The only answer to a call.

    Attributes:
        future: it.
        deadline: until when it is waited for, in `loop.time()`.
    """

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[pb.Reply], deadline: float) -> None:
        self.future = future
        self.deadline = deadline

    def heard(self, reply: pb.Reply) -> bool:
        if not self.future.done():
            if reply.HasField("status"):
                self.future.set_exception(of_status(reply.status))
            else:
                self.future.set_result(reply)
        return True

    def broken(self, error: SpannerError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Rows:
    """The answers to a read: `async for part in rows`."""

    def __init__(self) -> None:
        self._parts: list[pb.PartialResultSet] = []
        self._error: SpannerError | None = None
        self._over = False
        self._woken: asyncio.Future[None] | None = None

    def heard(self, reply: pb.Reply) -> bool:
        """Takes an answer; says whether it is the last one."""
        if reply.HasField("status"):
            self._error, self._over = of_status(reply.status), True
        else:
            self._parts.append(reply.rows)
            self._over = reply.rows.last
        self._wake()
        return self._over

    def broken(self, error: SpannerError) -> None:
        """No answer will come any more."""
        self._error, self._over = error, True
        self._wake()

    @property
    def over(self) -> bool:
        """Whether the server has said all."""
        return self._over

    async def next(self) -> pb.PartialResultSet | None:
        """Returns the next part, None after the last one.

        Raises:
            SpannerError: with what the read ended.
        """
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        return self._parts.pop(0)

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class Pipeline:
    """A connection; it opens with the first call.

    Args:
        host: the client's door.
        server: the spanserver's name.

    Attributes:
        latency: seconds from a ping to its answer, the last time; 0.0 before the first.
    """

    def __init__(self, host: Host, server: str) -> None:
        self.server = server
        self.latency = 0.0
        self._host = host
        self._channel: grpc.aio.Channel | None = None
        self._stream: _Stream | None = None
        self._leaving: dict[asyncio.Task[None], None] = {}

    async def ask(self, call: pb.Call, within: float) -> pb.Reply:
        """Makes a call that has one answer.

        Args:
            call: what is asked; its number and time-out are set here.
            within: seconds.

        Raises:
            SpannerError: the refusal; UNAVAILABLE: the server is not there, or the stream broke;
                DEADLINE_EXCEEDED: no answer within the time. After these two nobody knows whether the call
                took effect.
        """
        stream = self._open()
        loop = stream.loop
        one = _One(loop.create_future(), loop.time() + within)
        number = stream.send(call, one, within)
        stream.expect(one)
        try:
            return await one.future
        finally:
            stream.forget(number)

    async def read(self, request: pb.ReadRequest, within: float) -> tuple[Rows, Any]:
        """Begins a read, and returns its answers and what calls it off.

        Args:
            request: what is read.
            within: seconds that the server may take for all of it.
        """
        rows = Rows()
        stream = self._open()
        number = stream.send(pb.Call(read=request), rows, within)
        return rows, lambda: stream.forget(number)

    async def close(self) -> None:
        """Ends the connection, and all calls on it."""
        if self._stream is not None:
            self._stream.end("the client was closed")
        self.leave()
        await asyncio.gather(*self._leaving)

    def leave(self) -> None:
        """Has the next stream be on another connection; the present one must have ended."""
        channel, self._channel = self._channel, None
        if channel is not None:
            task = asyncio.ensure_future(channel.close())
            self._leaving[task] = None
            task.add_done_callback(self._leaving.pop)

    def _open(self) -> _Stream:
        if self._stream is None or self._stream.over:
            if self._channel is None:
                self._channel = self._host.connect(self.server, options=OPTIONS)
            call: Any = self._channel.stream_stream(PIPELINE, response_deserializer=pb.Replies.FromString)
            self._stream = _Stream(self, call())
        return self._stream


class _Stream:
    """One stream of a pipeline, until it breaks.

    Attributes:
        loop: on which it runs.
        over: it has broken, or was ended.
    """

    def __init__(self, pipeline: Pipeline, call: Any) -> None:
        self._pipeline = pipeline
        self.loop = asyncio.get_running_loop()
        self._call = call
        self.over = False
        self._numbers = 0
        self._waiting: dict[int, Answer] = {}
        self._unsent: list[bytes] = []
        self._idle: asyncio.Future[None] | None = None
        self._heard = self._asked = self.loop.time()
        self._pinged: tuple[int, float] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None  # at the first deadline, or before
        self._tasks = [
            self.loop.create_task(self._guarded(self._write)),
            self.loop.create_task(self._guarded(self._read)),
        ]
        self._ping()

    def send(self, call: pb.Call, answer: Answer, within: float) -> int:
        """Has a call written with the next message; returns its number."""
        self._numbers += 1
        call.number = self._numbers
        call.timeout = max(1, int(within * 1e9))
        if self._heard >= self._asked:
            self._asked = self.loop.time()
        self._waiting[call.number] = answer
        self._put(call)
        if self._watch is None:
            self._watch = self.loop.call_later(PING, self._look)
        return self._numbers

    def expect(self, one: _One) -> None:
        """Sees to it that nobody waits for an answer beyond its deadline."""
        if self._expiry is not None:
            if self._expiry.when() <= one.deadline:
                return
            self._expiry.cancel()
        self._expiry = self.loop.call_at(one.deadline, self._expire)

    def _expire(self) -> None:
        """Ends the waits that are over; one timer does for all."""
        self._expiry = None
        now = self.loop.time()
        first: _One | None = None
        for one in self._waiting.values():
            if not isinstance(one, _One):
                continue
            if one.deadline <= now + CLOSE:
                one.broken(
                    SpannerError("DEADLINE_EXCEEDED", f"{self._pipeline.server} did not answer in time")
                )
            elif first is None or one.deadline < first.deadline:
                first = one
        if first is not None:
            self.expect(first)

    def forget(self, number: int) -> None:
        """Says that nobody waits for a call any more."""
        if self._waiting.pop(number, None) is not None and not self.over:
            self._put(pb.Call(number=number, cancel=True))

    def end(self, why: str) -> None:
        """Ends it, and all calls on it."""
        if self.over:
            return
        self.over = True
        for timer in (self._watch, self._expiry):
            if timer is not None:
                timer.cancel()
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.broken(SpannerError("UNAVAILABLE", f"{self._pipeline.server}: {why}"))

    def _put(self, call: pb.Call) -> None:
        self._unsent.append(part(CALLS, call.SerializeToString()))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _ping(self) -> None:
        self._numbers += 1
        self._pinged = self._numbers, self.loop.time()
        self._put(pb.Call(number=self._numbers))

    def _look(self) -> None:
        """Looks whether the server is still there, while it owes answers."""
        self._watch = None
        # Who has stopped waiting wants to know, too: the next call is not to begin the silence anew.
        if self.over or (not self._waiting and self._heard >= self._asked):
            return
        now = self.loop.time()
        silent = now - max(self._heard, self._asked)
        if silent > SILENCE:
            self.end("it says nothing")
            self._pipeline.leave()
            return
        if silent > PING / 2 and self._pinged is None:
            self._ping()
        self._watch = self.loop.call_later(PING, self._look)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except grpc.aio.AioRpcError as exc:
            self.end(exc.details() or exc.code().name)
        except (asyncio.InvalidStateError, grpc.aio.UsageError):
            self.end("the stream has ended")
        except asyncio.CancelledError:
            self.end("the stream was cancelled")
            raise
        else:
            self.end("the server closed the stream")

    async def _write(self) -> None:
        write = self._call.write
        while True:
            if not self._unsent:
                self._idle = self.loop.create_future()
                await self._idle
                self._idle = None
            calls, self._unsent = self._unsent[:MESSAGE], self._unsent[MESSAGE:]
            await write(b"".join(calls))

    async def _read(self) -> None:
        read = self._call.read
        waiting = self._waiting
        while (message := await read()) is not grpc.aio.EOF:
            self._heard = self.loop.time()
            for reply in message.replies:
                answer = waiting.get(reply.number)
                if answer is not None:
                    if answer.heard(reply):
                        waiting.pop(reply.number, None)
                elif self._pinged is not None and reply.number == self._pinged[0]:
                    self._pipeline.latency = self._heard - self._pinged[1]
                    self._pinged = None
