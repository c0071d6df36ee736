"""Input types (4.4): how a piece of input becomes records.

The master cuts files at multiples of the split size, whatever they hold; an input type reads the records of
such a piece so that each record of the file is read by exactly one map. `Text`: a line that begins in the
piece or right at its end belongs to it, and one that the piece begins with does not (the piece before has
it), unless it is the file's first. Files that end in `.gz` or `.zst` are one piece, and decompressed on the
way.

For one's own, subclass `Input`.
"""

from __future__ import annotations

import gzip
import struct
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import msgspec

from services.files.api import BeyondView
from services.mapreduce.hints import decode
from services.mapreduce.tasks.order import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from services.child import Storage
    from services.files.api import FileInfo, Range

BLOCK = 1 << 20
"""Bytes read at a time."""

TAIL = 4096
"""Bytes read at a time behind a piece, to the end of its last line."""

LONGEST = 64 << 20
"""Bytes that a record may have unless the input type says otherwise."""

_SMALLEST = 64 << 10
"""Bytes that a record may have however little memory there is."""

LENGTH = struct.Struct(">I")


class Input:
    """A kind of input.

    Attributes:
        whole: files cannot be cut: each is one piece, with size -1.
    """

    whole = False

    def split(self, files: Sequence[FileInfo], split_bytes: int) -> list[list[Range]] | None:
        """Cuts the input into splits, one a map task.

        Returns:
            None: as the master does it, by the size of the files. A source that is no file (a database, a
            generator) returns ranges whose path, offset and size mean what its `read` takes them for.
        """
        return None

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[Any, Any]]:
        """Yields the (key, value) records of a piece.

        Raises:
            OSError: a file cannot be read.
            InputError: it does not hold what it should.
        """
        raise NotImplementedError

    def typed(self, hint: Any) -> Input:
        """Returns this input with values of the type that map asks for, if it has a choice."""
        return self

    def within(self, memory: int) -> Input:
        """Returns this input, made to fit a process that may use so many bytes."""
        return self

    def place(self, piece: Range, files: Storage, key: Any, number: int) -> str:
        """Says where a record is: the piece's record `number`, from 0."""
        return f"{piece.path}, record {number} from byte {piece.offset}"


class Text(Input):
    """Lines: the key is the byte offset in the file, the value the line without its \\n or \\r\\n.

    A line is a str, in which bytes that are no UTF-8 survive as surrogates ("surrogateescape"), or bytes as
    they are if map's hint says bytes.

    Args:
        longest: the most bytes that a line may have.
    """

    def __init__(self, *, longest: int = LONGEST) -> None:
        self.longest = longest
        self.raw = False

    def typed(self, hint: Any) -> Input:
        """Bytes if map asks for bytes."""
        changed = copy(self)
        changed.raw = hint is bytes
        return changed

    def within(self, memory: int) -> Input:
        """Lines of an eighth of the memory at most: map and text make copies of it."""
        changed = copy(self)
        changed.longest = min(self.longest, max(memory // 8, _SMALLEST))
        return changed

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[Any, Any]]:
        """Yields (offset, line)."""
        for offset, block in line_blocks(piece, files, self.longest):
            lines: Sequence[Any]
            if block.endswith(b"\n"):
                block = block[:-1]
            if self.raw or not block.isascii():
                lines = block.split(b"\n")
                for line in lines:
                    size = len(line) + 1
                    if line.endswith(b"\r"):
                        line = line[:-1]
                    yield offset, line if self.raw else line.decode("utf-8", "surrogateescape")
                    offset += size
            else:
                for text in block.decode("ascii").split("\n"):
                    yield offset, text[:-1] if text.endswith("\r") else text
                    offset += len(text) + 1

    def place(self, piece: Range, files: Storage, key: Any, number: int) -> str:
        """File and byte offset."""
        return f"{piece.path}:{key}"


class TextBlocks(Text):
    """Blocks of whole lines, about 1 MB each: the key is the byte offset, the value the lines and their ends.

    The fast way for code that works on many lines at once, such as `Counter(block.split())`.

    Args:
        size: about how many bytes a block has.
        longest: the most bytes that a line may have.
    """

    def __init__(self, size: int = BLOCK, *, longest: int = LONGEST) -> None:
        super().__init__(longest=longest)
        self.size = size

    def within(self, memory: int) -> Input:
        """Blocks of a sixteenth of the memory at most."""
        changed = cast("TextBlocks", super().within(memory))
        changed.size = min(self.size, max(memory // 16, _SMALLEST))
        return changed

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[Any, Any]]:
        """Yields (offset, lines)."""
        for offset, block in line_blocks(piece, files, self.longest, self.size):
            yield offset, block if self.raw else block.decode("utf-8", "surrogateescape")


class KeyValue(Text):
    """Lines "key TAB value"; without a tab all is key. Both are str, or bytes if map's hint for values is."""

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[Any, Any]]:
        """Yields (key, value)."""
        tab = b"\t" if self.raw else "\t"
        for _, line in super().read(piece, files):
            key, _, value = line.partition(tab)
            yield key, value

    def place(self, piece: Range, files: Storage, key: Any, number: int) -> str:
        """File and byte offset: counts its lines again."""
        for at, (offset, _) in enumerate(super().read(piece, files)):
            if at == number:
                return f"{piece.path}:{offset}"
        return super().place(piece, files, key, number)


class Records(Input):
    """Records of a fixed size: the key is the byte offset, or the record's first `key` bytes.

    Args:
        size: bytes of a record.
        key: bytes of the key, 0: the offset is the key, and the value the whole record.
    """

    def __init__(self, size: int, *, key: int = 0) -> None:
        if size <= 0 or not 0 <= key <= size:
            raise ValueError(f"records of {size} bytes with a key of {key}")
        self.size = size
        self.key = key

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[Any, Any]]:
        """Yields (offset, record) or (key, rest)."""
        size, key = self.size, self.key
        for offset, block in self.blocks(piece, files):
            if key:
                for at in range(0, len(block), size):
                    yield block[at : at + key], block[at + key : at + size]
            else:
                for at in range(0, len(block), size):
                    yield offset + at, block[at : at + size]

    def blocks(self, piece: Range, files: Storage) -> Iterator[tuple[int, bytes]]:
        """Yields (offset, many whole records)."""
        size = self.size
        start = -(-piece.offset // size) * size
        end = None if piece.size < 0 else -(-(piece.offset + piece.size) // size) * size
        many = max(1, BLOCK // size) * size
        with open_input(piece.path, files) as file:
            if start:
                file.seek(start)
            rest = b""
            at = start
            while end is None or at < end:
                data = rest + file.read(many if end is None else min(many, end - at) - len(rest))
                if len(data) == len(rest):
                    break
                whole = len(data) - len(data) % size
                if whole:
                    yield at, data[:whole]
                at += whole
                rest = data[whole:]
            if rest:
                raise InputError(
                    f"{piece.path}: ends with {len(rest)} bytes that are no record of {size} bytes"
                )

    def place(self, piece: Range, files: Storage, key: Any, number: int) -> str:
        """File and byte offset."""
        return f"{piece.path}:{(-(-piece.offset // self.size) + number) * self.size}"


class SequenceInput(Input):
    """Length-prefixed records as `outputs.SequenceOutput` writes them: a MessagePack (key, value) each.

    Args:
        key, value: their types.
        longest: the most bytes that a record may have.
    """

    whole = True

    def __init__(self, key: Any = Any, value: Any = Any, *, longest: int = LONGEST) -> None:
        self.key = key
        self.value = value
        self.longest = longest

    def within(self, memory: int) -> Input:
        """Records of an eighth of the memory at most."""
        changed = copy(self)
        changed.longest = min(self.longest, max(memory // 8, _SMALLEST))
        return changed

    def read(self, piece: Range, files: Storage) -> Iterator[tuple[Any, Any]]:
        """Yields (key, value)."""
        hint = tuple[self.key, self.value]  # type: ignore[name-defined]
        decoder = msgspec.msgpack.Decoder(hint)
        with open_input(piece.path, files) as file:
            at = 0
            while prefix := _exactly(file, LENGTH.size, piece.path, at):
                (size,) = LENGTH.unpack(prefix)
                if size > self.longest:
                    raise InputError(
                        f"{piece.path}: the record at byte {at:,} has {size:,} bytes, "
                        f"more than {self.longest:,} (the input type's `longest`)"
                    )
                data = _exactly(file, size, piece.path, at)
                try:
                    yield decode(data, hint, decoder)
                except msgspec.DecodeError as exc:
                    raise InputError(f"{piece.path}: the record at byte {at} is damaged: {exc}") from None
                at += LENGTH.size + size


def _exactly(file: BinaryIO, size: int, path: str, at: int) -> bytes:
    data = file.read(size)
    while data and len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise InputError(f"{path}: the record at byte {at} is cut off")
        data += more
    return data


def open_input(path: str, files: Storage) -> BinaryIO:
    """Opens a file for reading, decompressing if its name ends in .gz or .zst."""
    file = files.open(path, "rb")
    if path.endswith(".gz"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file))
    if path.endswith(".zst"):
        import zstandard

        return cast(
            "BinaryIO",
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=True),
        )
    return file


def line_blocks(
    piece: Range, files: Storage, longest: int = LONGEST, block: int = BLOCK
) -> Iterator[tuple[int, bytes]]:
    """Yields (offset, whole lines) of a piece, about `block` bytes at a time.

    Raises:
        InputError: a line is longer than `longest` bytes.
    """
    whole = piece.size < 0
    end = 0 if whole else piece.offset + piece.size
    at = piece.offset  # where `held` begins
    held: list[bytes] = []  # the beginning of a line
    held_size = 0
    skipping = piece.offset > 0
    tail = TAIL
    with open_input(piece.path, files) as file:
        if piece.offset:
            file.seek(piece.offset)
        while True:
            position = at + held_size
            beyond = not whole and position >= end
            if beyond:
                data = file.read(tail)
                tail = min(2 * tail, block)
            else:
                data = file.read(block if whole else min(block, end - position))
            if not data:
                break
            if skipping:
                newline = data.find(b"\n")
                if newline < 0:
                    at += len(data)
                    if not whole and at > end:
                        return
                    continue
                skipping = False
                data = data[newline + 1 :]
                at = position = position + newline + 1
                if not whole and at > end:
                    return
            cut = (data.find(b"\n") if beyond else data.rfind(b"\n")) + 1
            if cut:
                yield at, b"".join((*held, data[:cut]))
                if beyond:
                    return
                at = position + cut
                held = [data[cut:]] if cut < len(data) else []
                held_size = len(data) - cut
            elif data:
                held.append(data)
                held_size += len(data)
                if held_size > longest:
                    raise InputError(
                        f"{piece.path}: the line at byte {at:,} is longer than {longest:,} bytes "
                        f"(the input type's `longest`)"
                    )
        if held and not skipping:
            yield at, b"".join(held)


READ_ERRORS = (OSError, EOFError)
"""What reading a file raises when it cannot be read (BeyondView is none of it)."""

__all__ = [
    "BeyondView",
    "Input",
    "KeyValue",
    "Records",
    "SequenceInput",
    "Text",
    "TextBlocks",
    "line_blocks",
    "open_input",
]
