"""The start of a file: what it is and whose, in a sector of its own.

It is durable before anything follows it: so a file that is longer and has no whole header is damaged, and one
that is not longer is the remains of its creation.
"""

from __future__ import annotations

import zlib
from struct import Struct as Layout
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import msgspec

from services.durable.errors import StorageRefused

if TYPE_CHECKING:
    from services.host import File

FORMAT = 1
"""Of the files written here. Older ones are read, newer ones refused."""

HEADER_SIZE = 512

_HEADER = Layout("<8sHII")  # magic, format, length and CRC-32 of what follows


class Header(Protocol):
    """A `msgspec.Struct` that says what a file is. `MAGIC`: eight bytes, of that kind of file."""

    MAGIC: ClassVar[bytes]


H = TypeVar("H", bound=Header)


def write_header(header: Header) -> bytes:
    """Returns a header as it stands in the file.

    Raises:
        ValueError: it is too long.
    """
    content = msgspec.msgpack.encode(header)
    data = _HEADER.pack(header.MAGIC, FORMAT, len(content), zlib.crc32(content)) + content
    if len(data) > HEADER_SIZE:
        raise ValueError(f"a name in it is too long: {header!r}")
    return data.ljust(HEADER_SIZE, b"\0")


def read_header(data: bytes, kind: type[H], path: str) -> H | None:
    """Returns the header at the start of a file, or None when it is not whole.

    Raises:
        StorageRefused: the file has a format that is not known here.
    """
    if len(data) < HEADER_SIZE:
        return None
    magic, version, length, checksum = _HEADER.unpack_from(data)
    content = data[_HEADER.size : _HEADER.size + length]
    if magic == kind.MAGIC and version > FORMAT and version < 1 << 10:
        raise StorageRefused(
            f"{path} has format {version}, this program knows formats up to {FORMAT}: start the newer program"
        )
    if magic != kind.MAGIC or version != FORMAT or len(content) != length or zlib.crc32(content) != checksum:
        return None
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.DecodeError:
        return None


async def begun(file: File, kind: type[H], path: str) -> tuple[H | None, bool]:
    """Returns the header of an open file, None when it is not whole, and whether its creation was cut short.

    Raises:
        StorageRefused: see `read_header`.
    """
    data, size = await file.read(HEADER_SIZE), await file.size()
    header = read_header(data, kind, path)
    return header, header is None and (size < HEADER_SIZE or (size == HEADER_SIZE and not any(data)))
