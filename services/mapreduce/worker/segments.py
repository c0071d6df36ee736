"""Files on a reduce worker's disk that regions are collected in, whole ones only."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from services.host import Disk, File


class Segment:
    """A file that whole regions are appended to. What was appended of a region that broke off is cut off
    again.

    Args:
        disk: where.
        path: its name.

    Attributes:
        size: bytes of whole regions.
        checksum: CRC-32 of the region that has begun, so far.
    """

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self.path = path
        self.size = 0
        self.checksum = 0
        self._partial = 0
        self._file: File | None = None

    @property
    def partial(self) -> int:
        """Bytes of the region that has begun."""
        return self._partial

    async def append(self, data: bytes) -> None:
        """Adds bytes of the region that has begun.

        Raises:
            OSError: the disk is full, or fails.
        """
        if self._file is None:
            self._file = await self._disk.open(self.path, "w")
        self.checksum = crc32(data, self.checksum)
        self._partial += len(data)  # before it is written: a failed write may leave some
        await self._file.append(data)

    def keep(self) -> None:
        """The region is whole."""
        self.size += self._partial
        self._partial = self.checksum = 0

    async def cut(self) -> None:
        """Takes back what was appended of the region that has begun."""
        if self._partial and self._file is not None:
            await self._file.truncate(self.size)
        self._partial = self.checksum = 0

    async def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            file, self._file = self._file, None
            await file.close()
