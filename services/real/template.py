"""A template process: it has the imports behind it, and forks a process whenever it is asked to.

It is a single thread that never runs gRPC nor anybody's code, so that forking it is safe; and a fork of a
process that has imported everything is ready in a few milliseconds. There are two kinds, which differ in what
the forks do (`BEGINS`): a cluster's starter has one for its nodes, each node has one for its children.

It listens on a socket to its owner (`services.real.forks`). It ends when the other end is closed or the owner
is gone, and what it has forked dies with it, by the kernel's hand, unless a node has been disowned.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypeAlias

    Begin: TypeAlias = "Callable[[bytes, list[int], int], object]"

ANSWER = struct.Struct("<cqqq")
"""What it says: b"F" (forked) or b"X" (exited), number of the request, pid, exit code."""

REQUEST = struct.Struct("<q")
"""What is asked: number of the request; a module to import first, or none; a zero; what to tell the fork."""

MOST = 1 << 18  # bytes of a request
MOST_DESCRIPTORS = 8

_LOOK_EVERY = 250  # milliseconds
_PR_SET_CHILD_SUBREAPER = 36

BEGINS = {"child": "services.real.inside", "node": "services.node"}
"""Modules with a function `begin(request, descriptors, parent)`, which a fork runs."""


class Template:
    """The process, from the inside.

    Args:
        control: the socket to the owner.
        begin: what a fork runs.
        owner: pid of the parent.
        reaps: processes that a dead fork has left behind are ended.
    """

    def __init__(self, control: socket.socket, begin: Begin, owner: int, *, reaps: bool) -> None:
        self._control = control
        self._begin = begin
        self._owner = owner
        self._reaps = reaps
        self._forks: dict[int, int] = {}
        self._wakeup, self._woken = socket.socketpair()

    def serve(self) -> NoReturn:
        """Forks as asked, until the owner is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to answer
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakeup.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        if self._reaps and sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        gc.collect()
        gc.freeze()  # no fork looks through what was there before it, and so none copies it
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            ready = dict(poll.poll(_LOOK_EVERY))
            with contextlib.suppress(BlockingIOError):
                while self._wakeup.recv(4096):
                    pass
            self._reap()
            if self._control.fileno() in ready:
                self._hear()
            if os.getppid() != self._owner:
                os._exit(0)

    def _hear(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, MOST, MOST_DESCRIPTORS)
        except OSError:
            message = b""
        if not message:
            os._exit(0)
        (number,) = REQUEST.unpack_from(message)
        module, _, request = message[REQUEST.size :].partition(b"\0")
        if module:
            _import(module.decode())
        parent = os.getpid()  # the fork may first look when we are gone, and see somebody else
        pid = os.fork()
        if pid == 0:
            self._become(request, descriptors, parent)
        for descriptor in descriptors:
            os.close(descriptor)
        self._forks[pid] = number
        self._answer(b"F", number, pid, 0)

    def _become(self, request: bytes, descriptors: list[int], parent: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._control, self._wakeup, self._woken):
                end.close()
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self._begin(request, descriptors, parent)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(1)

    def _reap(self) -> None:
        ended = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            ended = True
            number = self._forks.pop(pid, None)
            if number is not None:
                self._answer(b"X", number, pid, os.waitstatus_to_exitcode(status))
        if ended and self._reaps:
            self._end_orphans()

    def _end_orphans(self) -> None:
        """Ends what dead forks have started: it is our child now."""
        pid = os.getpid()
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
            for child in map(int, file.read().split()):
                if child not in self._forks:
                    os.kill(child, signal.SIGKILL)  # not waited for yet, so the number is still its own

    def _answer(self, kind: bytes, number: int, pid: int, status: int) -> None:
        try:
            self._control.send(ANSWER.pack(kind, number, pid, status))
        except OSError:
            os._exit(0)


def _import(module: str) -> None:
    if module not in sys.modules:
        with contextlib.suppress(Exception):  # the fork will meet it, and say so
            importlib.import_module(module)
            gc.freeze()


def run(kind: Literal["child", "node"], control: socket.socket, owner: int) -> NoReturn:
    """Makes this process a template."""
    begin: Begin = importlib.import_module(BEGINS[kind]).begin
    Template(control, begin, owner, reaps=kind == "child").serve()


def main() -> NoReturn:
    """A template started anew: KIND, DESCRIPTOR, OWNER, and room for what nodes call themselves."""
    run(
        "node" if sys.argv[1] == "node" else "child", socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])
    )
