"""The log of one replica, on its disk.

Each entry is framed by its length and a checksum, so that a write torn by a crash is seen for what it
is. Memory holds only what is durable: an entry is in `entries` once its bytes are synced, and
not before. After any failure the file is not to be trusted (a failed sync may have lost bytes that the
page cache still shows), so it is written anew from memory before anything is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos import log_pb2 as pb
from services.framing import frame, unframe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.host import Disk, File

FILE = "log"


class Log:
    """Entries by position, durable. One caller at a time may change it.

    Attributes:
        entries: all of them.
    """

    def __init__(self, disk: Disk) -> None:
        self.entries: list[pb.Entry] = []
        self._disk = disk
        self._file: File | None = None  # None: not to be trusted
        self._positions: dict[tuple[str, int], int] = {}

    async def load(self) -> None:
        """Reads what the disk holds, up to the first damage, and makes sure of it.

        Raises:
            OSError: the disk fails; may be called again.
        """
        data = b""
        if await self._disk.exists(FILE):
            file = await self._disk.open(FILE)
            data = await file.read()
            await file.close()
        await self._rewrite(_unframe(data))

    async def append(self, entries: Sequence[pb.Entry]) -> None:
        """Adds entries; they are durable on return.

        Raises:
            OSError: the disk fails; the log is as it was.
        """
        if self._file is None:
            await self._rewrite(self.entries)
        file, self._file = self._file, None
        assert file is not None
        await file.append(_frame(entries))
        await file.sync()
        self._file = file
        for entry in entries:
            self._add(entry)

    async def cut(self, length: int) -> None:
        """Drops what lies beyond `length` entries.

        Raises:
            OSError: the disk fails; the log is as it was.
        """
        await self._rewrite(self.entries[:length])

    def find(self, client: str, request: int) -> int | None:
        """Returns the position of a client's request, if it is in the log."""
        return self._positions.get((client, request))

    async def _rewrite(self, entries: list[pb.Entry]) -> None:
        """Replaces the file in one step: the old one or the new one survives a crash, never a mixture."""
        self._file = None
        draft = await self._disk.open(FILE + ".draft", "w")
        await draft.append(_frame(entries))
        await draft.sync()
        await draft.close()
        await self._disk.rename(FILE + ".draft", FILE)
        await self._disk.sync()
        self._file = await self._disk.open(FILE, "a")
        self.entries = []
        self._positions.clear()
        for entry in entries:
            self._add(entry)

    def _add(self, entry: pb.Entry) -> None:
        key = (entry.client, entry.request)
        assert key not in self._positions, f"request {key} is in the log twice"
        self._positions[key] = len(self.entries)
        self.entries.append(entry)


def _frame(entries: Iterable[pb.Entry]) -> bytes:
    return b"".join(frame(entry.SerializeToString()) for entry in entries)


def _unframe(data: bytes) -> list[pb.Entry]:
    return [pb.Entry.FromString(record) for record in unframe(data)]
