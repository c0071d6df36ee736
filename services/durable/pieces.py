"""A file of pieces with an end: whole under its name, or not there.

    header | frame(PIECE + piece) ... | frame(END + what its writer says at the end)

A frame has a length and a checksum (`services/framing.py`). The bytes are synced every few megabytes, so that
the sync of a large file does not hold up a log on the same device.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING

from services.durable.errors import StorageRefused
from services.durable.headers import HEADER_SIZE
from services.durable.values import PART
from services.framing import HEADER as FRAME
from services.framing import frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Disk, File

CHUNK = 1 << 18  # bytes written at once
SYNC_EVERY = 1 << 22  # bytes
PIECE, END = b"\0", b"\1"


class Writer:
    """Writes one.

    Args:
        disk: where.
        path: its name, once it is whole.
        header: the first bytes, `HEADER_SIZE` of them.

    Attributes:
        path: as given.
        pieces: how many were put.
    """

    def __init__(self, disk: Disk, path: str, header: bytes) -> None:
        self.path = path
        self.pieces = 0
        self._disk = disk
        self._file: File | None = None
        self._waiting = [header]
        self._size = len(header)  # of what waits
        self._unsynced = 0

    async def add(self, piece: bytes) -> None:
        """Adds a piece.

        Raises:
            OSError: the disk fails.
        """
        if self.put(piece):
            await self.flush()

    def put(self, piece: bytes) -> bool:
        """Adds a piece without writing it; says whether it is time to `flush`."""
        self._waiting.append(frame(PIECE + piece))
        self._size += len(piece) + FRAME.size + 1
        self.pieces += 1
        return self._size >= CHUNK

    async def flush(self, *, sync: bool = False) -> None:
        """Writes what waits, and makes it durable now and then, or when told to."""
        if self._file is None:
            self._file = await self._disk.open(self.path + PART, "w")
        data = b"".join(self._waiting)
        self._waiting, self._size = [], 0
        await self._file.append(data)
        self._unsynced += len(data)
        if sync or self._unsynced >= SYNC_EVERY:
            await self._file.sync()
            self._unsynced = 0

    async def finish(self, end: bytes) -> None:
        """Makes it durable, and gives it its name."""
        self._waiting.append(frame(END + end))
        await self.flush(sync=True)
        assert self._file is not None
        await self._file.close()
        await self._disk.rename(self.path + PART, self.path)
        await self._disk.sync(self.path.rpartition("/")[0])

    async def abandon(self) -> None:
        """Closes and removes what has been written, if that can be done; else the next start does it."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                await self._file.close()
                await self._disk.remove(self.path + PART)


async def frames(disk: Disk, path: str) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yields what follows the header, `PIECE` or `END` and a content; the end alone is last.

    Raises:
        StorageRefused: it is damaged.
        OSError: it cannot be read.
    """
    file = await disk.open(path)
    try:
        size, start, data, at, tag = await file.size(), HEADER_SIZE, b"", 0, b""
        while tag != END:
            wanted = FRAME.size
            if len(data) - at >= wanted:
                wanted += FRAME.unpack_from(data, at)[0]
            if len(data) - at < wanted:
                if start - (len(data) - at) + wanted > size:
                    raise StorageRefused(f"{path} is damaged or cut short: it has no end")
                more = await file.read(max(wanted, 1 << 20), start)
                data, at, start = data[at:] + more, 0, start + len(more)
                if not more:
                    raise StorageRefused(f"{path} is damaged or cut short: it has no end")
                continue
            length, checksum = FRAME.unpack_from(data, at)
            content = data[at + FRAME.size : at + wanted]
            if not length or zlib.crc32(content) != checksum:
                raise StorageRefused(f"{path} is damaged at byte {start - len(data) + at}")
            at, tag = at + wanted, content[:1]
            yield tag, content[1:]
        if start - len(data) + at != size:
            raise StorageRefused(f"{path} is damaged: something follows its end")
    finally:
        await file.close()
