"""A child of a real host, from the inside: runs one call after the other, and says what came of each."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import struct
import sys
import time
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from services.crossing import exit_status, pack, pack_error, pack_result, unpack
from services.real.processes import die_with_parent
from services.real.programs import load_program
from services.real.shared import Cells, DiskRules
from services.real.storage import FolderStorage

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME = struct.Struct("<cQ")
"""What goes over the socket: a letter and a size, then so many bytes.

`C` a call, to the child; from it `T` a message told, and at the end of the call `W` what was written to the
disk, and `R` its result or `E` its error.
"""


class Request(Struct):
    """What a child is to be.

    Attributes:
        root: the host's disk.
        log: where its output goes, on that disk; "" leaves it with the host's.
        memory: bytes that it may allocate; 0: as many as there are.
        programs: "path.py:function" programs whose functions may be run.
        path: where modules are found.
    """

    root: str
    log: str = ""
    memory: int = 0
    programs: list[str] = []
    path: list[str] = []


class RealInside:
    """Implements `services.child.Inside`."""

    def __init__(self, channel: socket.socket, storage: FolderStorage, marks: Cells) -> None:
        self._channel = channel
        self._storage = storage
        self.mark: Callable[[int], None] = partial(
            marks.numbers.__setitem__, 0
        )  # 50 ns; a method takes twice that

    @property
    def disk(self) -> FolderStorage:
        """The host's folder, under its rules."""
        return self._storage

    def log(self, path: str) -> None:
        """Sends stdout and stderr to a file, from here on."""
        _flush()
        real = Path(self._storage.path(path))
        real.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(real, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        os.close(descriptor)
        if isinstance(sys.stdout, TextIOWrapper):  # what was printed outlives a death, and any text can be
            sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")

    def tell(self, message: Any) -> None:
        """Sends the parent an object."""
        send(self._channel, b"T", pack(message))

    def clock(self) -> float:
        """Returns seconds."""
        return time.monotonic()


def begin(request: bytes, descriptors: list[int], parent: int) -> None:
    """The child's life, in a process just forked by a template.

    Args:
        request: a `Request`.
        descriptors: of the channel to the parent, of the cell for marks, and of the disk's rules.
        parent: the template's pid.
    """
    die_with_parent(parent)
    what = msgspec.msgpack.decode(request, type=Request)
    sys.path[:0] = [entry for entry in what.path if entry not in sys.path]
    channel = socket.socket(fileno=descriptors[0])
    storage = FolderStorage(what.root, DiskRules(descriptors[2]))
    inside = RealInside(channel, storage, Cells("q", descriptors[1]))
    _open_standard_streams()
    if what.log:
        inside.log(what.log)
    for program in what.programs:
        load_program(program)
    if what.memory:
        _limit(what.memory)
    while True:
        call = receive(channel)
        if call is None:
            break
        _run(inside, call)
        call = None
    _flush()
    os._exit(0)


def _run(inside: RealInside, call: bytearray) -> None:
    """Runs a call and sends what came of it."""
    letter, storage, channel = b"R", inside._storage, inside._channel
    try:
        fn, args, kwargs = unpack(call)
        call.clear()
        answer = pack_result(fn(inside, *args, **kwargs), fn)
    except SystemExit as exc:
        status, said = exit_status(exc.code)
        sys.stderr.write(said)
        _flush()
        os._exit(status)
    except BaseException as exc:
        traceback = exc.__traceback__
        letter, answer = b"E", pack_error(exc, traceback.tb_next if traceback is not None else None)
        traceback = None
    if letter == b"E":
        gc.collect()  # a traceback may hold, in a cycle, all that the failed call had in memory
    _flush()
    if storage.written:
        send(channel, b"W", pack(storage.written))
        storage.written.clear()
    send(channel, letter, answer)


def send(channel: socket.socket, letter: bytes, data: bytes) -> None:
    """Sends a frame. When the parent is gone, so are we."""
    header = FRAME.pack(letter, len(data))
    try:
        if len(data) < 1 << 16:
            channel.sendall(header + data)
        else:
            channel.sendall(header)
            channel.sendall(data)
    except OSError:
        os._exit(1)


def receive(channel: socket.socket) -> bytearray | None:
    """Returns the next call; None when there will be none."""
    header = _receive(channel, FRAME.size)
    return None if header is None else _receive(channel, FRAME.unpack(header)[1])


def _receive(channel: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        try:
            count = channel.recv_into(view[filled:])
        except OSError:
            return None
        if not count:
            return None
        filled += count
    view.release()
    return data


def _open_standard_streams() -> None:
    """Makes stdout and stderr lose nothing when the process is killed, and has C code say where it dies."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(  # noqa: SIM115 - for the life of the process
            number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    faulthandler.enable(2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the log's disk is full, or user code has closed it
            stream.flush()


def _limit(memory: int) -> None:
    """Lets the process allocate so much more than it has now; beyond that, allocating fails.

    RLIMIT_DATA, not RLIMIT_AS: it counts what a process makes for itself (heap, private writable mappings,
    threads' stacks), and not libraries, files mapped to be read, or what the template happened to map.
    """
    import resource

    used = 0
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                used = int(line.split()[1]) << 10
    except OSError:  # not Linux: what the template uses counts too
        pass
    limit = used + memory
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
