"""The watchdogs: they end a run that takes too much real time, and say what it was doing.

Nothing in a loop can end a step that never returns (`while True: pass`), for nothing else runs
meanwhile: not virtual time, no timer, not the answer to Ctrl-C. So a thread looks at the loop from
outside. What it raises in the loop's thread is a
`KeyboardInterrupt`, because only that passes through every task and callback to whoever runs the
loop; `Watchdog.verdict` then tells it from a person's Ctrl-C.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import simpy

import sim
from sim.world.loop import Loop
from sim.world.stuck import RealTimeLimit, report, short

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

REAL_LIMIT_S = 600.0  # real seconds that a run may take
STEP_LIMIT_S = 10.0  # real seconds that one step of it may take
_TICK_S = 0.1
_STALL_S = 1.0  # real seconds without progress after which it looks why
_DEBUGGERS = ("pdb.py", "bdb.py", "ipdb", "pudb")
_TURNS = (Loop._run.__code__, asyncio.Handle._run.__code__)  # below these is whoever runs the loop
_MACHINERY = tuple(os.path.abspath(m.__path__[0]) + os.sep for m in (asyncio, simpy, sim))


class Watchdog:
    """Watches a simulation's loop that runs in the thread that enters the block.

    Args:
        loop: the loop.
        limit_s: real seconds that the run may take.
        step_s: real seconds that may pass without the loop getting anywhere.

    Attributes:
        verdict: why it ended the run; None while it has not.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float = REAL_LIMIT_S, step_s: float = STEP_LIMIT_S
    ) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._step_s = step_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dsim-watchdog", daemon=True)
        self._watched = 0
        self._struck = False
        self.verdict: RealTimeLimit | None = None

    def __enter__(self) -> Watchdog:
        self._watched = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._struck:  # what was raised too late to be seen must not hit somebody else
            _raise_in(self._watched, None)

    def _watch(self) -> None:
        total = step = 0.0
        last: object = None
        before = time.monotonic()
        while not self._over.wait(_TICK_S):
            now = time.monotonic()
            passed, before = now - before, now
            seen = self._progress()
            total += passed
            step = step + passed if seen == last else 0.0
            last = seen
            if (step > _STALL_S or step > self._step_s or total > self._limit_s) and self._is_held():
                total, step = total - step, 0.0  # time under a debugger is a person's, not the run's
                continue
            if self._is_due(step, total):
                self._end(step)
                total = step = 0.0  # code that swallows even KeyboardInterrupt is told again

    def _progress(self) -> object:
        """Returns something that changes while the loop gets anywhere."""
        loop: Any = self._loop
        return loop.turns, loop.env._now

    def _is_due(self, step: float, total: float) -> bool:
        return total > self._limit_s or step > self._step_s

    def _end(self, step: float) -> None:
        if self.verdict is None:
            self.verdict = self._judge(step)
        self._strike()

    def _strike(self) -> None:
        if not self._over.is_set():
            self._struck = True
            _raise_in(self._watched, KeyboardInterrupt)

    def _is_held(self) -> bool:
        """Says whether a debugger holds the thread.

        Only asked of a thread that gets nowhere: to look at the frames of one that runs is to hold
        references to them, and code that counts references (`sim.world.rpc.worker`) would notice.
        """
        frame = sys._current_frames().get(self._watched)
        return frame is None or _debugging(frame)

    def _judge(self, step: float) -> RealTimeLimit:
        frame, task = sys._current_frames().get(self._watched), asyncio.current_task(self._loop)
        running = _doing(task, frame)
        if step > self._step_s:
            headline = f"one step has been running for {step:.0f} s of real time and does not return:"
            return RealTimeLimit(f"{headline}\n  {running}")
        headline = f"the limit of {self._limit_s:g} s of real time is reached"
        if running:
            headline += f":\n  {running}"
        try:
            others = [t for t in asyncio.all_tasks(self._loop) if t is not task]
            waiting = report(self._loop, "", others).splitlines()[1:]
        except RuntimeError:  # the set of tasks changed while it was read
            return RealTimeLimit(headline)
        if waiting and running:
            headline += "\nand these waited:"
        return RealTimeLimit("\n".join([headline, *waiting]))


class RealWatchdog(Watchdog):
    """Watches a loop of asyncio's own, in real time.

    It strikes only while the loop stands still: one that turns is told of its limit, and hears Ctrl-C itself.

    Args:
        loop: the loop.
        limit_s: real seconds that the run may take.
        step_s: real seconds that one step may take.
        overdue: called in the loop when the limit is reached.
        interrupted: says whether a person has pressed Ctrl-C.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit_s: float,
        step_s: float,
        overdue: Callable[[], None],
        interrupted: Callable[[], bool],
    ) -> None:
        super().__init__(loop, limit_s, step_s)
        self._overdue = overdue
        self._interrupted = interrupted
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = threading.current_thread() is threading.main_thread()
        self._before: Any = None

    def __enter__(self) -> RealWatchdog:
        if self._wakes:
            self._before = signal.signal(signal.SIGURG, lambda number, frame: None)
        self._beat()
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if self._timer is not None:
            self._timer.cancel()
        if self._wakes:
            signal.signal(signal.SIGURG, self._before)

    def _beat(self) -> None:
        self._beats += 1
        self._timer = self._loop.call_later(_TICK_S, self._beat)

    def _progress(self) -> object:
        return self._beats

    def _is_due(self, step: float, total: float) -> bool:
        return super()._is_due(step, total) or (step > _STALL_S and self._interrupted())

    def _end(self, step: float) -> None:
        if step <= min(_STALL_S, self._step_s):
            self._loop.call_soon_threadsafe(self._overdue)
        elif self._interrupted():
            self._strike()
        else:
            super()._end(step)

    def _strike(self) -> None:
        super()._strike()
        if self._wakes:  # a blocking call, such as `time.sleep`, ends early only for a signal's sake
            signal.pthread_kill(self._watched, signal.SIGURG)


def _doing(task: asyncio.Task[Any] | None, frame: FrameType | None) -> str:
    """Returns who is running where, or "" when it is the machinery's turn."""
    while frame is not None and frame.f_code.co_filename.startswith(_MACHINERY):
        frame = frame.f_back if frame.f_code not in _TURNS else None
    if frame is None or task is None:
        return ""
    process = getattr(task, "process", None)
    coroutine = getattr(task.get_coro(), "__qualname__", "?")
    place = f"{short(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_qualname}"
    return f"{process.name if process is not None else '-'}: {task.get_name()} ({coroutine}) runs at {place}"


def _debugging(frame: FrameType) -> bool:
    if "pydevd" in sys.modules or "debugpy" in sys.modules:
        return True
    inner: FrameType | None = frame
    while inner is not None:
        if inner.f_code.co_filename.endswith(_DEBUGGERS):
            return True
        inner = inner.f_back
    return False


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    what = ctypes.py_object(exception) if exception is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
