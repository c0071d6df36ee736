"""A scenario's own failure, told so that its traceback starts, and ends, in the scenario's code."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import services
import sim
from services.real.folder import ClusterError
from sim.scenario.errors import RunFailed
from sim.world.reality.leak import RealityLeak
from sim.world.stuck import Stuck

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_ASYNCIO = os.sep + "asyncio" + os.sep
_SERVICES = os.path.abspath(services.__path__[0]) + os.sep
_OURS = (
    os.path.abspath(sim.__path__[0]) + os.sep,
    os.path.join(_SERVICES, "real") + os.sep,
    os.path.join(_SERVICES, "cluster.py"),
)
_DELIBERATE = (RunFailed, RealityLeak, ClusterError, ValueError, TimeoutError)
"""What the lab raises when it is used wrongly: the place that counts is where it was used."""


def reason(exc: BaseException) -> str:
    """Returns a failure in one line."""
    first = next(iter(str(exc).splitlines()), "")
    if isinstance(exc, Stuck):
        return first.rstrip(":;")
    return f"{type(exc).__name__}: {first}" if first else type(exc).__name__


def describe(exc: BaseException, file: Path) -> str:
    """Returns the traceback of a failure.

    Args:
        exc: what was raised. The reports of a run that is stuck are complete by themselves.
        file: the scenario's file, in which the traceback is to start.
    """
    if isinstance(exc, Stuck):
        return str(exc)
    _trim(exc, str(file), set())
    return "".join(traceback.format_exception(exc)).rstrip()


def _trim(exc: BaseException, file: str, seen: set[int]) -> None:
    if id(exc) in seen:
        return
    seen.add(id(exc))
    exc.__traceback__ = _from(exc.__traceback__, file)
    if isinstance(exc, _DELIBERATE):
        _cut_below(exc.__traceback__)
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
    while start is not None and _machinery(start):
        start = start.tb_next
    return start


def _cut_below(tb: TracebackType | None) -> None:
    """Cuts off the frames of the lab below the last one that is not the lab's."""
    last = None
    while tb is not None:
        if not _machinery(tb):
            last = tb
        tb = tb.tb_next
    if last is not None:
        last.tb_next = None


def _machinery(tb: TracebackType) -> bool:
    filename = tb.tb_frame.f_code.co_filename
    return filename.startswith(_OURS) or _ASYNCIO in filename
