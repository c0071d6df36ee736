"""A log's batches: what one write appended and one sync made durable.

The frame of a batch starts with the *mark* of its file, four bytes drawn by chance: a batch found by its mark
and checksum behind a damaged one was really written there, and is no image of one in a client's data. One
writer appends one batch at a time, the next only after the sync: so a damaged batch with a whole one behind
it was durable once, and is damage; without, it is the torn end of a write that nobody was told of.
"""

from __future__ import annotations

import zlib
from struct import Struct as Layout
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from services.durable.headers import HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from services.host import File

CHUNK = 1 << 20  # bytes read at once


class Place(Protocol):
    """Where a batch stands in its file."""

    @property
    def end(self) -> int:
        """The offset behind it."""
        ...


B = TypeVar("B", bound=Place)


class Framing(Generic[B]):
    """Batches of one kind of log.

    Args:
        about: layout of what the head of a batch says of its payload, beside the length, as of `struct`.
        make: makes a batch, not yet decoded, of its start, its end, what its head says, and its payload.

    Attributes:
        overhead: bytes of a batch beside its payload.
    """

    def __init__(self, about: str, make: Callable[..., B]) -> None:
        self._head = Layout(f"<4sII{about}")  # mark, length of the payload, CRC-32 of all the rest
        self._rest = Layout(f"<4sI{about}")  # what the checksum covers besides the payload
        self._make = make
        self.overhead = self._head.size

    def write(self, mark: bytes, payload: bytes, *about: int) -> bytes:
        """Returns a batch as it stands in the file."""
        length = len(payload)
        checksum = zlib.crc32(payload, zlib.crc32(self._rest.pack(mark, length, *about)))
        return self._head.pack(mark, length, checksum, *about) + payload

    def read(self, mark: bytes, data: bytes, base: int = 0) -> Iterator[B]:
        """Yields the batches at the start of `data`, up to the first that is not whole.

        Args:
            mark: of the file.
            data: from the file.
            base: where in the file.
        """
        at, size, view = 0, len(data), memoryview(data)
        while at + self.overhead <= size:
            found, length, checksum, *about = self._head.unpack_from(data, at)
            end = at + self.overhead + length
            if found != mark or end > size:
                return
            payload = view[at + self.overhead : end]
            if zlib.crc32(payload, zlib.crc32(self._rest.pack(mark, length, *about))) != checksum:
                return
            yield self._make(base + at, base + end, *about, payload)
            at = end

    def size(self, mark: bytes, data: bytes) -> int | None:
        """Returns how long the batch at the start of `data` says it is, or None when there is none."""
        if len(data) < self.overhead or data[:4] != mark:
            return None
        return self.overhead + int(self._head.unpack_from(data)[1])

    def find(self, mark: bytes, data: bytes) -> int:
        """Returns where in `data` a whole batch starts, -1 when there is none."""
        at = data.find(mark)
        while at >= 0:
            size = self.size(mark, data[at : at + self.overhead])
            if size is not None and next(self.read(mark, data[at : at + size]), None) is not None:
                return at
            at = data.find(mark, at + 1)
        return -1

    async def scan(self, file: File, mark: bytes, start: int, end: int) -> AsyncIterator[B]:
        """Yields the batches of an open file from `start`, up to the first that is not whole."""
        size = CHUNK
        while start < end:
            data = await file.read(min(size, end - start), start)
            begun = start
            for batch in self.read(mark, data, start):
                start = batch.end
                yield batch
            if start == begun:
                wanted = self.size(mark, data[: self.overhead])
                if wanted is None or wanted <= len(data) or start + wanted > end:
                    return
                size = wanted
            else:
                size = CHUNK

    async def mend(self, file: File, mark: bytes, final: int, end: int) -> int:
        """Makes sure of the end of the last file of a log: a torn end is cut off.

        What a failed sync left in the cache is not on the disk: the last batch is written again, to count.

        Args:
            file: open for writing.
            mark: its mark.
            final: where its last whole batch starts, or `HEADER_SIZE`.
            end: where that ends.

        Returns:
            how many bytes were cut off; -1: none, since a whole batch is behind `end`, which is damaged.
        """
        torn = await file.size() - end
        if torn:
            if self.find(mark, (await file.read(torn, end))[1:]) >= 0:
                return -1
            await file.truncate(end)
        await file.write(await file.read(HEADER_SIZE, 0), 0)
        await file.write(await file.read(end - final, final), final)
        await file.sync()
        return torn
