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

Range: TypeAlias = tuple[int, int]
"""Where bytes begin, and where they end."""

_MOST_RANGES = 1000  # of one file; beyond that they are taken together


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
        self._dirty: dict[int, list[Range]] = {}
        self._gone: dict[int, list[Range]] = {}  # what `lost` holds
        self._tails: dict[int, Tail] = {}

    def wrote(self, fd: int, start: int, end: int) -> None:
        """Notes bytes that were written."""
        self.note(os.fstat(fd).st_ino, start, end)

    def note(self, inode: int, start: int, end: int) -> None:
        """Notes bytes that were written to a file that need not be open here."""
        if inode in self._gone:  # written again, so a sync can keep it
            self._gone[inode] = [left for gone in self._gone[inode] for left in _without(gone, start, end)]
            self._write_down()
        ranges = self._dirty.setdefault(inode, [])
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
        if len(ranges) > _MOST_RANGES:
            ranges[:] = [(min(start for start, _ in ranges), max(end for _, end in ranges))]

    def forget(self, inode: int) -> None:
        """Notes that a file is durable as it is, but for what was lost before."""
        self._dirty.pop(inode, None)
        tail = self._tails.pop(inode, None)
        if tail is not None:
            os.close(tail.fd)

    def emptied(self, inode: int) -> None:
        """Notes that a file is empty, or gone: whatever has its inode from now on has lost nothing."""
        self.forget(inode)
        if self._gone.pop(inode, None) is not None:
            self._write_down()

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
        """Takes away what was lost before this start: zeroes it, or cuts it off at the end of a file."""
        lost = self._read()
        if not lost:
            return
        for path in self._root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                _take_away(path, lost.get(path.stat().st_ino, []))
        self._lost.unlink()

    def _write_down(self) -> None:
        self._lost.write_bytes(msgspec.json.encode(self._gone))

    def _read(self) -> dict[int, list[Range]]:
        if not self._lost.exists():
            return {}
        return msgspec.json.decode(self._lost.read_bytes(), type=dict[int, list[Range]])


def _without(gone: Range, start: int, end: int) -> list[Range]:
    """Returns what is left of a range without another."""
    return [
        (low, high)
        for low, high in ((gone[0], min(gone[1], start)), (max(gone[0], end), gone[1]))
        if low < high
    ]


def _take_away(path: Path, ranges: list[Range]) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        for start, end in sorted(ranges, reverse=True):
            if start < size <= end:
                file.truncate(start)
                size = start
            elif end < size:
                file.seek(start)
                file.write(bytes(end - start))
