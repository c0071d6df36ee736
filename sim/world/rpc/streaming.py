"""Calls with a stream of responses: grpc.aio's own, except for when they are given up.

A call of grpc.aio's and the iterator over its responses hold each other, so that one left half-way
(`async for ... : break`) lives until the garbage collector finds it, and is cancelled then. A simulation
collects rarely, and must do so at the same point of virtual time in every replay: here the call does not hold
its iterator, and is cancelled as soon as nobody has either.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from grpc.aio import _call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _OwnedByItsIterator:
    _iterator: weakref.ref[AsyncIterator[Any]] | None = None

    def __aiter__(self: Any) -> AsyncIterator[Any]:
        """Returns the iterator over the responses, always the same one while somebody has it."""
        self._update_response_style(_call._APIStyle.ASYNC_GENERATOR)
        iterator: Any = None if self._iterator is None else self._iterator()
        if iterator is None:
            iterator = self._fetch_stream_responses()
            self._iterator = weakref.ref(iterator)
        return iterator  # type: ignore[no-any-return]


class UnaryStreamCall(_OwnedByItsIterator, _call.UnaryStreamCall):  # type: ignore[type-arg]
    """A call with one request and many responses."""


class StreamStreamCall(_OwnedByItsIterator, _call.StreamStreamCall):  # type: ignore[type-arg]
    """A call with many requests and many responses."""
