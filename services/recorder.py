"""Writes records as JSON lines, in constant memory, and digests what it wrote.

Used for traces and histories, by real nodes and by the simulated world alike.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCH = 2048  # records encoded at once: large enough to amortize, small enough to forget


class Recorder:
    """An append-only stream of records.

    Args:
        path: the file to write, or None to digest only.
        keep: called with each batch before it is forgotten (a live view, a test).

    Attributes:
        append: does what `write` does, but leaves it to the next `write` to look whether the batch is full.

    Raises:
        OSError: from `flush` and `close`, when the file cannot be written.
    """

    def __init__(self, path: Path | None = None, keep: Callable[[list[Any]], None] | None = None) -> None:
        self._file: BinaryIO | None = path.open("wb") if path is not None else None
        self._keep = keep
        self._encode = msgspec.json.Encoder().encode_lines
        self._digest = hashlib.sha256()
        self._batch: list[Any] = []
        self.append = self._batch.append
        self._count = 0
        self._bytes = 0

    def write(self, record: Any) -> None:
        """Appends one record (a `msgspec.Struct`)."""
        batch = self._batch
        batch.append(record)
        if len(batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hands what is buffered to the file and to the digest."""
        batch = self._batch
        if not batch:
            return
        data = self._encode(batch)
        self._digest.update(data)
        if self._file is not None:
            self._file.write(data)
            self._file.flush()
        if self._keep is not None:
            self._keep(list(batch))
        self._count += len(batch)
        self._bytes += len(data)
        batch.clear()

    def close(self) -> None:
        """Flushes and closes the file; a second call does nothing."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def count(self) -> int:
        """Records written so far."""
        return self._count + len(self._batch)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of every byte written so far."""
        self.flush()
        return self._digest.hexdigest()
