"""The write-ahead log of a spanserver: segments, appended in numbered batches.

It knows what is durable and nothing of what is queued; one caller at a time may change it. `recovery.py`
makes one from what the disk holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.durable.headers import HEADER_SIZE, write_header
from services.spanner.storage.records import BATCHES, SegmentHeader, encode

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from services.host import Disk, File
    from services.spanner.storage.records import Record

FOLDER = "log"


def segment_path(number: int) -> str:
    """Returns where the segment of that number is."""
    return f"{FOLDER}/segment-{number:08d}"


class Segment(Struct, eq=False):
    """One file of the log: its number, and how many bytes it has."""

    number: int
    size: int


class Log:
    """The log.

    Args:
        disk: where it is.
        rng: draws marks.
        universe, server: whose it is.
        segments: those that are there, in order.
        batch: the number of the next batch.

    Attributes:
        segments: those that are there, in order.
        batch: the number of the next batch: all before it are durable.
    """

    def __init__(
        self,
        disk: Disk,
        rng: random.Random,
        universe: str,
        server: str,
        segments: list[Segment],
        batch: int,
    ) -> None:
        self._disk = disk
        self._rng = rng
        self._universe = universe
        self._server = server
        self.segments = segments
        self.batch = batch
        self._mark = b""
        self._file: File | None = None  # of the last segment

    @property
    def number(self) -> int:
        """Which segment is written."""
        return self.segments[-1].number

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self.segments)

    async def write(self, records: Sequence[Record]) -> None:
        """Appends a batch; it is durable on return.

        Raises:
            OSError: the disk fails. The log must not be used any more.
        """
        assert self._file is not None, "no segment has been begun"
        data = BATCHES.write(self._mark, encode(records), self.batch)
        await self._file.append(data, sync=True)
        self.batch += 1
        self.segments[-1].size += len(data)

    async def begin(self, floor: int | None = None) -> None:
        """Begins the next segment, and removes those that are void when it is durable.

        Args:
            floor: segments before this one are not needed; None: none but the new one is.

        Raises:
            OSError: the disk fails. The log must not be used any more.
        """
        await self.close()
        number = self.segments[-1].number + 1 if self.segments else 0
        floor = number if floor is None else floor
        self._mark = self._rng.randbytes(4)
        header = SegmentHeader(self._universe, self._server, number, floor, self.batch, self._mark)
        file = await self._disk.open(segment_path(number), "w")
        self._file = file
        await file.append(write_header(header))
        await file.sync()
        await self._disk.sync(FOLDER)
        self.segments.append(Segment(number, HEADER_SIZE))
        while self.segments[0].number < floor:
            await self._disk.remove(segment_path(self.segments.pop(0).number))

    async def close(self) -> None:
        """Closes the file that is written."""
        if self._file is not None:
            file, self._file = self._file, None
            await file.close()
