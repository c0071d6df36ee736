"""What a worker of a dask cluster does for the engine "dask": one task at a time, in its process.

All files are in folders that the machines share. Below the job's scratch folder lie the map outputs and
logs, and for each execution a mark: there from its beginning, and holding the number of the record that
user code has, so that it can be read after the process's death (4.6).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from services.mapreduce.tasks.map import run_map
from services.mapreduce.tasks.reduce import run_reduce
from services.real.storage import FolderStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.child import Storage
    from services.mapreduce.tasks.order import Done, Order, Progress

MARK = struct.Struct("<q")
RERUNS = 100
"""So far apart are the engine's attempts: dask may run one again, when it takes a worker for dead."""

_ONE_AT_A_TIME = (
    threading.Lock()
)  # stdout, stderr and the processor are one process's, however many threads it has


class Withdrawn(Exception):
    """The job is over: nobody wants this task any more."""


class Within:
    """`services.child.Inside` in a dask worker."""

    def __init__(
        self, disk: Storage, scratch: Path, mark: mmap.mmap, topic: str, place: tuple[str, int, int]
    ):
        self.disk = disk
        self.clock = time.monotonic
        self._scratch = scratch
        self._mark = mark
        self._topic = topic
        self._place = place

    def log(self, path: str) -> None:
        """From here on stdout and stderr go to this file; `execute` undoes it."""
        with self.disk.open(path, "ab", 0) as file:
            for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
                stream.flush()
                os.dup2(file.fileno(), number)

    def mark(self, number: int) -> None:
        """Notes the record; in memory that the file system keeps when the process dies."""
        MARK.pack_into(self._mark, 0, number)

    def tell(self, message: Progress | None) -> None:
        """Sends progress to the engine.

        Raises:
            Withdrawn: the job is over.
        """
        if not self._scratch.is_dir():
            raise Withdrawn
        from distributed import get_worker

        worker = get_worker()
        input_bytes = message.input_bytes if message is not None else 0
        worker.log_event(self._topic, [*self._place, worker.address, input_bytes])


def execute(
    kind: str,
    order: Order,
    scratch: str,
    topic: str,
    regions: Sequence[tuple[str, int, int]] = (),
) -> Done:
    """Executes a task.

    Args:
        kind: "map" or "reduce".
        order: the task; its attempt is made unique here.
        scratch: the job's folder for intermediate files.
        topic: of the events by which progress is told.
        regions: of a reduce task: files of map outputs, where its region begins in each, and ends.
    """
    with _ONE_AT_A_TIME:
        folder = Path(scratch)
        if not folder.is_dir():
            raise Withdrawn
        attempt, mark = _begin(folder, kind, order)
        disk = FolderStorage(scratch)
        inside = Within(disk, folder, mark, topic, (kind, order.number, order.attempt))
        inside.tell(None)
        order = replace(order, attempt=attempt, log=log_name(kind, order.number, attempt))
        view = FolderStorage("/")
        with _streams_kept():
            if kind == "map":
                done = run_map(inside, order, view)
            else:
                segment = f"{order.job}/reduce-{order.number:05}.{attempt}"
                _gather(disk, segment, regions)
                try:
                    done = run_reduce(inside, replace(order, segments=(segment,)), view)
                finally:
                    with contextlib.suppress(OSError):
                        disk.remove(segment)
        return replace(done, view=None)


def die() -> None:
    """Ends this worker process, whatever its other threads do; its nanny starts another."""
    os.kill(os.getpid(), signal.SIGKILL)


def log_name(kind: str, number: int, attempt: int) -> str:
    """Returns the name of an execution's log, below the scratch folder."""
    return f"logs/{kind}-{number:05}.{attempt}"


def mark_names(kind: str, number: int, attempt: int) -> list[str]:
    """Returns the names that the marks of an attempt can have, below the scratch folder."""
    return [f"marks/{kind}-{number:05}.{attempt + rerun}" for rerun in range(RERUNS)]


def _begin(scratch: Path, kind: str, order: Order) -> tuple[int, mmap.mmap]:
    """Returns a number that no other execution has, and the execution's mark."""
    for rerun, name in enumerate(mark_names(kind, order.number, order.attempt)):
        path = scratch / name
        path.parent.mkdir(exist_ok=True)
        try:
            with path.open("x+b") as file:
                file.write(MARK.pack(-1))
                file.flush()
                return order.attempt + rerun, mmap.mmap(file.fileno(), MARK.size)
        except FileExistsError:
            continue
    raise RuntimeError(f"{kind} task {order.number} was begun {RERUNS} times")


def _gather(disk: Storage, segment: str, regions: Sequence[tuple[str, int, int]]) -> None:
    """Copies a reduce task's regions into one file."""
    with disk.open(segment, "wb") as target:
        for path, at, end in regions:
            if at == end:
                continue
            with disk.open(path) as source:
                source.seek(at)
                while at < end:
                    data = source.read(min(1 << 20, end - at))
                    if not data:
                        raise EOFError(f"{path}: ends before its regions do")
                    target.write(data)
                    at += len(data)


@contextlib.contextmanager
def _streams_kept() -> Iterator[None]:
    """Afterwards stdout and stderr go where they went before."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        yield
    finally:
        for stream, number, before in zip((sys.stdout, sys.stderr), (1, 2), kept, strict=True):
            stream.flush()
            os.dup2(before, number)
            os.close(before)
