"""The gRPC door of a spanserver: each call of `Spanserver` in `protos/spanner.proto`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.errors import SpannerError
from services.spanner.spanserver.calls import refusal
from services.spanner.spanserver.pipeline import Stream
from services.spanner.statuses import abort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine

    from services.host import Context
    from services.spanner.spanserver.administration import Administration
    from services.spanner.spanserver.calls import Calls

T = TypeVar("T")


class Door(rpc.SpanserverServicer):
    """Lets clients in, leaders of other groups, and placement.

    Args:
        calls: what the first two ask.
        administration: what placement asks.
    """

    def __init__(self, calls: Calls, administration: Administration) -> None:
        self._calls = calls
        self._administration = administration

    async def Read(self, request: pb.ReadRequest, context: Context) -> AsyncIterator[pb.PartialResultSet]:
        """Reads."""
        try:
            async for part in self._calls.read(request):
                yield part
        except SpannerError as exc:
            await abort(context, exc)

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.CommitReply:
        """Commits, as the coordinator."""
        return await _answer(_to_its_end(self._calls.commit(request)), context)

    async def Prepare(self, request: pb.PrepareRequest, context: Context) -> pb.PrepareReply:
        """Prepares, as a participant."""
        return await _answer(_to_its_end(self._calls.prepare(request)), context)

    async def Rollback(self, request: pb.TransactionRequest, context: Context) -> pb.Done:
        """Gives a transaction up."""
        return await _answer(self._calls.rollback(request), context)

    async def KeepAlive(self, request: pb.TransactionRequest, context: Context) -> pb.Done:
        """Hears that a client is there."""
        return await _answer(self._calls.keep_alive(request), context)

    async def Pipeline(self, requests: Any, context: Context) -> None:  # type: ignore[override]
        """Serves many calls on one stream, which it reads and writes itself."""
        del requests
        await Stream(self._calls, context).serve()

    async def Decide(self, request: pb.DecideRequest, context: Context) -> pb.Decision:
        """Hears a participant's vote, and answers with the outcome."""
        return await _answer(self._calls.decide(request), context)

    async def Wound(self, request: pb.WoundRequest, context: Context) -> pb.Done:
        """Hears that an older transaction waits."""
        return await _answer(self._calls.wound(request), context)

    async def CreateReplica(self, request: pb.GroupRequest, context: Context) -> pb.Done:
        """Hosts one more group."""
        return await _answer(self._administration.create(request), context)

    async def DropReplica(self, request: pb.GroupRequest, context: Context) -> pb.Done:
        """Hosts a group no more."""
        return await _answer(self._administration.drop(request), context)

    async def HandOver(self, request: pb.HandOverRequest, context: Context) -> pb.Done:
        """Gives leadership away."""
        return await _answer(self._administration.hand_over(request), context)

    async def Export(self, request: pb.ExportRequest, context: Context) -> AsyncIterator[pb.Versions]:
        """Copies versions of a range."""
        try:
            async for piece in self._administration.export(request):
                yield piece
        except SpannerError as exc:
            await abort(context, exc)

    async def Import(self, request: pb.ImportRequest, context: Context) -> pb.Done:
        """Stages a copy."""
        return await _answer(self._administration.take_in(request), context)

    async def Status(self, request: pb.StatusRequest, context: Context) -> pb.SpanserverStatus:
        """Says how it is."""
        return await _answer(self._administration.status(request), context)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Has something go on although the caller may go away."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_looked_at)
    return await asyncio.shield(task)


def _looked_at(task: asyncio.Task[Any]) -> None:
    """Takes note of how a task ended, though perhaps nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


async def _answer(work: Awaitable[T], context: Context) -> T:
    try:
        return await work
    except (SpannerError, Exception) as exc:
        await abort(context, refusal(exc))
