"""TeraSort (5.3): sorts records of 100 bytes by their first 10; what makes them, and what checks the result.

Three jobs. `TeraGen` reads numbers of blocks and writes each block's records; `TeraSort` sorts, its parts
one after the other being in order; `TeraValidate` looks whether they are, and adds up what shows that none
was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

from services.mapreduce.counters import Task, count
from services.mapreduce.inputs import Records
from services.mapreduce.job import Job
from services.mapreduce.outputs import PairsOutput, TextOutput
from services.mapreduce.partition import TotalOrder

if TYPE_CHECKING:
    from services.child import Storage
    from services.files.api import Range

ROW = 100
KEY = 10


class TeraGen(Job):
    """Writes, for each number in its input, a block of records; the setting `rows` says how many."""

    reduces = 0
    output = PairsOutput()

    def setup(self, task: Task) -> None:
        """Reads the setting."""
        self.rows = int(task.settings.get("rows", "10000"))

    def map(self, offset: int, line: str) -> Iterator[tuple[bytes, bytes]]:
        """Gives a block's records: a key drawn from the row's number, and a value that tells it."""
        first = int(line) * self.rows
        for row in range(first, first + self.rows):
            key = blake2b(b"%d" % row, digest_size=KEY).digest()
            value = b"%020d" % row + b"." * (ROW - KEY - 20)
            count_row(key + value)
            yield key, value


class TeraSort(Job):
    """Sorts. Where parts begin is found by sampling (4.1), so that each gets about as much.

    Map and reduce are the identity, as they are when a job has none of its own; then no record passes through
    Python, and blocks of them are sorted.
    """

    input = Records(ROW, key=KEY)
    output = PairsOutput()
    partitioner = TotalOrder()


class Blocks(Records):
    """Many records at a time, and where they are: an input type of one's own (4.4)."""

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[tuple[str, int], bytes]]:
        """Yields ((file, offset), records)."""
        for offset, block in self.blocks(piece, files):
            yield (piece.path, offset), block


class TeraValidate(Job):
    """Says nothing when all is in order. Its counters `rows` and `checksum` must be those of `TeraGen`."""

    input = Blocks(ROW)
    output = TextOutput()
    last = b""  # the last key of the block before
    reduces = 1  # which sees all blocks, in order

    def map(self, place: tuple[str, int], block: bytes) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
        """Checks a block, and gives its first and last key."""
        rows = [block[at : at + ROW] for at in range(0, len(block), ROW)]
        for row in rows:
            count_row(row)
        keys = [row[:KEY] for row in rows]
        yield place, [keys[0], keys[-1]] if keys == sorted(keys) else []

    def reduce(self, place: tuple[str, int], ends: Iterator[list[bytes]]) -> Iterator[str]:
        """Compares a block with the one before."""
        for keys in ends:
            if not keys:
                yield "is not in order"
            elif keys[0] < self.last:
                yield "begins before what comes before it ends"
            if keys:
                self.last = keys[1]


def count_row(row: bytes) -> None:
    """Counts a record, and adds to a sum that does not depend on their order."""
    count("rows")
    count("checksum", crc32(row))
