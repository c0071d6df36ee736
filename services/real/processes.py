"""Operating-system processes: who they are, whether they live, and dying together.

A process number is used again sooner or later, so a process is identified by its number and the moment at
which it started; nothing is ever signalled by number alone. Linux tells from /proc; elsewhere from `ps`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_WATCH_EVERY = 0.25  # seconds


class Process(Struct, frozen=True):
    """One particular process.

    Attributes:
        pid: its number.
        started: when it started, in the system's own terms.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """Returns the process that has this number now.

        Raises:
            ProcessLookupError: there is none.
        """
        state = _look(pid)
        if state is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid, state[1])

    def state(self) -> str:
        """Returns "running", "paused" (stopped by a signal) or "dead" (zombies included)."""
        seen = _look(self.pid)
        if seen is None or seen[1] != self.started or seen[0] in "ZX":
            return "dead"
        return "paused" if seen[0] in "Tt" else "running"

    def alive(self) -> bool:
        """Says whether it still exists."""
        return self.state() != "dead"

    def signal_group(self, number: signal.Signals) -> None:
        """Signals the process and all of its group, if it is still the same and leads the group."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, number)
                else:
                    os.kill(self.pid, number)


def _look(pid: int) -> tuple[str, str] | None:
    """Returns a process's state letter and start."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        # A process of which only the first thread has ended holds its ports still: it is exiting, not dead.
        exiting = fields[0] in "ZX" and int(fields[17]) > 1
        return "R" if exiting else fields[0], fields[19]
    found = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(None, 1)
    return (found[0][0], found[1].strip()) if len(found) == 2 else None


def resident_bytes() -> int:
    """Returns how much memory this process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGESIZE")


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, even while it is stopped.

    Where the kernel does not offer that, a thread watches.

    Args:
        parent: who the parent was; if it is gone by now this process ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        watch(lambda: os.getppid() == parent, lambda: os._exit(1))
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Takes `die_with_parent` back, as far as the kernel is concerned."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def call_oneself(title: str) -> None:
    """Has `ps` show a title for this process, as far as there is room where its arguments were."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return
    start, end = int(fields[45]), int(fields[46])
    text = title.encode()[: end - start - 2]
    if text:
        # A last byte that is not zero tells the kernel that this is one string, to be shown up to its zero.
        ctypes.memmove(start, text.ljust(end - start - 1, b"\0") + b"x", end - start)


def watch(holds: Callable[[], bool], otherwise: Callable[[], None]) -> None:
    """Calls `otherwise`, once, in a thread, when `holds()` has become false."""

    def look() -> None:
        while holds():
            time.sleep(_WATCH_EVERY)
        otherwise()

    threading.Thread(target=look, name="watch", daemon=True).start()
