"""What can be asked of a spanserver, with or without gRPC: finds the group, refuses what makes no sense."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.spanserver import checks
from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from services.spanner.spanserver.server import Spanserver
    from services.spanner.transactions import Transactions

log = logging.getLogger(__name__)

T = TypeVar("T")
DONE = pb.Done()


class Calls:
    """The calls of clients and of other groups' leaders.

    All raise `SpannerError` only.

    Args:
        server: whose groups are asked.
    """

    def __init__(self, server: Spanserver) -> None:
        self._server = server

    async def read(self, request: pb.ReadRequest) -> AsyncIterator[pb.PartialResultSet]:
        """Yields what is read; see `Transactions.read`."""
        checks.read(request)
        try:
            async for part in self._group(request.group).read(request):
                yield part
        except (SpannerError, Exception) as exc:
            raise refusal(exc) from None

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        """See `Transactions.commit`: the caller must not be cancelled."""
        checks.commit(request)
        return await self._asked(self._group(request.group).commit(request))

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """See `Transactions.prepare`: the caller must not be cancelled."""
        checks.prepare(request)
        return await self._asked(self._group(request.group).prepare(request))

    async def rollback(self, request: pb.TransactionRequest) -> pb.Done:
        """See `Transactions.rollback`."""
        checks.transaction(request.transaction)
        await self._asked(self._group(request.group).rollback(request))
        return DONE

    async def keep_alive(self, request: pb.TransactionRequest) -> pb.Done:
        """See `Transactions.keep_alive`."""
        checks.transaction(request.transaction)
        await self._asked(self._group(request.group).keep_alive(request))
        return DONE

    async def decide(self, request: pb.DecideRequest) -> pb.Decision:
        """See `Transactions.decide`."""
        checks.name(request.transaction)
        return await self._asked(self._group(request.coordinator).decide(request))

    async def wound(self, request: pb.WoundRequest) -> pb.Done:
        """See `Transactions.wound`."""
        checks.name(request.transaction)
        await self._asked(self._group(request.group).wound(request))
        return DONE

    def _group(self, number: int) -> Transactions:
        return self._server.hosted(number).transactions

    async def _asked(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except (SpannerError, Exception) as exc:
            raise refusal(exc) from None


def refusal(error: Exception) -> SpannerError:
    """Returns the refusal that an error is to whoever asked; what nobody foresaw goes to the log, too."""
    if isinstance(error, SpannerError):
        return error
    if isinstance(error, Unsynchronized):
        return SpannerError("UNAVAILABLE", "this server does not know the time", "no-time")
    log.error("a call failed", exc_info=error)
    return SpannerError("INTERNAL", f"{type(error).__name__}: {error}")


def unexpected(context: dict[str, Any]) -> None:
    """Logs what failed where nobody waits for it."""
    log.error("%s", context.get("message"), exc_info=context.get("exception"))
