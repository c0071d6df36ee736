"""A thread that does one thing after another, for a loop that must not wait.

What `concurrent.futures` does for that (a future with a lock of its own, chained to one of the loop) takes
longer than to write a log record to the page cache and sync it on a good disk: a write to a coordination
service pays it at every server.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_Work: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any] | None]"


class SerialThread:
    """The thread; it begins with the first thing that there is to do.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, fn: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Has `fn(*args)` called after all before it; the future has what came of it.

        Whoever cancels the future does not hear of it; it is done nevertheless.

        Raises:
            RuntimeError: it is closed.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put((fn, args, future))
        return future

    def submit(self, fn: Callable[..., Any], *args: Any) -> None:
        """Has it called, and nobody told.

        Raises:
            RuntimeError: it is closed.
        """
        self._put((fn, args, None))

    def close(self) -> None:
        """Returns when everything has been done; takes no more."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _put(self, work: _Work) -> None:
        if self._closed:
            raise RuntimeError(f"the thread {self._name} is closed")
        self._queue.put(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            fn, args, future = work
            result, error = None, None
            try:
                result = fn(*args)
            except Exception as exc:
                error = exc
            if future is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            del work, fn, args, future, result, error  # nothing is kept alive until there is more to do


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return  # it was cancelled
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
