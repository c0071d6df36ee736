"""Clocks: what `time` and `datetime` say inside a simulated task."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

from sim.world.reality.leak import asked_by_library, inside, leak

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.process import Process

_READS = "reads the real clock"
_ADOPT = "or adopt the program, and it reads its host's"


def _clock(process: Process, call: str, instead: str) -> Any:
    """Returns the clock that answers.

    Raises:
        RealityLeak: none may.
    """
    machine = process.host
    if machine is None or not (process.adopted or asked_by_library()):
        raise leak(process, call, _READS, f"use {instead}, {_ADOPT}")
    return machine.clock


def _reader(name: str, method: str, instead: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    real = getattr(time, name)

    def read() -> Any:
        process = inside()
        if process is None:
            return real()
        return getattr(_clock(process, f"time.{name}()", instead), method)()

    return real, _named(read, real)


def _named(function: Any, real: Any) -> Any:
    function.__name__ = function.__qualname__ = real.__name__
    function.__module__ = real.__module__
    function.__doc__ = real.__doc__
    return function


def _of_now(name: str, seconds_at: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A function of `time` that means now when an argument is left out."""
    real = getattr(time, name)

    def convert(*args: Any) -> Any:
        if len(args) > seconds_at and args[seconds_at] is not None:
            return real(*args)
        process = inside()
        if process is None:
            return real(*args)
        now = _clock(process, f"time.{name}()", "host.clock.time()").time()
        moment = now if name in ("localtime", "gmtime", "ctime") else _localtime(now)
        return real(*args[:seconds_at], moment)

    return real, _named(convert, real)


_localtime = time.localtime


def _sleep() -> tuple[Callable[..., Any], Callable[..., Any]]:
    real = time.sleep

    def sleep(seconds: float, /) -> None:
        process = inside()
        if process is None:
            return real(seconds)
        raise leak(
            process,
            "time.sleep()",
            "would stop all of it",
            "use `await asyncio.sleep()`, which waits in virtual time",
        )

    return real, _named(sleep, real)


def _clock_gettime(name: str, suffix: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    real = getattr(time, name)

    def gettime(clock: int, /) -> Any:
        process = inside()
        if process is None:
            return real(clock)
        found = _clock(process, f"time.{name}()", "host.clock")
        return getattr(found, ("time" if clock == time.CLOCK_REALTIME else "monotonic") + suffix)()

    return real, _named(gettime, real)


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions of `time` and what stands in for each."""
    wall, steady = "host.clock.time()", "host.clock.monotonic()"
    found = [
        _reader("time", "time", wall),
        _reader("time_ns", "time_ns", "host.clock.time_ns()"),
        _sleep(),
        _of_now("localtime", 0),
        _of_now("gmtime", 0),
        _of_now("ctime", 0),
        _of_now("asctime", 0),
        _of_now("strftime", 1),
    ]
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        found.append(_reader(name, "monotonic", steady))
        found.append(_reader(f"{name}_ns", "monotonic_ns", steady))
    if hasattr(time, "clock_gettime"):
        found += [_clock_gettime("clock_gettime", ""), _clock_gettime("clock_gettime_ns", "_ns")]
    return found


def methods() -> list[tuple[type, str, Any]]:
    """Returns the class methods of `datetime` that read the clock, and what stands in for each."""
    real_now, real_utcnow = datetime.datetime.now, datetime.datetime.utcnow
    real_date = datetime.date.today

    def moment(cls: type, call: str) -> float | None:
        process = inside()
        if process is None:
            return None
        found: float = _clock(process, call, "datetime.fromtimestamp(host.clock.time())").time()
        return found

    def now(cls: Any, tz: Any = None) -> Any:
        at = moment(cls, "datetime.now()")
        return _bound(now_descriptor, cls)(tz) if at is None else cls.fromtimestamp(at, tz)

    def utcnow(cls: Any) -> Any:
        at = moment(cls, "datetime.utcnow()")
        if at is None:
            return _bound(utcnow_descriptor, cls)()
        return cls.fromtimestamp(at, datetime.UTC).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        at = moment(cls, f"{cls.__name__}.today()")
        return _bound(today_descriptor, cls)() if at is None else cls.fromtimestamp(at)

    now_descriptor = datetime.datetime.__dict__["now"]
    utcnow_descriptor = datetime.datetime.__dict__["utcnow"]
    today_descriptor = datetime.date.__dict__["today"]
    return [
        (datetime.datetime, "now", classmethod(_named(now, real_now))),
        (datetime.datetime, "utcnow", classmethod(_named(utcnow, real_utcnow))),
        (datetime.date, "today", classmethod(_named(today, real_date))),
    ]


def _bound(descriptor: Any, cls: type) -> Any:
    return descriptor.__get__(None, cls)
