"""What ends a process: in code that a simulated child runs, it ends that child and nothing else.

The code of a child runs in the simulator's own process, so `os.abort()` there would take all of it along.
While a child's call is under way these functions raise `Ended` instead, which leaves the call; what the code
does on its way out changes nothing any more.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from sim.world.reality.leak import RealityLeak

if TYPE_CHECKING:
    from collections.abc import Callable

_IGNORED = {signal.SIGINT, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT}
_STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


class Ended(BaseException):
    """The child is dead.

    Attributes:
        status: its exit code, negative for a signal; None: it was stopped, and will never go on.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Life:
    """The call that a child runs now.

    Attributes:
        pid: what the child takes for its process number.
        ended: how it ended itself, if it did.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: Ended | None = None

    def end(self, status: int | None) -> Ended:
        """Ends it; the first end counts."""
        if self.ended is None:
            self.ended = Ended(status)
        return self.ended


under_way: list[Life] = []
"""The call under way, if there is one: calls never overlap, for each runs at one instant."""


def _signalled(number: int) -> None:
    life = under_way[-1]
    if number == 0 or number in _IGNORED:
        return
    raise life.end(None if number in _STOPS else -number)


def _kill(real: Callable[..., Any], name: str) -> Callable[..., Any]:
    def kill(pid: int, number: int, /) -> None:
        if not under_way:
            real(pid, number)
            return
        if pid not in (0, under_way[-1].pid):
            raise RealityLeak(
                f"os.{name}({pid}, ...) in a child of a simulated host: it may only signal itself"
            )
        _signalled(number)

    return kill


def _raise_signal(real: Callable[..., Any]) -> Callable[..., Any]:
    def raise_signal(number: int, /) -> None:
        if under_way:
            _signalled(number)
        else:
            real(number)

    return raise_signal


def _abort(real: Callable[..., Any]) -> Callable[..., Any]:
    def abort() -> None:
        if under_way:
            raise under_way[-1].end(-signal.SIGABRT)
        real()

    return abort


def _exit(real: Callable[..., Any]) -> Callable[..., Any]:
    def exit(status: int) -> None:
        if under_way:
            raise under_way[-1].end(status & 0xFF)
        real(status)

    return exit


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions and what stands in for each."""
    found: list[tuple[Any, Any]] = []
    for module, name, stand_in in (
        (os, "kill", _kill(os.kill, "kill")),
        (os, "killpg", _kill(os.killpg, "killpg")),
        (signal, "raise_signal", _raise_signal(signal.raise_signal)),
        (os, "abort", _abort(os.abort)),
        (os, "_exit", _exit(os._exit)),
    ):
        real = getattr(module, name)
        stand_in.__name__ = stand_in.__qualname__ = name
        stand_in.__doc__ = real.__doc__
        found.append((real, stand_in))
    return found
