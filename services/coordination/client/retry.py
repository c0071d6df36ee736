"""Calls that may be made twice, made again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from services.coordination.api import Code, CoordinationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")

PAUSE = 0.05  # seconds, when it is the server that says so

TRANSIENT = (
    Code.CONNECTION_LOSS,
    Code.OPERATION_TIMEOUT,
    Code.REQUEST_TIMEOUT,
    Code.SESSION_MOVED,
    Code.THROTTLED,
)
"""Why a call may succeed if it is made again."""


async def retry(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Makes a call again until it has an answer. The client never does so by itself.

    Only for what may be done twice: reads, and updates that are idempotent or conditional. Of those the
    caller must take the answer of the second time for that of the first: a `delete` that raises NoNode, a
    `set` with a version that raises BadVersion may have succeeded. A call waits for a connection, so there is
    no haste in this; it ends, with the error, when the session does.

    Args:
        call: makes the call: `await retry(client.get, "/config")`.
        args, kwargs: what it takes.

    Raises:
        CoordinationError: every other error.
    """
    while True:
        try:
            return await call(*args, **kwargs)
        except CoordinationError as exc:
            if exc.code not in TRANSIENT:
                raise
            if exc.code is not Code.CONNECTION_LOSS:
                await asyncio.sleep(PAUSE)
