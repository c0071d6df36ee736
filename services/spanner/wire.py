"""Messages put together of parts that are serialized already: a repeated field is its parts in a row.

Several calls, replies or letters travel in one message, and each is serialized once, as it is made.
"""

from __future__ import annotations


def varint(number: int) -> bytes:
    """Returns a number as protobuf has it."""
    if number < 128:
        return _SMALL[number]
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def part(field: int, data: bytes) -> bytes:
    """Returns a message with one field, whose content is given.

    Args:
        field: its number, below 16.
        data: a serialized message, or bytes.
    """
    return b"".join((_SMALL[field << 3 | 2], varint(len(data)), data))


_SMALL = [bytes((number,)) for number in range(128)]
