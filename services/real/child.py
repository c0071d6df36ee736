"""`RealChild`: the parent's side of a child of a real host.

The process is forked by the host's template when a call needs one. Calls and what comes back travel over a
socket pair, pickled once each; what a call marks is in shared memory; the template tells how a process ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from services.child import ChildDied
from services.crossing import death, pack, unpack
from services.real.forks import Forks
from services.real.inside import FRAME, Request
from services.real.shared import Cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.real.disk import FolderDisk
    from services.real.forks import Fork

T = TypeVar("T")

_ENDS_WITHIN = 1.0  # seconds between being asked to end and SIGKILL
_AT_ONCE = 1 << 22  # bytes read before others have their turn on the loop
_BUFFER = 1 << 20  # bytes of the socket


class Children:
    """The child processes of one host.

    Args:
        disk: the host's.
        programs: "path.py:function" programs whose functions may be run.
        forks: a template that is there already; None has one started when it is needed.
    """

    def __init__(self, disk: FolderDisk, programs: tuple[str, ...] = (), forks: Forks | None = None) -> None:
        self._disk = disk
        self._programs = list(programs)
        self._forks = forks
        self._loop: asyncio.AbstractEventLoop | None = None

    def child(self, log: str, memory: int | None, heard: Callable[[Any], None] | None) -> RealChild:
        """Returns a child, without a process yet."""
        if memory is not None and memory <= 0:
            raise ValueError(f"a child's memory is {memory} bytes: must be above 0")
        return RealChild(self, Request(str(self._disk.root), log, memory or 0, self._programs), heard)

    def start(self, request: Request, channel: socket.socket, marks: Cells, module: str) -> Fork:
        """Has a process forked."""
        loop = asyncio.get_running_loop()
        if self._forks is None or not self._forks.alive:
            self._forget()
            self._forks = Forks.spawned("child")
        if self._loop is not loop:
            self._loop = loop
            loop.add_reader(self._forks.fileno(), self._hear, self._forks)
        request.path = [entry or os.getcwd() for entry in sys.path]
        ours = module.startswith("services.")
        return self._forks.fork(
            msgspec.msgpack.encode(request),
            (channel.fileno(), marks.descriptor, self._disk.cells.descriptor),
            module if ours else "",
        )

    def wrote(self, written: list[tuple[int, int, int]]) -> None:
        """Takes note of what a child has written."""
        self._disk.wrote_apart(written)

    def pids(self) -> list[int]:
        """Returns the process numbers of the living children."""
        if self._forks is None:
            return []
        return [fork.pid for fork in list(self._forks.living.values()) if fork.pid]

    def _hear(self, forks: Forks) -> None:
        forks.hear()
        if not forks.alive and forks is self._forks:
            self._forget()

    def _forget(self) -> None:
        forks, self._forks = self._forks, None
        if forks is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(forks.fileno())
            forks.close()
        self._loop = None

    def close(self) -> None:
        """Ends all."""
        self._forget()


class RealChild:
    """A child; implements `services.child.Child`."""

    def __init__(self, children: Children, request: Request, heard: Callable[[Any], None] | None) -> None:
        self._children = children
        self._request = request
        self._heard = heard
        self._marks: Cells | None = None
        self._process: _Running | None = None
        self._busy = False

    @property
    def mark(self) -> int:
        """The last number that the call under way has marked, or -1."""
        return self._marks.numbers[0] if self._marks is not None else -1

    async def run(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Runs a call; see `services.child.Child.run`."""
        if self._busy:
            raise RuntimeError("this child is running a call: one at a time")
        call = pack((fn, args, kwargs))
        self._busy = True
        try:
            process = self._process
            if process is None or process.ended:
                process = self._start(fn)
            assert self._marks is not None
            self._marks.numbers[0] = -1
            result: T = await process.run(call)
            return result
        except asyncio.CancelledError:
            self.kill("cancelled")  # nothing else would end the call
            raise
        finally:
            self._busy = False

    def _start(self, fn: Callable[..., Any]) -> _Running:
        if self._marks is None:
            self._marks = Cells("q")
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        with theirs:
            fork = self._children.start(
                self._request, theirs, self._marks, getattr(fn, "__module__", "") or ""
            )
        self._process = _Running(ours, fork, self._marks, self._heard, self._children.wrote)
        return self._process

    def kill(self, why: str = "killed") -> None:
        """Ends the process (SIGKILL)."""
        if self._process is not None:
            self._process.kill(why)

    async def close(self) -> None:
        """Ends the process in order: it is told that there are no more calls."""
        process, self._process = self._process, None
        if process is not None:
            await process.close()
        if self._marks is not None:
            self._marks.close()
            self._marks = None


class _Running:
    """One process of a child."""

    def __init__(
        self,
        channel: socket.socket,
        fork: Fork,
        marks: Cells,
        heard: Callable[[Any], None] | None,
        wrote: Callable[[list[tuple[int, int, int]]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._fork = fork
        self._marks = marks
        self._heard = heard
        self._wrote = wrote
        self._call: asyncio.Future[Any] | None = None
        self._why: str | None = None
        self._gone = self._loop.create_future()
        self._frame = b""  # its letter while its bytes come in, b"" while its header does
        self._view = memoryview(bytearray(FRAME.size))
        self._filled = 0
        self.ended = False
        channel.setblocking(False)
        fork.on_change = self._changed
        self._loop.add_reader(channel, self._readable)

    async def run(self, call: bytes) -> Any:
        self._call = self._loop.create_future()
        try:
            header = FRAME.pack(b"C", len(call))
            with contextlib.suppress(OSError):  # it is dying: how, the template says
                if len(call) < 1 << 16:
                    await self._loop.sock_sendall(self._channel, header + call)
                else:
                    await self._loop.sock_sendall(self._channel, header)
                    await self._loop.sock_sendall(self._channel, call)
            return await self._call
        finally:
            self._call = None

    def kill(self, why: str) -> None:
        if self.ended:
            return
        if self._why is None:
            self._why = why
        self.ended = True  # the next call needs another
        self._end()

    def _end(self) -> None:
        if self._fork.pid and self._fork.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._fork.pid, signal.SIGKILL)

    async def close(self) -> None:
        self.ended = True
        if self._fork.status is None:
            self._loop.remove_reader(self._channel)
            self._channel.close()
            await asyncio.wait([self._gone], timeout=_ENDS_WITHIN)
            if self._fork.status is None:
                self._end()
                await self._gone

    def _changed(self) -> None:
        if self._fork.status is None:
            if self._why is not None:
                self._end()  # it was killed before its number was known
            return
        self.ended = True
        if self._channel.fileno() >= 0:
            while self._readable():
                pass
            self._loop.remove_reader(self._channel)
            self._channel.close()
        if self._call is not None and not self._call.done():
            how = self._why if self._why is not None else death(self._fork.status)
            self._call.set_exception(ChildDied(how, self._marks.numbers[0]))
        if not self._gone.done():
            self._gone.set_result(None)

    def _readable(self) -> bool:
        """Takes in what there is, a few megabytes at most; says whether there may be more."""
        taken = 0
        while taken < _AT_ONCE:
            try:
                count = self._channel.recv_into(self._view[self._filled :])
            except BlockingIOError:
                return False
            except OSError:
                count = 0
            if not count:
                self._loop.remove_reader(self._channel)
                return False
            taken += count
            self._filled += count
            if self._filled == len(self._view):
                self._complete()
        return True

    def _complete(self) -> None:
        view, self._filled = self._view, 0
        if not self._frame:
            self._frame, size = FRAME.unpack(view)
            self._view = memoryview(bytearray(size))
            return
        letter, self._frame = self._frame, b""
        self._view = memoryview(bytearray(FRAME.size))
        try:
            self._take(letter, unpack(view))
        except Exception as exc:  # what a class does when it is unpickled is not in our hands
            if letter in (b"R", b"E") and self._call is not None and not self._call.done():
                self._call.set_exception(exc)
            else:
                self._loop.call_exception_handler({"message": "a child's message failed", "exception": exc})

    def _take(self, letter: bytes, value: Any) -> None:
        if letter == b"T":
            if self._heard is not None:
                self._heard(value)
        elif letter == b"W":
            self._wrote(value)
        elif self._call is not None and not self._call.done():
            if letter == b"R":
                self._call.set_result(value)
            else:
                self._call.set_exception(value)
