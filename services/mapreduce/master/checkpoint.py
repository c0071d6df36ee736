"""The master's journal (3.3, "master failure"): what a restarted master must know, on its own disk.

The paper's master aborts its job when it dies; this one is restarted and goes on. What is said to others is
durable before it is said, where they would rely on it:

- a job (with its splits) before `Submit` is answered;
- a completion or a failure before `Complete` is acknowledged: until then the worker repeats it;
- a job's end before its client hears of it.

Decisions do not wait: who is given which task is not written at all (a restarted master hears from the
workers what they run), and a completion is acted upon at once. Should it be lost with the master, its
worker says it again.

Records are framed by length and checksum: a tail that a crash tore is dropped. What comes while the disk
syncs is written and synced together, so that thousands of completions a second cost tens of syncs. When the
disk fails, the file is not to be trusted; it is written anew from memory, as it is at the start and when
most of it is of jobs long over.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from services import framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.host import File, Host

FILE = "mapreduce/journal"

RETRY_S = 1.0
"""Between two attempts to write on a disk that fails."""

PATIENCE_S = 10.0
"""After so long without a disk that takes it, what was to be durable is said all the same."""

COMPACT_BYTES = 1 << 20
"""A journal smaller than this is never written anew for its size."""

PACKED = 512
"""Completions larger than this (by the sizes of many regions) are compressed."""


class Claimed(Struct, tag="claimed", array_like=True):
    """A job is about to claim its output folder: found there after a crash, the folder is its own."""

    job: str
    output: str


class Submitted(Struct, tag="submitted", array_like=True):
    """A job has begun: `protos.mapreduce.Job`, and its splits as (path, offset, size)."""

    job: bytes
    splits: list[tuple[tuple[str, int, int], ...]]
    input_bytes: int
    began: float  # of the wall clock


class Completed(Struct, tag="completed", array_like=True):
    """A task is completed: `protos.mapreduce.Completion`, perhaps compressed."""

    completion: bytes
    packed: bool = False


class Troubled(Struct, tag="troubled", array_like=True):
    """What has gone wrong with a task so far; see `state.Task`."""

    job: str
    kind: int
    number: int
    failures: int
    mishaps: int
    reports: tuple[int, ...]
    skip: tuple[int, ...]
    shunned: tuple[tuple[str, int], ...]


class Lost(Struct, tag="lost", array_like=True):
    """The output of a map could not be read."""

    job: str
    number: int
    attempt: int


class Joined(Struct, tag="joined", array_like=True):
    """A worker is there: `protos.mapreduce.Registration`."""

    registration: bytes


class Failed(Struct, tag="failed", array_like=True):
    """A worker is no longer there."""

    worker: str
    incarnation: int


class Over(Struct, tag="over", array_like=True):
    """A job is over: its last `protos.mapreduce.Progress`."""

    progress: bytes


Record: TypeAlias = Claimed | Submitted | Completed | Troubled | Lost | Joined | Failed | Over

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def completed(completion: bytes) -> Completed:
    """Returns the record of a completion."""
    if len(completion) < PACKED:
        return Completed(completion)
    return Completed(zlib.compress(completion, 1), packed=True)


def completion_in(record: Completed) -> bytes:
    """Returns the completion of a record."""
    return zlib.decompress(record.completion) if record.packed else record.completion


class Journal:
    """The journal of one master.

    Args:
        host: whose disk it is on.
        snapshot: returns records that lead to the present state, in order.
    """

    def __init__(self, host: Host, snapshot: Callable[[], Iterable[Record]]) -> None:
        self._host = host
        self._snapshot = snapshot
        self._file: File | None = None  # None: not to be trusted
        self._pending: list[bytes] = []
        self._written = 0  # records that were handed in
        self._durable = 0  # of these, so many are durable
        self._wanted = asyncio.Event()
        self._synced = asyncio.Event()
        self._trouble: float | None = None  # since when the disk has failed
        self.bytes = 0
        self._compact_at = COMPACT_BYTES

    async def load(self) -> list[Record]:
        """Returns what the disk holds, up to the first damage.

        Raises:
            OSError: the disk cannot be read.
        """
        if not await self._host.disk.exists(FILE):
            return []
        file = await self._host.disk.open(FILE)
        data = await file.read()
        await file.close()
        return unframe(data)

    def append(self, record: Record) -> None:
        """Adds a record; durable after `durable`."""
        self._pending.append(frame(record))
        self._written += 1
        self._wanted.set()

    async def durable(self) -> bool:
        """Returns when everything that was appended before is durable; False when patience ended first."""
        loop = asyncio.get_running_loop()
        mine = self._written
        while self._durable < mine:
            if self._trouble is not None and loop.time() - self._trouble > PATIENCE_S:
                return False
            await self._synced.wait()
        return True

    def compact(self) -> None:
        """Says that a job is over: what was written of it need not stay."""
        if self.bytes > self._compact_at:
            self._file = None
            self._wanted.set()

    async def write(self) -> None:
        """Writes, for as long as the master lives."""
        while True:
            try:
                await self._write_once()
                self._trouble = None
            except OSError as error:
                self._file = None
                if self._trouble is None:
                    self._trouble = asyncio.get_running_loop().time()
                    self._host.trace("checkpoint failed", error=str(error))
                self._wake()
                await asyncio.sleep(RETRY_S)
                continue
            self._wake()
            await self._wanted.wait()

    async def _write_once(self) -> None:
        self._wanted.clear()
        upto = self._written
        if self._file is None:
            self._pending.clear()
            await self._rewrite(b"".join(map(frame, self._snapshot())))
        elif self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            await self._file.append(data)
            await self._file.sync()
            self.bytes += len(data)
        self._durable = upto

    async def _rewrite(self, data: bytes) -> None:
        """Replaces the file in one step: the old one or the new one survives a crash, never a mixture."""
        disk = self._host.disk
        draft = await disk.open(FILE + ".draft", "w")
        try:
            await draft.append(data)
            await draft.sync()
        finally:
            await draft.close()
        await disk.rename(FILE + ".draft", FILE)
        await disk.sync(FILE.rpartition("/")[0])
        await disk.sync()
        self._file = await disk.open(FILE, "a")
        self.bytes = len(data)
        self._compact_at = max(COMPACT_BYTES, 2 * self.bytes)

    def _wake(self) -> None:
        synced, self._synced = self._synced, asyncio.Event()
        synced.set()


def frame(record: Record) -> bytes:
    """Returns a record as it is in the file."""
    return framing.frame(_encode(record))


def unframe(data: bytes) -> list[Record]:
    """Returns the records of a file, up to the first that is damaged."""
    return [_decode(record) for record in framing.unframe(data)]
