"""The owner's side of a template process: ask for a fork, hear of its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from services.real.processes import call_oneself, die_with_parent
from services.real.template import ANSWER, REQUEST, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROOT = str(Path(__file__).resolve().parents[2])
"""Where `services` is found."""

_ROOM = 4096  # bytes for what forks call themselves


class Fork:
    """A process that was asked for.

    Attributes:
        pid: its number; 0 until the template has forked it.
        status: its exit code (negative: the signal that ended it); None while it lives.
        on_change: called when one of these is known.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        self.on_change: Callable[[], None] = lambda: None


class Forks:
    """A template process, and what it has forked.

    Args:
        control: the socket to it.
        pid: its number.

    Attributes:
        living: forks that have not ended.
        alive: False once the template is gone, and with it all that it forked (disowned nodes excepted).
    """

    def __init__(
        self, control: socket.socket, pid: int, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        self.alive = True
        self.living: dict[int, Fork] = {}
        self._control = control
        self._process = process
        self._count = 0

    @classmethod
    def forked(cls, kind: Literal["child", "node"], title: str) -> Forks:
        """Makes a fork of this process the template: at once, but only before there are threads or gRPC.

        Args:
            kind: of template.
            title: what `ps` shows for it and its forks.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        owner = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                die_with_parent(owner)
                call_oneself(title)
                run(kind, theirs, owner)
            finally:
                os._exit(1)
        theirs.close()
        return cls(ours, pid)

    @classmethod
    def spawned(cls, kind: Literal["child", "node"]) -> Forks:
        """Starts a template anew, from whatever process; it takes as long as its imports."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join(entry for entry in (_ROOT, os.environ.get("PYTHONPATH")) if entry)
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                "from services.real.template import main; main()",
                kind,
                str(theirs.fileno()),
                str(os.getpid()),
                *([" " * _ROOM] if kind == "node" else []),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if kind == "node" else None,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            pass_fds=[theirs.fileno()],
            start_new_session=kind == "node",
        )
        theirs.close()
        return cls(ours, process.pid, process)

    def fork(self, request: bytes, descriptors: Sequence[int] = (), module: str = "") -> Fork:
        """Asks for a process.

        Args:
            request: told to its `begin`.
            descriptors: sent along; remain open here.
            module: of our own code; imported by the template first, once.
        """
        self._count += 1
        fork = self.living[self._count] = Fork()
        message = REQUEST.pack(self._count) + module.encode() + b"\0" + request
        try:
            socket.send_fds(self._control, [message], list(descriptors))
        except OSError:
            self._gone()
        return fork

    def fileno(self) -> int:
        """Returns what becomes readable when there is something to `hear`."""
        return self._control.fileno()

    def hear(self) -> None:
        """Takes in what the template has said; does not wait."""
        while self.alive:
            try:
                data = self._control.recv(ANSWER.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._gone()
                return
            kind, number, pid, status = ANSWER.unpack(data)
            fork = self.living.get(number)
            if fork is not None:
                fork.pid = pid
                if kind == b"X":
                    self.living.pop(number)
                    fork.status = status
                fork.on_change()

    def _gone(self) -> None:
        self.alive = False
        living, self.living = self.living, {}
        for fork in living.values():
            fork.status = -9
            fork.on_change()

    def close(self) -> None:
        """Ends the template, and with it what it has forked."""
        self.alive = False
        self._control.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            else:
                os.kill(self.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
                os.waitpid(self.pid, 0)
