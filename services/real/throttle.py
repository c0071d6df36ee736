"""A slow processor: a straggler's share of the time, taken from the inside.

A thread alternately lets the process run and holds the interpreter's lock asleep, so that all of its
Python stands still; worker processes are stopped and continued in the same rhythm. No core is burnt, and
nothing is left stopped when the process dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SLOWEST = 200.0
"""The largest factor. Beyond it a host would stand still for longer than its control service is given."""

_RUN = 0.005  # seconds between two halts: short against what a client would call slow
_LONGEST = 1.5  # seconds of one halt, when the machine was too busy to end the one before in time


class Throttle:
    """Makes this process a number of times slower."""

    def __init__(self) -> None:
        self._factor = 1.0
        self._thread: threading.Thread | None = None

    def set(self, factor: float, workers: Callable[[], Iterable[int]]) -> None:
        """Takes a new factor (1 or less: full speed), and a function that lists worker processes."""
        self._factor = max(1.0, factor)
        if self._factor > 1.0 and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._halt, args=(workers,), name="slow", daemon=True)
            self._thread.start()

    def _halt(self, workers: Callable[[], Iterable[int]]) -> None:
        sleep = ctypes.PyDLL(None).usleep  # unlike `time.sleep`, it keeps the interpreter's lock
        while self._factor > 1.0:
            start = time.perf_counter()
            time.sleep(_RUN)
            ran = time.perf_counter() - start
            stopped = [pid for pid in workers() if _signal(pid, signal.SIGSTOP)]
            sleep(int(min(_LONGEST, ran * (self._factor - 1)) * 1e6))
            for pid in stopped:
                _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
