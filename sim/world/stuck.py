"""When a run goes nowhere: the errors that end it, and the report that says who waits where."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import TYPE_CHECKING, Any

from sim.world.process import PROCESS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stuck(RuntimeError):
    """A run was ended because it could not, or would not, come to an end by itself."""


class Deadlock(Stuck):
    """Nothing can ever run again while somebody still waits."""


class VirtualTimeLimit(Stuck):
    """The run reached its limit of virtual time."""


class RealTimeLimit(Stuck):
    """The run reached its limit of real time, or one step of it did."""


class Spinning(Stuck):
    """Callbacks keep running without time advancing."""


def report(
    loop: asyncio.AbstractEventLoop, headline: str, tasks: Sequence[Any] | None = None, most: int = 40
) -> str:
    """Returns the headline and, below it, a line for each waiting task: its host, name and place."""
    waiting = sorted(asyncio.all_tasks(loop) if tasks is None else tasks, key=hash)
    waiting = [task for task in waiting if not getattr(getattr(task, "process", None), "dead", False)]
    waiting = [task for task in waiting if not _idle(task)]
    lines = [headline]
    for task in waiting[:most]:
        process = getattr(task, "process", None)
        where = process.name if process is not None else "-"
        does = "is paused" if process is not None and process.halted else "waits"
        lines.append(f"  {where}: {task.get_name()} ({_what(task)}) {does} at {place(task)}")
    if len(waiting) > most:
        lines.append(f"  ... and {len(waiting) - most} more tasks")
    return "\n".join(lines)


def _idle(task: asyncio.Task[Any]) -> bool:
    """Says whether a task is an RPC server's that has nothing to do: it is not what is stuck."""
    coroutine = task.get_coro()
    return _what(task) == "Worker._run" and not hasattr(getattr(coroutine, "cr_await", None), "close")


def _what(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


def place(task: asyncio.Task[Any]) -> str:
    """Returns "file:line in function" of the innermost frame of a suspended task's own code."""
    found = "an unknown place"
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = (
            getattr(awaited, "cr_frame", None)
            or getattr(awaited, "gi_frame", None)
            or getattr(awaited, "ag_frame", None)
        )
        if frame is not None:
            code = frame.f_code
            library = os.sep + "asyncio" + os.sep in code.co_filename
            if not library or found == "an unknown place":
                found = f"{short(code.co_filename)}:{frame.f_lineno} in {code.co_qualname}"
        awaited = (
            getattr(awaited, "cr_await", None)
            or getattr(awaited, "gi_yieldfrom", None)
            or getattr(awaited, "ag_await", None)
        )
    return found


def callback_place(handle: Any) -> str:
    """Returns a line of a report for a callback that is ready: its host, name and place."""
    process = handle.context.get(PROCESS)
    where = process.name if process is not None else "-"
    function = inspect.unwrap(getattr(handle.callback, "func", handle.callback))
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    at = f" at {short(code.co_filename)}:{code.co_firstlineno}" if code is not None else ""
    return f"  {where}: callback {name}{at}"


def short(filename: str) -> str:
    """Returns a path as one would type it here: relative, where it lies below the current folder."""
    relative = os.path.relpath(filename)
    return filename if relative.startswith("..") else relative
