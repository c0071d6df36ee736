"""Jute: how ZooKeeper's protocol writes values, big-endian and without tags.

A reader takes a frame and an offset and returns the value and the offset behind it. Text and buffers carry
their length, -1 for null; every length is checked against the frame, so that a false one is `Malformed` and
never an allocation. Text that is not UTF-8 is read as Java reads it, with U+FFFD in the place of what cannot
be, which no path may hold.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

INT = Struct(">i")
LONG = Struct(">q")

_int = INT.unpack_from
_long = LONG.unpack_from
_pack = INT.pack
_NULL = INT.pack(-1)


class Malformed(ValueError):
    """A frame that does not hold what it should."""


def read_int(frame: bytes, at: int) -> tuple[int, int]:
    """Reads an `int`, of 32 bits with a sign."""
    return _int(frame, at)[0], at + 4


def read_long(frame: bytes, at: int) -> tuple[int, int]:
    """Reads a `long`, of 64 bits with a sign."""
    return _long(frame, at)[0], at + 8


def read_bool(frame: bytes, at: int) -> tuple[bool, int]:
    """Reads a `boolean`, of one byte."""
    return frame[at] != 0, at + 1


def read_buffer(frame: bytes, at: int) -> tuple[bytes, int]:
    """Reads a `buffer`; null is as an empty one.

    Raises:
        Malformed: the frame ends before it does.
    """
    size: int = _int(frame, at)[0]
    at += 4
    if size <= 0:
        if size < -1:
            raise Malformed(f"a length of {size}")
        return b"", at
    end = at + size
    if end > len(frame):
        raise Malformed(f"a length of {size} with {len(frame) - at} bytes left")
    return frame[at:end], end


def read_data(frame: bytes, at: int) -> tuple[bytes | None, int]:
    """Reads a `buffer` that may be null, None, which is not an empty one."""
    if frame.startswith(_NULL, at):
        return None, at + 4
    return read_buffer(frame, at)


def read_text(frame: bytes, at: int) -> tuple[str, int]:
    """Reads a `ustring`; null is as an empty one.

    Raises:
        Malformed: the frame ends before it does.
    """
    data, at = read_buffer(frame, at)
    return data.decode("utf-8", "replace"), at


def read_vector(
    frame: bytes, at: int, read: Callable[[bytes, int], tuple[T, int]]
) -> tuple[tuple[T, ...], int]:
    """Reads a vector; null is as an empty one.

    Raises:
        Malformed: it claims more elements than there are bytes left.
    """
    count: int = _int(frame, at)[0]
    at += 4
    if count < -1 or count > len(frame) - at:
        raise Malformed(f"a vector of {count} with {len(frame) - at} bytes left")
    values = []
    for _ in range(count):
        value, at = read(frame, at)
        values.append(value)
    return tuple(values), at


def buffer(data: bytes | None) -> bytes:
    """Returns a `buffer`."""
    return _NULL if data is None else _pack(len(data)) + data


def text(value: str) -> bytes:
    """Returns a `ustring`."""
    data = value.encode("utf-8", "replace")
    return _pack(len(data)) + data


def vector(values: Iterable[bytes]) -> bytes:
    """Returns a vector of values that are written already."""
    written = list(values)
    return _pack(len(written)) + b"".join(written)
