"""Snapshots: files of pieces (`services/durable/pieces.py`), and what their names and ends say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from services.coordination.storage.format import SnapshotEnd, SnapshotHeader
from services.durable.errors import StorageRefused
from services.durable.headers import HEADER_SIZE, read_header, write_header
from services.durable.pieces import PIECE, Writer, frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Disk

FOLDER = "data"
_NAME = re.compile(r"snapshot-(\d{8,})-([0-9a-f]{16})")


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
        header = write_header(SnapshotHeader(ensemble, server, snapshot.since, snapshot.zxid))
        self._writer = Writer(disk, snapshot.path, header)
        self.add, self.put = self._writer.add, self._writer.put
        self.flush, self.abandon = self._writer.flush, self._writer.abandon

    async def finish(self, upto: int, members: str) -> None:
        """Makes it durable, and gives it its name.

        Args:
            upto: the last transaction that the state may show; the log holds it, durably.
            members: the configuration as of the snapshot's zxid.
        """
        await self._writer.finish(msgspec.msgpack.encode(SnapshotEnd(self._writer.pieces, upto, members)))


async def read_pieces(disk: Disk, snapshot: Snapshot) -> AsyncIterator[bytes]:
    """Yields the pieces of a snapshot.

    Raises:
        StorageRefused: it is damaged.
        OSError: it cannot be read.
    """
    async for tag, content in frames(disk, snapshot.path):
        if tag == PIECE:
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
    async for tag, content in frames(disk, snapshot.path):
        if tag == PIECE:
            pieces += 1
            continue
        try:
            end = msgspec.msgpack.decode(content, type=SnapshotEnd)
        except msgspec.DecodeError as exc:
            raise StorageRefused(f"{snapshot.path} is damaged at its end: {exc}") from None
        if end.pieces == pieces and (header.since, header.zxid) == (snapshot.since, snapshot.zxid):
            return header, end
    raise StorageRefused(f"{snapshot.path} is damaged: it is not what its name and its end say")
