"""A chunk as a file on a chunkserver's disk: its bytes, then a CRC-32 of each block of 64 KiB, then a footer.

A chunk never changes. It is written under a draft's name, synced, and renamed; so a chunk that is there is
whole, and what its checksums do not fit has rotted since.
"""

from __future__ import annotations

import contextlib
import zlib
from array import array
from struct import Struct as Layout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Disk, File

BLOCK = 64 << 10
PIECE = 1 << 20
"""Bytes of a chunk that are read, and sent, at once; a multiple of `BLOCK`."""

_FOOTER = Layout("<8sQQI")  # magic, chunk, size, CRC-32 of checksums and chunk and size
_MAGIC = b"dschunk1"
_FOLDER = "chunks"
_DRAFT = ".part"


class Corrupt(Exception):
    """A chunk's bytes are not those that were written."""


class Draft:
    """A chunk that is being written."""

    def __init__(self, blocks: Blocks, chunk: int, file: File) -> None:
        self.size = 0
        self._blocks = blocks
        self._chunk = chunk
        self._file = file
        self._checksums = array("I")
        self._open = 0  # CRC-32 of the last block so far

    async def append(self, data: bytes) -> None:
        """Adds bytes."""
        view = memoryview(data)
        while view:
            inside = self.size % BLOCK
            some = view[: BLOCK - inside]
            self._open = zlib.crc32(some, self._open if inside else 0)
            self.size += len(some)
            if self.size % BLOCK == 0:
                self._checksums.append(self._open)
            view = view[len(some) :]
        await self._file.append(data)

    async def finish(self) -> None:
        """Makes the chunk durable, and there."""
        if self.size % BLOCK:
            self._checksums.append(self._open)
        sums = self._checksums.tobytes()
        about = zlib.crc32(b"%d %d" % (self._chunk, self.size), zlib.crc32(sums))
        await self._file.append(sums + _FOOTER.pack(_MAGIC, self._chunk, self.size, about))
        await self._file.sync()
        await self._file.close()
        await self._blocks.keep(self._chunk, self.size, self._checksums)

    async def discard(self) -> None:
        """Gives it up, also in the middle of `finish`."""
        await self._file.close()
        await self._blocks.remove(self._chunk, _DRAFT)
        await self._blocks.remove(self._chunk)


class Blocks:
    """The chunks on a disk.

    Attributes:
        chunks: those that are there, with their sizes (-1 until somebody looks).
    """

    def __init__(self, disk: Disk) -> None:
        self.chunks: dict[int, int] = {}
        self._disk = disk
        self._checksums: dict[int, array[int]] = {}

    async def load(self) -> None:
        """Finds what is there; drafts that a crash has left go."""
        for name in await self._disk.list(_FOLDER):
            if name.endswith(_DRAFT):
                await self._disk.remove(f"{_FOLDER}/{name}")
            else:
                self.chunks[int(name, 16)] = -1

    async def draft(self, chunk: int) -> Draft:
        """Begins a chunk."""
        return Draft(self, chunk, await self._disk.open(_path(chunk) + _DRAFT, "w"))

    async def keep(self, chunk: int, size: int, checksums: array[int]) -> None:
        """Gives a draft, which is durable, its name."""
        await self._disk.rename(_path(chunk) + _DRAFT, _path(chunk))
        await self._disk.sync(_FOLDER)
        self.chunks[chunk] = size
        self._checksums[chunk] = checksums

    async def remove(self, chunk: int, kind: str = "") -> None:
        """Removes a chunk or a draft; none there is fine."""
        if not kind:
            self.chunks.pop(chunk, None)
            self._checksums.pop(chunk, None)
        with contextlib.suppress(FileNotFoundError):
            await self._disk.remove(_path(chunk) + kind)

    async def read(self, chunk: int, offset: int = 0, size: int = -1) -> AsyncIterator[bytes]:
        """Yields a part of a chunk, each block checked.

        Raises:
            FileNotFoundError: it is not here.
            Corrupt: it is not what was written.
        """
        file = await self._disk.open(_path(chunk))
        try:
            checksums = await self._look(chunk, file)
            whole = self.chunks[chunk]
            end = whole if size < 0 else min(whole, offset + size)
            start = offset - offset % BLOCK
            while start < end:
                upto = min(whole, start + PIECE, -(-end // BLOCK) * BLOCK)
                data = await file.read(upto - start, start)
                _check(data, upto - start, checksums, start, chunk)
                yield data[max(0, offset - start) : end - start]
                start = upto
        finally:
            await file.close()

    async def verify(self, chunk: int) -> None:
        """Reads all of a chunk, its checksums too, from the disk.

        Raises:
            FileNotFoundError, Corrupt: as `read`.
        """
        self._checksums.pop(chunk, None)
        async for _ in self.read(chunk):
            pass

    async def _look(self, chunk: int, file: File) -> array[int]:
        """Returns a chunk's checksums."""
        known = self._checksums.get(chunk)
        if known is not None:
            return known
        length = await file.size()
        footer = await file.read(_FOOTER.size, max(0, length - _FOOTER.size))
        if len(footer) < _FOOTER.size:
            raise Corrupt(f"chunk {chunk:x} has no footer")
        magic, number, size, crc = _FOOTER.unpack(footer)
        count = -(-size // BLOCK)
        if magic != _MAGIC or number != chunk or length != size + 4 * count + _FOOTER.size:
            raise Corrupt(f"chunk {chunk:x} has a damaged footer")
        sums = await file.read(4 * count, size)
        if zlib.crc32(b"%d %d" % (chunk, size), zlib.crc32(sums)) != crc:
            raise Corrupt(f"chunk {chunk:x} has damaged checksums")
        checksums = array("I")
        checksums.frombytes(sums)
        if chunk in self.chunks:
            self.chunks[chunk] = size
            self._checksums[chunk] = checksums
        return checksums


def _check(data: bytes, size: int, checksums: array[int], start: int, chunk: int) -> None:
    if len(data) != size:
        raise Corrupt(f"chunk {chunk:x} ends at {start + len(data)}")
    view = memoryview(data)
    for at in range(0, size, BLOCK):
        if zlib.crc32(view[at : at + BLOCK]) != checksums[(start + at) // BLOCK]:
            raise Corrupt(f"chunk {chunk:x} is damaged at {start + at}")


def _path(chunk: int) -> str:
    return f"{_FOLDER}/{chunk:016x}"
