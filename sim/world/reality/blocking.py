"""Calls that would stop the one thread of the simulation, or run a real event loop in it: refused.

Nobody could wake what waits in them: a simulated host has no second thread, and virtual time stands
still while a step runs.
"""

from __future__ import annotations

import threading
from asyncio import base_events
from typing import TYPE_CHECKING, Any

from sim.world.reality.leak import asked_by_library, inside, leak

if TYPE_CHECKING:
    from collections.abc import Callable


def _refused(real: Callable[..., Any], call: str, what: str, instead: str) -> Any:
    def refused(self: Any, *args: Any, **kwargs: Any) -> Any:
        process = inside()
        if process is None or asked_by_library():
            return real(self, *args, **kwargs)
        raise leak(process, call, what, instead)

    refused.__name__ = real.__name__
    refused.__qualname__ = real.__qualname__
    refused.__doc__ = real.__doc__
    return refused


def _runs_real_loop(self: Any) -> None:
    """Runs a real event loop (`BaseEventLoop.run_forever`)."""
    process = inside()
    if process is not None:
        raise leak(
            process,
            "running another event loop",
            "would wait in real time",
            "use `await`, or asyncio.create_task, on the loop that runs",
        )
    _run_forever(self)


_run_forever: Any = base_events.BaseEventLoop.run_forever


def methods() -> list[tuple[type, str, Any]]:
    """Returns the methods and what stands in for each."""
    wait = _refused(
        threading.Condition.wait,
        "waiting for another thread (threading, queue or concurrent.futures)",
        "would never end",
        "use asyncio's own Event, Condition, Queue and futures",
    )
    return [
        (threading.Condition, "wait", wait),
        (base_events.BaseEventLoop, "run_forever", _runs_real_loop),
    ]
