"""Reads traces and histories back: one record after the other, in constant memory.

A file may have lost the end of its last line, when the writer was killed; that is tolerated and
reported (`Records.cut_off`, `is_cut_off`). Anything else that is not a record is damage, and is named by file
and line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from protos.history import Operation
from protos.trace import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

R = TypeVar("R")

BLOCK = 1 << 20  # bytes read and decoded at once
NEWLINE = b"\n"
LINE_LIMIT = 64 << 20  # bytes of a line beyond which the file cannot be ours


class TraceError(Exception):
    """A trace or history that cannot be read; the text names the file, the line and the reason."""


class Records(Generic[R]):
    """The records of one file. Iterating reads the file from its start; it can be done again.

    Args:
        path: the file.
        type: what a line holds.

    Attributes:
        cut_off: after an iteration: the number of the last line when only its beginning was there
            (the writer was killed while it wrote), otherwise 0.
    """

    def __init__(self, path: Path, type: Any) -> None:
        self.path = path
        self.cut_off = 0
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(type)

    def __iter__(self) -> Iterator[R]:
        """Yields the records in the file's order.

        Raises:
            TraceError: the file is missing, unreadable or damaged.
        """
        self.cut_off = 0
        line = 1  # the number of the first line of `rest`
        rest = b""
        try:
            with self.path.open("rb") as file:
                while block := file.read(BLOCK):
                    end = block.rfind(b"\n") + 1
                    if not end:
                        rest += block
                        if len(rest) > LINE_LIMIT:
                            raise TraceError(f"{self.path}, line {line}: longer than any record is")
                        continue
                    whole = rest + block[:end]
                    rest = block[end:]
                    yield from self._decode(whole, line)
                    line += whole.count(b"\n")
        except OSError as error:
            raise TraceError(f"{self.path}: {error.strerror or error}") from None
        if rest.strip():
            try:
                yield self._decoder.decode(rest)  # whole but for its newline
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.cut_off = line

    def _decode(self, lines: bytes, first: int) -> list[R]:
        try:
            return self._decoder.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        for number, line in enumerate(lines.split(b"\n"), first):
            if line.strip():
                try:
                    self._decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise TraceError(f"{self.path}, line {number}: {error}") from None
        raise TraceError(f"{self.path}: damaged between lines {first} and {first + lines.count(NEWLINE)}")


def is_cut_off(path: Path) -> bool:
    """Says whether a file of records ends in the middle of a line; reads no more than that line.

    Returns False for a file that is missing or cannot be read: whoever reads it whole says so.
    """
    try:
        with path.open("rb") as file:
            at = file.seek(0, 2)
            line = b""
            while at and b"\n" not in line and len(line) <= LINE_LIMIT:
                start = max(0, at - BLOCK)
                file.seek(start)
                line = file.read(at - start) + line
                at = start
    except OSError:
        return False
    line = line[line.rfind(b"\n") + 1 :]
    if not line.strip():
        return False
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True
    return False


def read_trace(path: Path) -> Records[TraceEvent]:
    """Returns the events of a trace, in the order in which they were written (by `time`)."""
    return Records(path, TraceEvent)


def read_history(path: Path) -> Records[Operation]:
    """Returns the operation events of a history, in the order of their `index`."""
    return Records(path, Operation)
