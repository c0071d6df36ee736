"""The machine: process ids, names and processors are the simulated host's, adopted program or not.

They decide nothing by themselves, but programs size their pools, seed their chance and name their nodes
by them; and the real ones differ from machine to machine, so that a run could not be replayed elsewhere.
"""

from __future__ import annotations

import os
import platform
import socket
from typing import TYPE_CHECKING, Any

from sim.world.reality import endings
from sim.world.reality.leak import asked_by_library, inside

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.process import Process

_INIT = 1
"""The parent of all processes."""

_getpid = os.getpid
_gethostname = socket.gethostname
_getfqdn = socket.getfqdn
_ANY_NAME = ("", "0.0.0.0", "::")


def getpid() -> int:
    """Returns the process id (`os.getpid`): 1000 plus the host's incarnation; a child has its own."""
    process = inside()
    if process is None or (not process.adopted and asked_by_library()):
        return _getpid()
    return endings.under_way[-1].pid if endings.under_way else 1000 + process.incarnation


def gethostname() -> str:
    """Returns the host's name (`socket.gethostname`)."""
    process = inside()
    return _gethostname() if process is None else process.name


def getfqdn(name: str = "") -> str:
    """Returns a host's full name (`socket.getfqdn`): in the simulated network, the name itself."""
    process = inside()
    if process is None:
        return _getfqdn(name)
    name = name.strip()
    return process.name if name in _ANY_NAME else name


def _answered(module: Any, name: str, answer: Callable[[Process], Any]) -> list[tuple[Any, Any]]:
    """A function without arguments, where this system has it, and what stands in for it."""
    real = getattr(module, name, None)
    if real is None:
        return []

    def ask() -> Any:
        process = inside()
        if process is None or process.host is None or asked_by_library():
            return real()
        return answer(process)

    ask.__name__ = ask.__qualname__ = name
    ask.__module__ = module.__name__
    ask.__doc__ = real.__doc__
    return [(real, ask)]


def _cores(process: Process) -> int:
    found: int = process.host.cpu.cores
    return found


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions and what stands in for each."""
    real_uname = os.uname if hasattr(os, "uname") else None

    def uname(process: Process) -> Any:
        assert real_uname is not None
        real = real_uname()
        return os.uname_result((real.sysname, process.name, real.release, real.version, real.machine))

    return [
        (_getpid, getpid),
        (_gethostname, gethostname),
        (_getfqdn, getfqdn),
        *_answered(os, "getppid", lambda process: _INIT),
        *_answered(os, "cpu_count", _cores),
        *_answered(os, "process_cpu_count", _cores),
        *_answered(os, "getloadavg", lambda process: (0.0, 0.0, 0.0)),
        *_answered(os, "uname", uname),
        *_answered(platform, "node", lambda process: process.name),
    ]
