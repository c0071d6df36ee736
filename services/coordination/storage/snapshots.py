"""Snapshots: written piece by piece, and whole or not there.

    header | frame(PIECE + piece) ... | frame(END + SnapshotEnd)

A frame has a length and a checksum (`services/framing.py`). The bytes are synced every few megabytes, so that
the sync of a large snapshot does not hold up the log where both are on one device.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from services.coordination.storage.durable import PART
from services.coordination.storage.errors import StorageRefused
from services.coordination.storage.format import (
    HEADER_SIZE,
    SnapshotEnd,
    SnapshotHeader,
    read_header,
    write_header,
)
from services.framing import HEADER as FRAME
from services.framing import frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Disk, File

FOLDER = "data"
CHUNK = 1 << 18  # bytes written at once
SYNC_EVERY = 1 << 22  # bytes
_NAME = re.compile(r"snapshot-(\d{8,})-([0-9a-f]{16})")
_PIECE, _END = b"\0", b"\1"


class Snapshot(Struct, frozen=True, order=True):
    """A snapshot on the disk: `since` which segment the log belongs to it, and as of which zxid it is."""

    since: int
    zxid: int

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{FOLDER}/snapshot-{self.since:08d}-{self.zxid:016x}"


def snapshots(names: list[str]) -> list[Snapshot]:
    """Returns the snapshots among the names in the folder, the newest last."""
    found = [match for match in map(_NAME.fullmatch, names) if match is not None]
    return sorted(Snapshot(int(match[1]), int(match[2], 16)) for match in found)


class SnapshotWriter:
    """Writes one.

    Args:
        disk: where.
        snapshot: which.
        ensemble, server: whose.
    """

    def __init__(self, disk: Disk, snapshot: Snapshot, ensemble: str, server: int) -> None:
        self.snapshot = snapshot
        self._disk = disk
        self._file: File | None = None
        self._waiting = [write_header(SnapshotHeader(ensemble, server, snapshot.since, snapshot.zxid))]
        self._size = HEADER_SIZE  # of what waits
        self._unsynced = 0
        self._pieces = 0

    async def add(self, piece: bytes) -> None:
        """Adds a piece.

        Raises:
            OSError: the disk fails.
        """
        if self.put(piece):
            await self.flush()

    def put(self, piece: bytes) -> bool:
        """Adds a piece without writing it; says whether it is time to `flush`."""
        self._waiting.append(frame(_PIECE + piece))
        self._size += len(piece) + FRAME.size + 1
        self._pieces += 1
        return self._size >= CHUNK

    async def flush(self, *, sync: bool = False) -> None:
        """Writes what waits, and makes it durable now and then, or when told to."""
        if self._file is None:
            self._file = await self._disk.open(self.snapshot.path + PART, "w")
        data = b"".join(self._waiting)
        self._waiting, self._size = [], 0
        await self._file.append(data)
        self._unsynced += len(data)
        if sync or self._unsynced >= SYNC_EVERY:
            await self._file.sync()
            self._unsynced = 0

    async def finish(self, upto: int, members: str) -> None:
        """Makes it durable, and gives it its name.

        Args:
            upto: the last transaction that the state may show; the log holds it, durably.
            members: the configuration as of the snapshot's zxid.
        """
        end = msgspec.msgpack.encode(SnapshotEnd(self._pieces, upto, members))
        self._waiting.append(frame(_END + end))
        await self.flush(sync=True)
        assert self._file is not None
        await self._file.close()
        await self._disk.rename(self.snapshot.path + PART, self.snapshot.path)
        await self._disk.sync(FOLDER)

    async def abandon(self) -> None:
        """Closes and removes what has been written, if that can be done; else the next start does it."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                await self._file.close()
                await self._disk.remove(self.snapshot.path + PART)


async def read_pieces(disk: Disk, snapshot: Snapshot) -> AsyncIterator[bytes]:
    """Yields the pieces of a snapshot.

    Raises:
        StorageRefused: it is damaged.
        OSError: it cannot be read.
    """
    async for tag, content in _frames(disk, snapshot):
        if tag == _PIECE:
            yield content


async def verify(disk: Disk, snapshot: Snapshot) -> tuple[SnapshotHeader, SnapshotEnd]:
    """Returns what a snapshot says of itself.

    Raises:
        StorageRefused: it is damaged.
        OSError: it cannot be read.
    """
    file = await disk.open(snapshot.path)
    try:
        header = read_header(await file.read(HEADER_SIZE), SnapshotHeader, snapshot.path)
    finally:
        await file.close()
    if header is None:
        raise StorageRefused(f"{snapshot.path} is damaged in its header")
    pieces = 0
    async for tag, content in _frames(disk, snapshot):
        if tag == _PIECE:
            pieces += 1
            continue
        try:
            end = msgspec.msgpack.decode(content, type=SnapshotEnd)
        except msgspec.DecodeError as exc:
            raise StorageRefused(f"{snapshot.path} is damaged at its end: {exc}") from None
        if end.pieces == pieces and (header.since, header.zxid) == (snapshot.since, snapshot.zxid):
            return header, end
    raise StorageRefused(f"{snapshot.path} is damaged: it is not what its name and its end say")


async def _frames(disk: Disk, snapshot: Snapshot) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yields the frames, the end and nothing else as the last.

    Raises:
        StorageRefused: it is damaged.
    """
    file = await disk.open(snapshot.path)
    try:
        size, start, data, at, tag = await file.size(), HEADER_SIZE, b"", 0, b""
        while tag != _END:
            wanted = FRAME.size
            if len(data) - at >= wanted:
                wanted += FRAME.unpack_from(data, at)[0]
            if len(data) - at < wanted:
                if start - (len(data) - at) + wanted > size:
                    raise StorageRefused(f"{snapshot.path} is damaged or cut short: it has no end")
                more = await file.read(max(wanted, 1 << 20), start)
                data, at, start = data[at:] + more, 0, start + len(more)
                if not more:
                    raise StorageRefused(f"{snapshot.path} is damaged or cut short: it has no end")
                continue
            length, checksum = FRAME.unpack_from(data, at)
            content = data[at + FRAME.size : at + wanted]
            if not length or zlib.crc32(content) != checksum:
                raise StorageRefused(f"{snapshot.path} is damaged at byte {start - len(data) + at}")
            at, tag = at + wanted, content[:1]
            yield tag, content[1:]
        if start - len(data) + at != size:
            raise StorageRefused(f"{snapshot.path} is damaged: something follows its end")
    finally:
        await file.close()
