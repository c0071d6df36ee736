"""Sorted runs of pairs on disk: map outputs, spills, what a reduce has pulled.

A run is a sequence of frames, each a header and a MessagePack list of pairs; the first frame of a run says
so. So regions can be put one behind the other in any order and still be told apart, and a reader needs
memory for one frame of each run.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from services.child import Storage
    from services.mapreduce.hints import Codec

HEADER = struct.Struct(">IIB")
"""Bytes of the frame's body, pairs in it, flags."""

FIRST, ESCAPED = 1, 2

FRAME_BYTES = 64 << 10
"""About as large a frame's body is, unless one pair is larger."""

FRAME_PAIRS = 1024
"""At most so many pairs in a frame."""

PAIR_BYTES = 150
"""What a pair takes in memory besides the bytes of its encoding: tuple, list slot, two objects."""


_COPY = 1 << 20  # bytes at a time


class Run(NamedTuple):
    """A sorted run in a file.

    Attributes:
        start, end: its bytes.
        pairs: in it.
        largest: about the memory that its largest frame takes, decoded.
    """

    path: str
    start: int
    end: int
    pairs: int
    largest: int

    @property
    def memory(self) -> int:
        """About the memory that all of it takes, decoded."""
        return 2 * (self.end - self.start) + PAIR_BYTES * self.pairs


class RunWriter:
    """Writes runs to a file.

    Attributes:
        written: bytes so far.
    """

    def __init__(self, file: BinaryIO, path: str, codec: Codec) -> None:
        self.written = 0
        self._path = path
        self._file = file
        self._codec = codec
        self._many = 256  # pairs in a frame, as their size has it

    def write(self, blocks: Iterable[Sequence[Any]]) -> Run:
        """Writes one run, given in order as lists of pairs; nothing when there are none.

        Raises:
            TypeError, ValueError, OverflowError: a pair cannot be serialized.
            OSError: as the disk has it.
        """
        flags = FIRST
        start, pairs, largest = self.written, 0, 0
        for block in blocks:
            at = 0
            while at < len(block):
                some = block[at : at + self._many]
                at += len(some)
                data, escaped = self._codec.encode(some)
                self._file.write(HEADER.pack(len(data), len(some), flags | (ESCAPED if escaped else 0)))
                self._file.write(data)
                self.written += HEADER.size + len(data)
                flags = 0
                pairs += len(some)
                largest = max(largest, 2 * len(data) + PAIR_BYTES * len(some))
                if len(data) > 2 * FRAME_BYTES:
                    self._many = max(1, self._many // 2)
                elif len(data) < FRAME_BYTES // 2 and len(some) == self._many < FRAME_PAIRS:
                    self._many *= 2
        return Run(self._path, start, self.written, pairs, largest)

    def copy(self, blocks: Iterable[bytes]) -> None:
        """Writes a run that is bytes already."""
        for block in blocks:
            self._file.write(block)
            self.written += len(block)


def runs_of(path: str, disk: Storage, start: int = 0, end: int | None = None) -> list[Run]:
    """Finds the runs in (part of) a file, by its headers.

    Raises:
        EOFError: it is cut off.
    """
    found: list[Run] = []
    if end is None:
        end = disk.size(path)
    with disk.open(path, "rb", 0) as file:
        at = start
        began, pairs, largest = start, 0, 0
        while at < end:
            file.seek(at)
            size, count, flags = HEADER.unpack(_exactly(file, HEADER.size, path))
            if flags & FIRST and at > began:
                found.append(Run(path, began, at, pairs, largest))
                began, pairs, largest = at, 0, 0
            pairs += count
            largest = max(largest, 2 * size + PAIR_BYTES * count)
            at += HEADER.size + size
        if at > end:
            raise EOFError(f"{path}: a run of pairs is cut off")
        if at > began:
            found.append(Run(path, began, at, pairs, largest))
    return found


def read(file: BinaryIO, run: Run, codec: Codec) -> Iterator[list[tuple[Any, Any]]]:
    """Yields a run's pairs, frame by frame; the file may be used for others meanwhile.

    Raises:
        EOFError: it is cut off.
    """
    at = run.start
    while at < run.end:
        file.seek(at)
        size, _, flags = HEADER.unpack(_exactly(file, HEADER.size, run.path))
        data = _exactly(file, size, run.path)
        at += HEADER.size + size
        yield codec.decode(data, bool(flags & ESCAPED))


def data_of(file: BinaryIO, run: Run) -> Iterator[bytes]:
    """Yields a run's bytes as they are.

    Raises:
        EOFError: it is cut off.
    """
    file.seek(run.start)
    for at in range(run.start, run.end, _COPY):
        yield _exactly(file, min(_COPY, run.end - at), run.path)


def _exactly(file: BinaryIO, size: int, path: str) -> bytes:
    data = file.read(size)
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise EOFError(f"{path}: a run of pairs is cut off")
        data += more
    return data
