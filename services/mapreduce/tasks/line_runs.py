"""Sorted runs of lines, in blocks: what streaming spills, sends and merges.

Lines are in the order of their keys as bytes (what `LC_ALL=C sort` calls order), a key being what stands
before the first tab. That is the order of whole lines, unless a key holds a byte below tab; then the slower
comparison is used. Nothing here looks at single lines in Python where C can do it: blocks are split, lists
sorted (which merges what is sorted in pieces), lines joined.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

TRAILER = struct.Struct(">?Q")  # whether its order is that of whole lines, and its length
BLOCK = 1 << 20  # bytes, read from a run at a time
SMALLEST_BLOCK = 1 << 16
LEAST = 1 << 12  # bytes that are read when lines are so short that a block takes many times its size
LINE_OVERHEAD = 48  # bytes that a line takes in memory beside its own: object and pointer
_TOGETHER = 16_384  # lines joined at a time
_BELOW_TAB = [bytes([byte]) for byte in range(9)]


def key_order(line: bytes) -> tuple[bytes, bytes]:
    """Returns what a line is sorted by when keys hold bytes below tab."""
    key, _, value = line.partition(b"\t")
    return key, value


class Lines:
    """Lines collected from blocks that end anywhere.

    Attributes:
        lines: the whole ones, without their ends.
        memory: about what they take, in bytes.
        plain: whether their order is that of whole lines.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.memory = 0
        self.plain = True
        self._open: list[bytes] = []  # the beginning of a line whose end has not come yet

    def add(self, block: bytes) -> None:
        """Takes the next block."""
        self.memory += len(block)
        if self.plain and any(byte in block for byte in _BELOW_TAB):
            self.plain = False
        if b"\n" not in block:
            self._open.append(block)
            return
        if self._open:
            block = b"".join((*self._open, block))
        lines = block.split(b"\n")
        rest = lines.pop()
        self._open = [rest] if rest else []
        self.lines += lines
        self.memory += LINE_OVERHEAD * len(lines)

    def end(self) -> None:
        """No more blocks come: what is left is a line as well."""
        if self._open:
            self.lines.append(b"".join(self._open))
            self._open = []

    def take(self) -> list[bytes]:
        """Returns the whole lines, and forgets them."""
        lines, self.lines = self.lines, []
        self.memory = sum(map(len, self._open))
        return lines


class Run:
    """A sorted run of lines in a file, read in blocks.

    Attributes:
        size: in bytes, its trailer not counted.
        lines: of the block under way.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, plain: bool) -> None:
        self.file = file
        self.size = size
        self.plain = plain
        self.lines: list[bytes] = []
        self._at = start
        self._left = size
        self._rest = b""
        self._swells = 16.0  # times its size that a block takes as lines

    def read(self, size: int) -> bytes:
        """Returns the next bytes, as they are; b"" at the end."""
        self.file.seek(self._at)
        data = self.file.read(min(size, self._left))
        if not data and self._left:
            raise EOFError("a run of lines ends before its time")
        self._at += len(data)
        self._left -= len(data)
        return data

    def advance(self, size: int) -> bool:
        """Reads the next block of at least one line; False at the end."""
        parts = [self._rest]
        while data := self.read(size):
            parts.append(data)
            if b"\n" in data:
                break
        else:
            return False
        block = b"".join(parts)
        self.lines = block.split(b"\n")
        self._rest = self.lines.pop()
        self._swells = 1 + LINE_OVERHEAD * len(self.lines) / len(block)
        return True

    def fitting(self, memory: int) -> int:
        """Returns the size of a block that takes so much memory if its lines are as long as the last ones."""
        return max(LEAST, min(BLOCK, int(memory / self._swells)))


def sort(lines: list[bytes], plain: bool) -> None:
    """Sorts lines."""
    lines.sort(key=None if plain else key_order)


def blocks(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yields lines as blocks, each line with its end."""
    for first in range(0, len(lines), _TOGETHER):
        yield b"\n".join(lines[first : first + _TOGETHER]) + b"\n"


def write_lines(file: BinaryIO, lines: Sequence[bytes]) -> int:
    """Writes lines, each with its end, and returns how many bytes."""
    size = 0
    for block in blocks(lines):
        file.write(block)
        size += len(block)
    return size


def end_run(file: BinaryIO, size: int, plain: bool) -> int:
    """Ends a run of `size` bytes just written, and returns its size with all; an empty one is nothing."""
    if not size:
        return 0
    file.write(TRAILER.pack(plain, size))
    return size + TRAILER.size


def runs_of(file: BinaryIO, start: int, end: int) -> list[Run]:
    """Returns the runs that lie one after the other in part of a file, found from its end.

    Raises:
        EOFError: it is damaged.
    """
    runs = []
    while end > start:
        file.seek(end - TRAILER.size)
        plain, size = TRAILER.unpack(file.read(TRAILER.size))
        end -= TRAILER.size + size
        if end < start:
            raise EOFError("a run of lines begins before its file")
        runs.append(Run(file, end, size, plain))
    return runs


def merge(runs: Sequence[Run], memory: int) -> Iterator[tuple[bytes, int]]:
    """Yields the lines of all runs in order, as blocks and how many lines end in each.

    From the block in memory of each run it takes what comes no later than the first of the blocks' last
    lines, and sorts that: Python's sort finds the sorted pieces and merges them in C.

    Args:
        runs: at most `fan_in(memory)`.
        memory: about how many bytes to use.
    """
    if len(runs) == 1:
        while data := runs[0].read(BLOCK):
            yield data, data.count(b"\n")
        return
    share = memory // (2 * max(1, len(runs)))
    order = None if all(run.plain for run in runs) else key_order
    left = [run for run in runs if run.advance(run.fitting(share))]
    while left:
        last = min((run.lines[-1] for run in left), key=order)
        taken: list[bytes] = []
        for run in left:
            if order is None:
                count = bisect_right(run.lines, last)
            else:
                count = bisect_right(run.lines, order(last), key=order)
            taken += run.lines[:count]
            del run.lines[:count]
        taken.sort(key=order)
        for first in range(0, len(taken), _TOGETHER):
            some = taken[first : first + _TOGETHER]
            yield b"\n".join(some) + b"\n", len(some)
        left = [run for run in left if run.lines or run.advance(run.fitting(share))]


def fan_in(memory: int) -> int:
    """Returns how many runs can be merged at once in about so many bytes."""
    return max(2, memory // (4 * SMALLEST_BLOCK))


def write_blocks(file: BinaryIO, blocks: Iterable[tuple[bytes, int]]) -> int:
    """Writes what `merge` yields, and returns how many bytes."""
    size = 0
    for block, _ in blocks:
        file.write(block)
        size += len(block)
    return size
