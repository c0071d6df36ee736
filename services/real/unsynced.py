"""What of a real host's files is not durable, kept so that faults can lose it.

The kernel alone knows which bytes are on the platter, and a SIGKILL takes none from it. To have a failed
sync or a torn write cost what it would cost a machine, the disk keeps books of its own, by inode, for
files are renamed while they are open.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

_MOST_WRITES = 1000  # of one file, that overwrite nothing; beyond that they are taken together


class Write(Struct):
    """Bytes that were written and are not durable.

    Attributes:
        start, end: where they begin, and where they end.
        before: what the file held there; None: nothing, or nobody knows.
    """

    start: int
    end: int
    before: bytes | None = None


Lost: TypeAlias = dict[int, list[Write]]
"""By inode, in the order of writing."""


class Tail(Struct):
    """The part of a torn append that is kept back: where it belongs, and a descriptor to put it there."""

    at: int
    data: bytes
    fd: int


class Unsynced:
    """The books of one disk.

    Args:
        root: the disk's folder.
        lost: the file in which lost ranges are written down until the next start.
    """

    def __init__(self, root: Path, lost: Path) -> None:
        self._root = root
        self._lost = lost
        self._dirty: dict[int, list[Write]] = {}
        self._gone: Lost = {}  # what `lost` holds
        self._tails: dict[int, Tail] = {}

    def note(self, inode: int, start: int, end: int, before: bytes | None = None) -> None:
        """Notes bytes that were written to a file, and what they took the place of."""
        writes = self._dirty.setdefault(inode, [])
        if before is None and writes and writes[-1].before is None and writes[-1].end == start:
            writes[-1].end = end
        else:
            writes.append(Write(start, end, before))
        if len(writes) > _MOST_WRITES and all(write.before is None for write in writes):
            writes[:] = [Write(min(write.start for write in writes), max(write.end for write in writes))]

    def synced(self, inode: int) -> None:
        """Notes that what was written to a file is durable: also where an earlier write was lost."""
        written = self._dirty.pop(inode, [])
        gone = self._gone.pop(inode, None)
        if gone is not None:
            for write in written:
                gone = [left for lost in gone for left in _without(lost, write)]
            if gone:
                self._gone[inode] = gone
            self._write_down()
        self._let_go(inode)

    def _let_go(self, inode: int) -> None:
        tail = self._tails.pop(inode, None)
        if tail is not None:
            os.close(tail.fd)

    def emptied(self, inode: int) -> None:
        """Notes that a file is empty, or gone: whatever has its inode from now on has lost nothing."""
        self._dirty.pop(inode, None)
        if self._gone.pop(inode, None) is not None:
            self._write_down()
        self._let_go(inode)

    # Torn writes

    def keep_back(self, fd: int, at: int, data: bytes) -> None:
        """Keeps the end of an append from the file; a crash now loses it."""
        self._tails[os.fstat(fd).st_ino] = Tail(at, data, os.dup(fd))

    def complete(self, fd: int) -> None:
        """Puts what was kept back where it belongs: the crash did not come."""
        if self._tails and (tail := self._tails.pop(os.fstat(fd).st_ino, None)) is not None:
            os.pwrite(tail.fd, tail.data, tail.at)
            os.close(tail.fd)

    def complete_all(self) -> None:
        """Puts everything where it belongs."""
        for tail in self._tails.values():
            os.pwrite(tail.fd, tail.data, tail.at)
            os.close(tail.fd)
        self._tails.clear()

    # Failed syncs

    def lose(self, fd: int) -> None:
        """Writes down that the unsynced bytes of a file will be gone."""
        inode = os.fstat(fd).st_ino
        self._gone.setdefault(inode, []).extend(self._dirty.pop(inode, []))
        self._write_down()

    def begin(self) -> None:
        """Takes away what was lost before this start: what was there before takes its place, or zeros, or
        at the end of a file nothing."""
        lost = self._read()
        if not lost:
            return
        for path in self._root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                _take_away(path, lost.get(path.stat().st_ino, []))
        self._lost.unlink()

    def _write_down(self) -> None:
        self._lost.write_bytes(msgspec.json.encode(self._gone))

    def _read(self) -> Lost:
        if not self._lost.exists():
            return {}
        return msgspec.json.decode(self._lost.read_bytes(), type=Lost)


def _without(lost: Write, kept: Write) -> list[Write]:
    """Returns what stays lost of one write when a later one is durable."""
    left = []
    for start, end in ((lost.start, min(lost.end, kept.start)), (max(lost.start, kept.end), lost.end)):
        if start < end:
            before = None if lost.before is None else lost.before[start - lost.start : end - lost.start]
            left.append(Write(start, end, before))
    return left


def _take_away(path: Path, writes: list[Write]) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        for write in reversed(writes):
            if write.before is not None:
                file.seek(write.start)
                file.write(write.before)
            elif write.start < size <= write.end:
                file.truncate(write.start)
                size = write.start
            elif write.end < size:
                file.seek(write.start)
                file.write(bytes(write.end - write.start))
