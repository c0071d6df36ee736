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
                while self._working:
                    await asyncio.wait(list(self._working.values()))
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
        create_task, working = self._loop.create_task, self._working
        while (message := await read()) is not grpc.aio.EOF:
            for call in message.calls:
                if call.cancel:
                    if (task := working.get(call.number)) is not None:
                        task.cancel()
                    continue
                if call.number in working:
                    self._refuse(call.number, SpannerError("INVALID_ARGUMENT", "its number is in use"))
                    continue
                while len(working) >= ROOM:
                    self._room.clear()
                    await self._room.wait()
                if call.timeout:
                    self._deadlines[call.number] = self._loop.time() + call.timeout * 1e-9
                    if self._look is None:
                        self._look = self._loop.call_later(LOOK, self._look_for_late)
                task = working[call.number] = create_task(self._answer(call))
                task.add_done_callback(partial(self._over, call.number))

    async def _answer(self, call: pb.Call) -> None:
        number = call.number
        calls = self._calls
        try:
            match call.WhichOneof("request"):
                case "read":
                    async for part in calls.read(call.read):
                        self._say(pb.Reply(number=number, rows=part), len(part.rows))
                        if self._unread > UNREAD:
                            await self._client_reads()
                case "commit":
                    self._say(pb.Reply(number=number, commit=await calls.commit(call.commit)))
                case "prepare":
                    self._say(pb.Reply(number=number, prepare=await calls.prepare(call.prepare)))
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
            self._refuse(number, SpannerError("DEADLINE_EXCEEDED", "its time was over"))
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
        for number, deadline in self._deadlines.items():
            if deadline < now and (task := self._working.get(number)) is not None:
                self._late[number] = None
                task.cancel()
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
