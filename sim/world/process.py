"""A process: the tasks, callbacks and timers of one incarnation of a host, which die together.

Which process a piece of running code belongs to is kept where asyncio itself keeps such
things, in a context variable: every task and callback inherits it, and the loop looks at it
before each step. That one look is what makes a crash a crash (nothing of a dead process ever
runs again, not even its `finally` blocks) and a pause a pause.
"""

from __future__ import annotations

import asyncio
import ctypes
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sim.world.timers import Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.world.loop import Loop

PROCESS: ContextVar[Process] = ContextVar("dsim_process")
"""The process that the running code belongs to; unset in the hardware and outside a simulation."""

_graveyard: list[Any] = []
"""What dead processes were doing, kept for good: were a suspended coroutine ever freed, Python
would run its `finally` blocks. A sweep gives the memory back by recycling its workers."""
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_graveyard))  # for good: at the interpreter's end, too


class Process:
    """One incarnation of a host.

    Attributes:
        halted: True while dead or paused; the loop then runs nothing of this process.
        context: holds `PROCESS`; copy it for each task that is started on the process's behalf.
        adopted: the program knows no `Host`: its direct calls of clocks, chance and network
            are answered by the simulated host instead of refused.
        host: the simulated host (opaque here).
        reads_files: it may read real files (never write them); adopted programs may.
        signals: the handlers it has installed, by signal number.
        tasks: those that it has started (its own list: that of the loop is as long as the world is large).
    """

    __slots__ = (
        "_held",
        "_on_death",
        "adopted",
        "context",
        "dead",
        "halted",
        "host",
        "incarnation",
        "loop",
        "name",
        "reads_files",
        "signals",
        "tasks",
    )

    def __init__(
        self, loop: Loop, name: str, incarnation: int = 0, *, adopted: bool = False, host: Any = None
    ) -> None:
        self.loop = loop
        self.name = name
        self.incarnation = incarnation
        self.adopted = adopted
        self.host = host
        self.reads_files = adopted
        self.signals: dict[int, Handle] = {}
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.halted = False
        self.dead = False
        self.context = Context()
        self.context.run(PROCESS.set, self)
        self._held: list[Handle] = []
        self._on_death: list[Callable[[], None]] = []

    def on_death(self, callback: Callable[[], None]) -> None:
        """Has the hardware call `callback` at the moment of death (connections break, caches go)."""
        self._on_death.append(callback)

    def hold(self, handle: Handle) -> None:
        """Takes a callback that came due while the process is halted; those of the dead are buried."""
        (_graveyard if self.dead else self._held).append(handle)

    def pause(self) -> None:
        """Stops the process where it stands, as SIGSTOP does."""
        self.halted = True

    def resume(self) -> None:
        """Lets a paused process go on; all that came due meanwhile is due now."""
        if self.dead or not self.halted:
            return
        self.halted = False
        held, self._held = self._held, []
        self.loop.ready(held)

    def signal(self, number: int) -> bool:
        """Sends a signal, and says whether the process has a handler for it, which runs by and by."""
        handler = self.signals.get(number)
        if handler is None:
            return False
        self.loop.ready([Handle(handler.callback, handler.args, handler.context)])
        return True

    def kill(self) -> None:
        """Ends the process at once, as SIGKILL does."""
        if self.dead:
            return
        self.dead = self.halted = True
        _graveyard.append([*self._held, *self.loop.bury(self)])
        self._held.clear()
        callbacks, self._on_death = self._on_death, []
        for callback in callbacks:
            callback()

    def __repr__(self) -> str:
        state = "dead" if self.dead else "paused" if self.halted else "running"
        return f"<process {self.name}#{self.incarnation} {state}>"


def end_all(loop: Loop, living: Sequence[Process]) -> None:
    """Ends all processes of a run at once, and buries whatever else the loop was doing."""
    for process in living:
        process.dead = process.halted = True
        process._held.clear()
    if loop.home is None:
        tasks = asyncio.all_tasks(loop)
        _graveyard.append([*tasks, *(task.get_coro() for task in tasks), *loop._generators])
    # A loop with a world of its own ends as asyncio's do: what was still pending is garbage.
    for process in living:
        callbacks, process._on_death = process._on_death, []
        for callback in callbacks:
            callback()
