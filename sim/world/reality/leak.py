"""Who asks: the process that the running code belongs to, and whether it is a library that asks."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import TYPE_CHECKING, Any

from sim.world.process import PROCESS, Process

if TYPE_CHECKING:
    from types import FrameType

_LIBRARIES = """
    _pydevd_bundle _pytest asyncio bdb cmd code codeop contextlib coverage debugpy doctest encodings
    faulthandler gettext google grpc hypothesis importlib inspect linecache locale logging msgspec pdb
    pkgutil pluggy pydevd pytest pytest_timeout rlcompleter runpy sim simpy tokenize traceback
    tracemalloc unittest warnings zipimport zoneinfo
"""
LIBRARIES = frozenset(_LIBRARIES.split())
"""Packages whose own use of clocks and files is no leak: it does not steer the program."""

_CARRYING = """
    _pyio _strptime calendar codecs concurrent contextvars datetime genericpath glob io ntpath os pathlib
    posixpath queue random secrets shutil socket stat subprocess tempfile threading uuid
"""
_CARRIERS = frozenset(_CARRYING.split())
"""Modules that only pass on what somebody else asks for."""


_bootstrap: Any = importlib._bootstrap


class RealityLeak(RuntimeError):
    """A simulated task touched the real world."""


def inside() -> Process | None:
    """Returns the process that the running code belongs to, or None outside simulated tasks."""
    process = PROCESS.get(None)
    if process is not None:
        return process
    loop = asyncio._get_running_loop()
    if loop is not None and hasattr(loop, "orders") and asyncio.current_task(loop) is not None:
        return NOBODY
    return None


NOBODY: Process = Process(None, "-")  # type: ignore[arg-type]
"""The process of a task on a bare loop, which has none."""


def asked_by_library() -> bool:
    """Says whether it is a library that asks, or code that is only just being imported."""
    frame = _asking(sys._getframe(1))
    return frame is None or _package(frame) in LIBRARIES or _imported(frame)


def asked_by_import() -> bool:
    """Says whether the code that asks is only just being imported: it will not ask again in the next run."""
    return bool(_bootstrap._module_locks) and _imported(sys._getframe(1))


def _imported(frame: FrameType | None) -> bool:
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == "importlib._bootstrap" or frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        if name == "sim.world.loop":
            return False
        frame = frame.f_back
    return False


def _asking(frame: FrameType | None) -> FrameType | None:
    """Returns the frame of the first module, from the inside, that is not a mere carrier."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("sim.world.reality") or name.partition(".")[0] in _CARRIERS:
            frame = frame.f_back
        else:
            return frame
    return None


def _package(frame: FrameType) -> str:
    filename = frame.f_code.co_filename
    if filename.startswith("<frozen importlib"):
        return "importlib"
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def asked_for(call: str) -> str:
    """Returns the name of the call as its user knows it: `secrets.token_hex()` for what reads os.urandom."""
    frame: FrameType | None = sys._getframe(2)
    name = call
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module in ("random", "secrets", "tempfile", "uuid"):
            function = frame.f_code.co_name
            if not function.startswith("_"):
                name = f"{module}.{function}()"
        elif not module.startswith("sim.world.reality"):
            break
        frame = frame.f_back
    return name


def leak(process: Process, call: str, what: str, instead: str) -> RealityLeak:
    """Returns the error that says who did what, and what to do instead."""
    loop = asyncio._get_running_loop()
    task: Any = asyncio.current_task(loop) if loop is not None else None
    who = f"host {process.name}" + (f", {task.get_name()}" if task is not None else "")
    return RealityLeak(f"{call} inside the simulation ({who}) {what}: {instead}")
