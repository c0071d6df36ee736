"""The server's side of a pipeline: many calls on one stream, each answered when it is done.

Memory is bounded both ways: a call is taken only while there is room for it, and a read goes on only while
the client reads what it is told; gRPC's flow control does the rest.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.spanserver.calls import refusal
from services.spanner.statuses import to_status

if TYPE_CHECKING:
    from services.host import Context
    from services.spanner.spanserver.calls import Calls

ROOM = 4096  # calls of one stream that may be under way
UNREAD = 4 << 20  # bytes of rows that a client may leave unread before its reads wait
BATCH = 1 << 20  # bytes of rows in one message, and a part more
LOOK = 1.0  # seconds between two looks for calls whose time is over

log = logging.getLogger(__name__)


class Stream:
    """One stream.

    Args:
        calls: what can be asked.
        context: gRPC's.
    """

    def __init__(self, calls: Calls, context: Context) -> None:
        self._calls = calls
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._working: dict[int, asyncio.Task[None]] = {}
        self._deciding: dict[int, asyncio.Task[None]] = {}  # commits and prepares: they are not called off
        self._deadlines: dict[int, float] = {}
        self._late: dict[int, None] = {}
        self._unsent: list[pb.Reply] = []
        self._unread = 0
        self._idle: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._read_up = asyncio.Event()
        self._drained = asyncio.Event()
        self._look: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Serves until the client goes, or ends its side and has all answers."""
        writing = self._loop.create_task(self._write())
        reading = self._loop.create_task(self._read())
        drained: asyncio.Task[Any] | None = None
        try:
            await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and not writing.done() and not reading.cancelled() and not reading.exception():
                while under_way := [*self._working.values(), *self._deciding.values()]:
                    await asyncio.wait(under_way)
                drained = self._loop.create_task(self._drained.wait())
                await asyncio.wait([drained, writing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._look is not None:
                self._look.cancel()
            tasks = [reading, writing, *self._working.values(), *([drained] if drained else [])]
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(
                    result, grpc.aio.AioRpcError | asyncio.InvalidStateError | grpc.aio.UsageError
                ):
                    log.debug("a pipeline ended: %r", result)

    async def _read(self) -> None:
        read = self._context.read
        create_task, working, deciding = self._loop.create_task, self._working, self._deciding
        while (message := await read()) is not grpc.aio.EOF:
            now = self._loop.time()
            for call in message.calls:
                number = call.number
                kind = call.WhichOneof("request")
                if kind == "cancel":
                    if (task := working.get(number)) is not None:
                        task.cancel()
                    else:
                        self._leave(number)
                    continue
                if number in working or number in deciding:
                    self._refuse(number, SpannerError("INVALID_ARGUMENT", "its number is in use"))
                    continue
                while len(working) + len(deciding) >= ROOM:
                    self._room.clear()
                    await self._room.wait()
                if timeout := call.timeout:
                    self._deadlines[number] = now + timeout * 1e-9
                    if self._look is None:
                        self._look = self._loop.call_later(LOOK, self._look_for_late)
                if kind == "commit" or kind == "prepare":
                    deciding[number] = create_task(self._decide(number, call, kind))
                else:
                    task = working[number] = create_task(self._answer(number, call, kind))
                    task.add_done_callback(partial(self._over, number))

    async def _decide(self, number: int, call: pb.Call, kind: str) -> None:
        """Answers a call that goes on whoever stops waiting for it."""
        try:
            if kind == "commit":
                reply = pb.Reply(number=number, commit=await self._calls.commit(call.commit))
            else:
                reply = pb.Reply(number=number, prepare=await self._calls.prepare(call.prepare))
        except (SpannerError, Exception) as exc:
            reply = pb.Reply(number=number, status=to_status(refusal(exc)))
        if self._leave(number):
            self._say(reply)

    def _leave(self, number: int) -> bool:
        """Waits no more for a commit or prepare; says whether it was waited for."""
        if self._deciding.pop(number, None) is None:
            return False
        self._deadlines.pop(number, None)
        self._room.set()
        return True

    async def _answer(self, number: int, call: pb.Call, kind: str | None) -> None:
        calls = self._calls
        try:
            match kind:
                case "read":
                    async for part in calls.read(call.read):
                        self._say(pb.Reply(number=number, rows=part), len(part.rows))
                        if self._unread > UNREAD:
                            await self._client_reads()
                case "rollback":
                    self._say(pb.Reply(number=number, done=await calls.rollback(call.rollback)))
                case "keep_alive":
                    self._say(pb.Reply(number=number, done=await calls.keep_alive(call.keep_alive)))
                case _:
                    self._say(pb.Reply(number=number, done=pb.Done()))
        except (SpannerError, Exception) as exc:
            self._refuse(number, refusal(exc))

    def _over(self, number: int, task: asyncio.Task[None]) -> None:
        """Forgets a call: also one that was called off before it had begun."""
        if task.cancelled() and number in self._late:
            self._refuse(number, _late())
        self._working.pop(number, None)
        self._deadlines.pop(number, None)
        self._late.pop(number, None)
        self._room.set()

    def _refuse(self, number: int, error: SpannerError) -> None:
        self._say(pb.Reply(number=number, status=to_status(error)))

    def _say(self, reply: pb.Reply, size: int = 0) -> None:
        self._unsent.append(reply)
        self._drained.clear()
        self._unread += size
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _client_reads(self) -> None:
        while self._unread > UNREAD:
            self._read_up.clear()
            await self._read_up.wait()

    def _look_for_late(self) -> None:
        self._look = None
        now = self._loop.time()
        for number in [number for number, deadline in self._deadlines.items() if deadline < now]:
            if (task := self._working.get(number)) is not None:
                self._late[number] = None
                task.cancel()
            elif self._leave(number):
                self._refuse(number, _late())
        if self._deadlines:
            self._look = self._loop.call_later(LOOK, self._look_for_late)

    async def _write(self) -> None:
        write: Any = self._context.write
        while True:
            if not self._unsent:
                self._idle = self._loop.create_future()
                self._drained.set()
                await self._idle
                self._idle = None
            replies, size = self._batch()
            await write(pb.Replies(replies=replies))
            self._unread -= size
            self._read_up.set()

    def _batch(self) -> tuple[list[pb.Reply], int]:
        if self._unread <= BATCH:
            replies, self._unsent = self._unsent, []
            return replies, self._unread
        count = size = 0
        for reply in self._unsent:
            count += 1
            size += len(reply.rows.rows)
            if size > BATCH:
                break
        replies, self._unsent = self._unsent[:count], self._unsent[count:]
        return replies, size


def _late() -> SpannerError:
    return SpannerError("DEADLINE_EXCEEDED", "its time was over")
