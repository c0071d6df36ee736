"""A master's memory on its disk: a checkpoint, and a journal of the changes since.

`journal-K` holds the changes after `checkpoint-K`. One sync covers all changes that wait for it. When the
journal has grown, and whenever anything about it fails, a whole new checkpoint is written under the next
number, and only then is anything acknowledged again: a file whose sync has failed is never trusted again.

A crash leaves a journal whose last record may be torn: it ends there. A damaged record with a whole one
behind it is no torn end but a rotten disk, and the master refuses to start rather than forget what it
acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections import deque
from struct import Struct as Layout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.host import Disk, File

LIMIT = 4 << 20
"""Bytes of journal after which a new checkpoint is written."""

_RETRY = 0.5  # seconds between attempts when the disk fails
_HEAD = Layout("<4sII")  # magic, length, CRC-32
_MAGIC = b"dsJ\x01"

log = logging.getLogger(__name__)


class JournalDamaged(Exception):
    """The disk has lost what was once durable; names the file."""


class Journal:
    """The memory.

    Args:
        disk: where it is.
        folder: in which folder there.
    """

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._number = 0
        self._file: File | None = None
        self._size = 0
        self._queue: list[bytes] = []
        self._appended = 0
        self._durable = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()

    async def load(self) -> tuple[bytes, list[bytes]]:
        """Returns the latest checkpoint (b"" when there is none) and the records since.

        Raises:
            JournalDamaged: something that was durable is not there.
        """
        names = await self._disk.list(self._folder)
        numbers = [
            int(name[11:]) for name in names if name.startswith("checkpoint-") and name[11:].isdecimal()
        ]
        drafts = [int(name[11:-5]) for name in names if name.endswith(".part") and name[11:-5].isdecimal()]
        logs = [int(name[8:]) for name in names if name.startswith("journal-") and name[8:].isdecimal()]
        latest = max(numbers, default=0)
        self._number = max([*numbers, *drafts, *logs], default=0)
        if not numbers:
            return b"", []
        path = f"{self._folder}/checkpoint-{latest}"
        whole, rest = _split(await self._read(path))
        if len(whole) != 1 or rest:
            raise JournalDamaged(f"{path} is damaged")
        path = f"{self._folder}/journal-{latest}"
        if not await self._disk.exists(path):
            return whole[0], []
        records, rest = _split(await self._read(path))
        start = rest.find(_MAGIC, 1)
        while start > 0:
            if _split(rest[start:])[0]:
                raise JournalDamaged(f"{path} is damaged after record {len(records)}, in the middle")
            start = rest.find(_MAGIC, start + 1)
        return whole[0], records

    async def _read(self, path: str) -> bytes:
        file = await self._disk.open(path)
        try:
            return await file.read()
        finally:
            await file.close()

    def append(self, record: bytes) -> None:
        """Adds a record; `durable` tells when it is safe."""
        self._queue.append(_frame(record))
        self._appended += 1
        self._wake.set()

    async def durable(self) -> None:
        """Returns when all that has been appended is durable."""
        if self._durable >= self._appended:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((self._appended, future))
        await future

    async def run(self, snapshot: Callable[[], bytes], ready: asyncio.Event) -> None:
        """Writes what is appended, until cancelled.

        Args:
            snapshot: returns the state with all that has been appended.
            ready: set when the first checkpoint is durable.
        """
        while True:
            try:
                if self._file is None or self._size > LIMIT:
                    upto = await self._checkpoint(snapshot)
                else:
                    upto = await self._flush(self._file)
            except OSError as exc:
                log.warning("the master's disk: %s", exc)
                await self._give_up()
                await asyncio.sleep(_RETRY)
                continue
            ready.set()
            self._durable = max(self._durable, upto)
            while self._waiting and self._waiting[0][0] <= upto:
                _, future = self._waiting.popleft()
                if not future.done():
                    future.set_result(None)
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()

    async def _flush(self, file: File) -> int:
        upto, data = self._appended, b"".join(self._queue)
        self._queue = []
        await file.append(data)
        await file.sync()
        self._size += len(data)
        return upto

    async def _checkpoint(self, snapshot: Callable[[], bytes]) -> int:
        self._number += 1
        number, upto = self._number, self._appended
        self._queue = []  # the snapshot has them
        state = _frame(snapshot())
        name = f"{self._folder}/checkpoint-{number}"
        draft = await self._disk.open(f"{name}.part", "w")
        try:
            await draft.append(state)
            await draft.sync()
        finally:
            await draft.close()
        journal = await self._disk.open(f"{self._folder}/journal-{number}", "w")
        await journal.sync()
        await self._disk.rename(f"{name}.part", name)
        await self._disk.sync(self._folder)
        await self._give_up()
        self._file, self._size = journal, 0
        await self._tidy(number)
        return upto

    async def _give_up(self) -> None:
        """Closes the present journal for good."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                await file.close()

    async def _tidy(self, number: int) -> None:
        """Removes what an older checkpoint needed; what stays is removed with the next one."""
        with contextlib.suppress(OSError):
            for name in await self._disk.list(self._folder):
                if name not in (f"checkpoint-{number}", f"journal-{number}"):
                    await self._disk.remove(f"{self._folder}/{name}")


def _frame(record: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, len(record), zlib.crc32(record)) + record


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Returns the whole records at the beginning, and what is behind them."""
    records = []
    start = 0
    while start + _HEAD.size <= len(data):
        magic, size, crc = _HEAD.unpack_from(data, start)
        record = data[start + _HEAD.size : start + _HEAD.size + size]
        if magic != _MAGIC or len(record) != size or zlib.crc32(record) != crc:
            break
        records.append(record)
        start += _HEAD.size + size
    return records, data[start:]
