"""Reading the log through, once at the start: whether it is whole, where it ends, what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.storage.errors import CURE
from services.coordination.storage.format import BATCHES, SegmentHeader
from services.coordination.storage.log import Segment
from services.durable.errors import StorageRefused
from services.durable.headers import HEADER_SIZE

if TYPE_CHECKING:
    from services.coordination.storage.format import Batch
    from services.host import Disk, File


class Scan:
    """What a log holds. Transactions are not decoded: their batches say enough.

    Args:
        base: the zxid of the snapshot, 0 when there is none; what comes before it is only taken down.

    Attributes:
        segments: all of them, in order.
        last: the last zxid.
        epochs: the last zxid of each epoch, from the snapshot on.
        reconfigurations: what makes a configuration, after the snapshot, by zxid.
    """

    def __init__(self, base: int) -> None:
        self.segments: list[Segment] = []
        self.last = self._base = base
        self.epochs = {base >> 32: base} if base else {}
        self.reconfigurations: dict[int, str] = {}

    async def read(self, disk: Disk, headers: list[SegmentHeader], upto: int, repaired: list[str]) -> None:
        """Reads the segments.

        Args:
            disk: where they are.
            headers: of those that follow each other up to the last.
            upto: what the log must reach, because a snapshot may show it.
            repaired: gets what was put in order.

        Raises:
            StorageRefused: it is damaged.
        """
        first = max((at for at, header in enumerate(headers) if header.after <= self._base), default=0)
        for at, header in enumerate(headers):
            segment = Segment(header.number, header.after, header.mark, None, last=header.after)
            if at > first and header.after > self.segments[-1].last:
                before = self.segments[-1]
                raise StorageRefused(
                    f"{segment.path} continues after {header.after:x}, "
                    f"but {before.path} ends at {before.last:x}; {CURE}"
                )
            self._cut(header.after)
            self.segments.append(segment)
            if at < first:
                continue
            last = at == len(headers) - 1
            file = await disk.open(segment.path, "a" if last else "r")
            try:
                await self._read(file, segment)
                if last:
                    await self._end(file, segment, upto, repaired)
                elif await file.size() != segment.end:
                    raise _damaged(segment)
            finally:
                await file.close()
        if self.segments:
            self.last = self.segments[-1].last

    def _cut(self, zxid: int) -> None:
        """Forgets what a segment that continues after `zxid` makes void."""
        for segment in self.segments:
            segment.limit = min(segment.limit, zxid)
        for epoch in [epoch for epoch, last in self.epochs.items() if last > zxid]:
            if epoch == zxid >> 32:
                self.epochs[epoch] = zxid
            else:
                del self.epochs[epoch]
        for void in [one for one in self.reconfigurations if one > zxid]:
            del self.reconfigurations[void]

    async def _read(self, file: File, segment: Segment) -> None:
        segment.end = HEADER_SIZE
        async for batch in BATCHES.scan(file, segment.mark, HEADER_SIZE, await file.size()):
            if batch.first <= segment.last or batch.last < batch.first:
                raise StorageRefused(f"{segment.path} is out of order at byte {batch.start}; {CURE}")
            segment.note(batch.start, batch.end, batch.last)
            if batch.last > self._base:
                self.epochs[batch.last >> 32] = batch.last
                self._reconfigurations(batch)

    def _reconfigurations(self, batch: Batch) -> None:
        if batch.reconfigurations:
            for zxid, _, members in batch.records():
                if members and zxid > self._base:
                    self.reconfigurations[zxid] = members

    async def _end(self, file: File, segment: Segment, upto: int, repaired: list[str]) -> None:
        """Makes sure of the last segment's end."""
        assert segment.end is not None
        if segment.last < upto:
            raise StorageRefused(
                f"the log ends at {segment.last:x}, but a snapshot shows {upto:x}: a part is missing; {CURE}"
            )
        torn = await BATCHES.mend(file, segment.mark, segment.final, segment.end)
        if torn < 0:
            raise _damaged(segment)
        if torn:
            repaired.append(
                f"{segment.path} had a torn end: {torn} bytes after zxid {segment.last:x}, "
                "of a write that nobody was told of (unless the disk lost its end), are cut off"
            )


def _damaged(segment: Segment) -> StorageRefused:
    return StorageRefused(
        f"{segment.path} is damaged at byte {segment.end}, after zxid {segment.last:x}: "
        f"what was acknowledged is lost here; {CURE}"
    )
