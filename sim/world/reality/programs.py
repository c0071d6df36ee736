"""Calls that an adopted program makes directly: grpc.aio, signals; and asyncio's own use of sets."""

from __future__ import annotations

import _thread
import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Any

from sim.world.reality.files import INSTEAD_OF_THREADS
from sim.world.reality.leak import asked_by_library, inside, leak
from sim.world.timers import Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sim.world.process import Process


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions and what stands in for each; grpc's only when grpc is loaded."""
    found: list[tuple[Any, Any]] = [
        (_as_completed, as_completed),
        (_signal, install_handler),
        *(_no_thread(name) for name in _THREADS if hasattr(_thread, name)),
        *((getattr(signal, name), _refused_signal(name)) for name in _TIMERS if hasattr(signal, name)),
    ]
    if "grpc.aio" in sys.modules:
        from sim.world.reality import grpc_calls

        found += grpc_calls.functions()
    if "aiohappyeyeballs" in sys.modules:
        from sim.world.reality import aiohttp_calls

        found += aiohttp_calls.functions()
    return found


# asyncio.as_completed iterates a set of what it is given: coroutines, hashed by address

_as_completed: Any = asyncio.as_completed


def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
    """Returns an iterator over what is done first (`asyncio.as_completed`)."""
    loop = asyncio._get_running_loop()
    if loop is None or not hasattr(loop, "orders"):
        return _as_completed(fs, timeout=timeout)
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
    if sys.version_info >= (3, 13):
        return _as_completed(_in_order(fs), timeout=timeout)
    return _later(fs, timeout)


def _later(fs: Iterable[Any], timeout: float | None) -> Iterator[Any]:
    yield from _as_completed(_in_order(fs), timeout=timeout)


def _in_order(fs: Iterable[Any]) -> list[asyncio.Future[Any]]:
    return [asyncio.ensure_future(f) for f in dict.fromkeys(fs)]


# Threads: Python tells its audit hooks of them only from 3.12 on

_THREADS = ("start_new_thread", "start_joinable_thread")


def _no_thread(name: str) -> tuple[Any, Any]:
    real = getattr(_thread, name)

    def start(*args: Any, **kwargs: Any) -> Any:
        process = inside()
        if process is not None and not asked_by_library():
            raise leak(process, "threading.Thread.start()", "starts a real thread", INSTEAD_OF_THREADS)
        return real(*args, **kwargs)

    start.__name__ = start.__qualname__ = name
    return real, start


# Signals

_signal: Any = signal.signal
_TIMERS = ("alarm", "setitimer", "pause", "sigwait", "sigwaitinfo", "sigtimedwait")


def install_handler(signalnum: Any, handler: Any, /) -> Any:
    """Installs a signal handler (`signal.signal`): an adopted program's is its process's own."""
    process = inside()
    if process is None or asked_by_library():
        return _signal(signalnum, handler)
    if not process.adopted:
        raise leak(
            process, "signal.signal()", "installs a real signal handler", "let the scenario stop hosts"
        )
    number = int(signalnum)
    before = process.signals.pop(number, None)
    if callable(handler):
        process.signals[number] = Handle(handler, (number, None), process.context.copy())
    elif handler == signal.SIG_IGN:
        process.signals[number] = Handle(_ignore, (number, None), process.context.copy())
    if before is None:
        return signal.SIG_DFL
    return signal.SIG_IGN if before.callback is _ignore else before.callback


def _ignore(number: int, frame: None) -> None:
    """Does nothing (SIG_IGN)."""


def _refused_signal(name: str) -> Callable[..., Any]:
    real = getattr(signal, name)

    def refused(*args: Any) -> Any:
        process: Process | None = inside()
        if process is None or asked_by_library():
            return real(*args)
        raise leak(
            process, f"signal.{name}()", "waits for a real signal", "use asyncio.timeout or asyncio.sleep"
        )

    refused.__name__ = refused.__qualname__ = name
    return refused
