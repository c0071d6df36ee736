"""Protobuf messages put together of serialized parts: a repeated field is its parts in a row.

Several proposals, calls or replies travel in one message, and each is serialized once, as it is made.
"""

from __future__ import annotations

_LENGTH = 2  # wire type of what has a length


def _encode(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


_SHORT = [_encode(number) for number in range(1 << 12)]


def varint(number: int) -> bytes:
    """Returns a number as protobuf has it."""
    return _SHORT[number] if number < 1 << 12 else _encode(number)


def tag(field: int) -> bytes:
    """Returns what stands before the length of a field.

    Args:
        field: its number, below 16; of a message, or of bytes.
    """
    return _SHORT[field << 3 | _LENGTH]


def part(field: int, data: bytes) -> bytes:
    """Returns a message with one field, whose content is given.

    Args:
        field: its number, below 16.
        data: a serialized message, or bytes.
    """
    return b"".join((tag(field), varint(len(data)), data))
