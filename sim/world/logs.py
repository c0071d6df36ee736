"""`logging` inside a run: records carry virtual time and the host's name, and go to the trace.

Every record that a program's loggers let through is written to the trace as a `Log`, and handed on to
the program's own handlers, where it has any; their formatters may use `%(host)s`. Its time is the
host's clock; what the loop itself logs carries true virtual time.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

from protos.trace import Log
from sim.world.process import PROCESS
from sim.world.tasks import label_of
from sim.world.timers import SECOND

if TYPE_CHECKING:
    from sim.world.simulation import Simulation

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
_PATH = re.compile(r"(?:/[\w.+@-]+)+/([\w.-]+\.py)")
_call_handlers = logging.Logger.callHandlers


def steady(message: str) -> str:
    """Returns a message without what differs from run to run: addresses of objects, folders of files."""
    if "0x" in message:
        message = _ADDRESS.sub("at 0x", message)
    if ".py" in message:
        message = _PATH.sub(r"\1", message)
    return message


def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    """Hands a record to the handlers (`logging.Logger.callHandlers`), and before that to the trace."""
    process = PROCESS.get(None)
    loop: Any = asyncio._get_running_loop() if process is None else process.loop
    world: Simulation | None = getattr(loop, "world", None)
    if world is not None:
        _stamp(record, world, process)
        if world.trace is not None:
            _trace(record, world)
            if process is not None and not self.hasHandlers():
                return  # Python's last resort is stderr, of the terminal that the world is watched from
    _call_handlers(self, record)


def _stamp(record: logging.LogRecord, world: Simulation, process: Any) -> None:
    from sim.world.clock import EPOCH

    now = world.now()
    machine = process.host if process is not None else None
    wall: int = EPOCH + now if machine is None else machine.clock.time_ns()
    record.created = wall / SECOND
    record.msecs = float(wall % SECOND // 1_000_000)
    record.relativeCreated = now / 1_000_000
    record.host = "-" if process is None else process.name


def _trace(record: logging.LogRecord, world: Simulation) -> None:
    try:
        message = record.getMessage()
    except Exception:  # the handlers will say what is wrong with its arguments
        message = str(record.msg)
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        message = f"{message}: {type(error).__name__}: {error}"
    loop = asyncio._get_running_loop()
    task = asyncio.current_task(loop) if loop is not None else None
    name = label_of(task)
    host = str(record.host)  # type: ignore[attr-defined]
    world.trace.write(  # type: ignore[union-attr]
        Log(world.now(), host, record.levelname, record.name, steady(message), name)
    )


def methods() -> list[tuple[type, str, Any]]:
    """Returns the method that is replaced during a run, and what stands in for it."""
    return [(logging.Logger, "callHandlers", call_handlers)]
