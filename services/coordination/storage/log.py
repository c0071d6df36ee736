"""The write-ahead log: segments, appended in batches and read in order.

It knows what is durable and nothing of what is queued; one caller at a time may change it, while others
read. `recovery.py` makes one from what the disk holds.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct

from services.coordination.storage.format import BATCHES, Record, SegmentHeader, write_batch
from services.durable.errors import StorageRefused
from services.durable.headers import HEADER_SIZE, write_header

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Sequence

    from services.coordination.storage.format import Batch
    from services.host import Disk, File

FOLDER = "log"
STRIDE = 1 << 16  # bytes between two entries of a segment's index
FOREVER = (1 << 64) - 1


class Segment(Struct, eq=False):
    """One file of the log.

    Attributes:
        number: of the segment.
        after: it continues after this zxid.
        mark: of its batches.
        end: bytes of it that are whole and durable; None as long as nobody looked (an old one).
        final: where its last batch starts.
        limit: what it holds beyond this zxid is void.
        last: its last zxid, when `end` is known; `after` when it has none.
        zxids, offsets: its index: a batch that starts at an offset, and the last zxid before it.
    """

    number: int
    after: int
    mark: bytes
    end: int | None
    final: int = HEADER_SIZE
    limit: int = FOREVER
    last: int = 0
    zxids: list[int] = []
    offsets: list[int] = []

    @property
    def path(self) -> str:
        """Where it is."""
        return segment_path(self.number)

    def note(self, start: int, end: int, last: int) -> None:
        """Takes down a batch that follows what is known: where it is, and its last zxid."""
        if not self.offsets or start - self.offsets[-1] >= STRIDE:
            self.zxids.append(self.last)
            self.offsets.append(start)
        self.final, self.end, self.last = start, end, last

    def start(self, after: int) -> int:
        """Returns an offset from which to read to find everything after a zxid."""
        at = bisect_right(self.zxids, after) - 1
        return self.offsets[at] if at >= 0 else HEADER_SIZE


def segment_path(number: int) -> str:
    """Returns where the segment of that number is."""
    return f"{FOLDER}/segment-{number:08d}"


class Log:
    """The log of one server.

    Args:
        disk: where it is.
        rng: draws marks.
        ensemble, server: whose it is.
        segments: those that are there, in order.
        last: the last zxid of the history.
        number: of the next segment.

    Attributes:
        last: the last zxid of the history that is durable.
        segments: those that are there, in order.
    """

    def __init__(
        self,
        disk: Disk,
        rng: random.Random,
        ensemble: str,
        server: int,
        segments: list[Segment],
        last: int,
        number: int,
    ) -> None:
        self._disk = disk
        self._rng = rng
        self._ensemble = ensemble
        self._server = server
        self.segments = segments
        self.last = last
        self._number = number
        self._file: File | None = None  # of the last segment, when this process has begun it
        self._readers: dict[int, int] = {}  # segments that are being read, and by how many

    @property
    def oldest(self) -> int:
        """Everything after this zxid is there."""
        return self.segments[0].after if self.segments else self.last

    @property
    def next_number(self) -> int:
        """The number of the next segment."""
        return self._number

    async def write(self, records: Sequence[Record]) -> None:
        """Appends transactions; they are durable on return.

        Raises:
            OSError: the disk fails. The log must not be used any more.
        """
        file = self._file or await self._begin(self.last)
        segment = self.segments[-1]
        data = write_batch(segment.mark, records)
        await file.append(data, sync=True)
        assert segment.end is not None
        segment.note(segment.end, segment.end + len(data), records[-1][0])
        self.last = segment.last

    async def roll(self) -> None:
        """Begins a new segment with the next batch."""
        if self._file is not None:
            file, self._file = self._file, None
            await file.close()

    async def truncate(self, zxid: int) -> None:
        """Removes everything after a zxid; durable on return.

        Raises:
            OSError: the disk fails. The log must not be used any more.
        """
        await self.roll()
        await self._begin(zxid)
        for segment in self.segments[:-1]:
            segment.limit = min(segment.limit, zxid)
        self.last = zxid

    async def restart(self, zxid: int, number: int) -> None:
        """Goes on after a snapshot that has taken the place of all; the next segment has that number."""
        await self.roll()
        old, self.segments = self.segments, []
        self.last, self._number = zxid, number
        await self._remove(old)

    async def purge(self, zxid: int, purging: Callable[[int], None]) -> None:
        """Removes segments that are not needed to read everything after a zxid.

        Args:
            zxid: what follows it stays.
            purging: told what the oldest will be, before anything is removed.
        """
        keep = max((at for at, segment in enumerate(self.segments) if segment.after <= zxid), default=0)
        while keep and any(segment.number in self._readers for segment in self.segments[:keep]):
            keep -= 1
        old, self.segments = self.segments[:keep], self.segments[keep:]
        if old:
            purging(self.oldest)
        await self._remove(old)

    async def read(self, after: int, upto: int) -> AsyncIterator[list[Record]]:
        """Yields what is durable after one zxid and up to another, a batch at a time.

        Raises:
            StorageRefused: a segment is damaged, or gone.
            OSError: it cannot be read.
        """
        if after < self.oldest:
            raise StorageRefused(f"the log has nothing before {self.oldest:x} any more")
        at = max((at for at, segment in enumerate(self.segments) if segment.after <= after), default=0)
        number = self.segments[at].number if self.segments else self._number
        self._readers[number] = self._readers.get(number, 0) + 1
        try:
            for segment in self.segments[at:]:
                async for batch in self._batches(segment, segment.start(after)):
                    if batch.last <= after:
                        continue
                    if batch.first > min(upto, segment.limit):
                        break
                    records = batch.records()
                    if batch.first <= after or batch.last > min(upto, segment.limit):
                        records = [
                            record for record in records if after < record[0] <= min(upto, segment.limit)
                        ]
                    if records:
                        after = records[-1][0]
                        yield records
                if after >= upto:
                    return
        finally:
            self._readers[number] -= 1
            if not self._readers[number]:
                del self._readers[number]

    async def _batches(self, segment: Segment, start: int) -> AsyncIterator[Batch]:
        """Yields the batches of a segment from an offset to its end, as of now."""
        try:
            file = await self._disk.open(segment.path)
        except FileNotFoundError:
            raise StorageRefused(f"{segment.path} is gone") from None
        try:
            end = segment.end if segment.end is not None else await file.size()
            async for batch in BATCHES.scan(file, segment.mark, start, end):
                start = batch.end
                yield batch
            if start < end:
                raise StorageRefused(f"{segment.path} is damaged at byte {start}")
        finally:
            await file.close()

    async def _begin(self, after: int) -> File:
        """Begins the next segment; it is durable on return."""
        number = self._number
        mark = self._rng.randbytes(4)
        file = self._file = await self._disk.open(segment_path(number), "w")
        await file.append(write_header(SegmentHeader(self._ensemble, self._server, number, after, mark)))
        await file.sync()
        await self._disk.sync(FOLDER)
        self._number += 1
        self.segments.append(Segment(number, after, mark, HEADER_SIZE, last=after, zxids=[], offsets=[]))
        return file

    async def _remove(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            await self._disk.remove(segment.path)
        if segments:
            await self._disk.sync(FOLDER)

    async def close(self) -> None:
        """Closes the file that is written."""
        await self.roll()
