"""A scenario's own failure, told so that its traceback starts in the scenario's file."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import sim
from sim.scenario.errors import RunFailed
from sim.world.stuck import Stuck

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_OURS = os.path.dirname(os.path.abspath(sim.__file__)) + os.sep
_ASYNCIO = os.sep + "asyncio" + os.sep


def describe(exc: BaseException, file: Path) -> str:
    """Returns the traceback of a failure.

    Args:
        exc: what was raised. The reports of a run that is stuck are complete by themselves.
        file: the scenario's file, in which the traceback is to start.
    """
    if isinstance(exc, Stuck):
        return str(exc)
    _trim(exc, str(file), set())
    if isinstance(exc, RunFailed):  # it says itself what was wrong; where we noticed is of no interest
        _end_at(exc.__traceback__, str(file))
    return "".join(traceback.format_exception(exc)).rstrip()


def _trim(exc: BaseException, file: str, seen: set[int]) -> None:
    if id(exc) in seen:
        return
    seen.add(id(exc))
    exc.__traceback__ = _from(exc.__traceback__, file)
    for other in (exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())):
        if other is not None:
            _trim(other, file, seen)


def _from(tb: TracebackType | None, file: str) -> TracebackType | None:
    """Returns the traceback from the first frame in `file` on, or else from the first that is not ours."""
    start = tb
    while start is not None and start.tb_frame.f_code.co_filename != file:
        start = start.tb_next
    if start is not None:
        return start
    start = tb
    while start is not None and _machinery(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    return start


def _end_at(tb: TracebackType | None, file: str) -> None:
    """Cuts off what lies below the last frame in `file`."""
    last = None
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == file:
            last = tb
        tb = tb.tb_next
    if last is not None:
        last.tb_next = None


def _machinery(filename: str) -> bool:
    return filename.startswith(_OURS) or _ASYNCIO in filename
