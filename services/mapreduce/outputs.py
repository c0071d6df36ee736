"""Output types (4.4): how pairs become the bytes of a part file, and are read back.

For one's own, subclass `Output`: `encode` gets many pairs at a time.
"""

from __future__ import annotations

import gzip
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import msgspec

from services.files.api import Range
from services.mapreduce.hints import key_bytes
from services.mapreduce.inputs import LENGTH, SequenceInput, Text, open_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from services.child import Storage

PART = "part"
"""What the names of a job's own output files begin with."""

_PLAIN = frozenset((str, int, float, bool))
_BYTES = frozenset((bytes,))


class Output:
    """A kind of output file.

    Attributes:
        suffix: of file names: `part-00000` and this. Files that end in ".gz" are compressed.
    """

    suffix = ""

    def encode(self, pairs: Sequence[tuple[Any, Any]]) -> bytes:
        """Returns the bytes of some pairs; a file's bytes are what this gave for its pairs, joined.

        Raises:
            TypeError, ValueError: a pair cannot be written.
        """
        raise NotImplementedError

    def read(self, path: str, files: Storage, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        """Yields the pairs of a file, by the types that the job's hints name (Any: unknown)."""
        raise NotImplementedError


class TextOutput(Output):
    """Lines "key TAB value": str and bytes as they are, numbers as Python prints them, all else as JSON.

    Args:
        compress: write `.gz` files.
    """

    def __init__(self, *, compress: bool = False) -> None:
        self.suffix = ".gz" if compress else ""

    def encode(self, pairs: Sequence[tuple[Any, Any]]) -> bytes:
        """Lines."""
        kinds = {type(item) for pair in pairs for item in pair}
        if kinds <= _PLAIN:
            return "".join([f"{key}\t{value}\n" for key, value in pairs]).encode("utf-8", "surrogateescape")
        if kinds == _BYTES:
            return b"".join([b"%b\t%b\n" % pair for pair in pairs])
        return b"".join([b"%b\t%b\n" % (as_text(key), as_text(value)) for key, value in pairs])

    def read(self, path: str, files: Storage, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        """Splits lines at their first tab."""
        for line in _lines(path, files):
            first, _, second = line.partition(b"\t")
            yield from_text(first, key), from_text(second, value)


class ValuesOutput(Output):
    """Lines that hold the value alone.

    Args:
        compress: write `.gz` files.
        newline: end each with a newline; without, values follow each other.
    """

    def __init__(self, *, compress: bool = False, newline: bool = True) -> None:
        self.suffix = ".gz" if compress else ""
        self.newline = newline

    def encode(self, pairs: Sequence[tuple[Any, Any]]) -> bytes:
        """Lines."""
        end = b"\n" if self.newline else b""
        return b"".join([as_text(value) + end for _, value in pairs])

    def read(self, path: str, files: Storage, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        """Yields (None, value)."""
        for line in _lines(path, files):
            yield None, from_text(line, value)


class PairsOutput(Output):
    """Key and value as they are, nothing between and behind them: for records of a fixed size."""

    def encode(self, pairs: Sequence[tuple[Any, Any]]) -> bytes:
        """Keys and values."""
        if {*map(type, chain.from_iterable(pairs))} <= _BYTES:
            return b"".join(chain.from_iterable(pairs))
        return b"".join([as_text(item) for pair in pairs for item in pair])

    def read(self, path: str, files: Storage, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        """Cannot know where a record ends.

        Raises:
            TypeError: always; read the files with the input type `Records`.
        """
        raise TypeError("PairsOutput says nothing about where records end: read its files as Records(size)")


class SequenceOutput(Output):
    """Length-prefixed records, each a MessagePack (key, value); `SequenceInput` reads them."""

    suffix = ".seq"

    def encode(self, pairs: Sequence[tuple[Any, Any]]) -> bytes:
        """Records."""
        records = [key_bytes(pair) for pair in pairs]
        return b"".join([part for record in records for part in (LENGTH.pack(len(record)), record)])

    def read(self, path: str, files: Storage, key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        """Yields what was written."""
        return SequenceInput(key, value).read(Range(path, 0, -1), files)


def as_text(item: Any) -> bytes:
    """Returns a key or value as it stands in a text file."""
    kind = type(item)
    if kind is bytes:
        return cast("bytes", item)
    if kind is str:
        return cast("str", item).encode("utf-8", "surrogateescape")
    if kind in _PLAIN:
        return str(item).encode()
    if item is None:
        return b""
    return msgspec.json.encode(item)


def from_text(text: bytes, hint: Any) -> Any:
    """Returns what `as_text` was given, when the hint says what it was; a str when there is none."""
    if hint is bytes:
        return text
    if hint is str or hint is Any:
        return text.decode("utf-8", "surrogateescape")
    if hint in (int, float):
        return hint(text)
    if hint is bool:
        return text == b"True"
    if hint is type(None):
        return None
    return msgspec.json.decode(text, type=hint)


def _lines(path: str, files: Storage) -> Iterator[bytes]:
    reader = Text()
    reader.raw = True
    for _, line in reader.read(Range(path, 0, -1), files):
        yield line


def open_output(path: str, files: Storage) -> BinaryIO:
    """Opens a file for writing, compressing if its name ends in .gz (with no time in its header)."""
    if not path.endswith(".gz"):
        return files.open(path, "wb")
    return cast("BinaryIO", _GzipFile(fileobj=files.open(path, "wb"), mode="wb", compresslevel=6, mtime=0))


class _GzipFile(gzip.GzipFile):
    """Closes the file below as well."""

    def close(self) -> None:
        below: Any = self.fileobj
        super().close()
        if below is not None:
            below.close()


__all__ = [
    "Output",
    "PairsOutput",
    "SequenceOutput",
    "TextOutput",
    "ValuesOutput",
    "open_input",
    "open_output",
]
