"""Values as bytes whose order is theirs, none of which is the beginning of another: what keys are made of.

A part of a key is a byte that says whether it is NULL (which sorts first), then the value. Strings and bytes
end with 00 01, and 00 within them is 00 ff: so the shorter sorts first, and what follows does not matter.
Other types have a fixed width. For DESC all bits are turned over; that turns the order round because none is
the beginning of another.
"""

from __future__ import annotations

import datetime
import math
import struct
from collections.abc import Callable
from typing import TypeAlias

from services.spanner.schema.types import Code, Value, scaled, unscaled

Encode: TypeAlias = Callable[[Value], bytes]
"""From a value, not None."""

Decode: TypeAlias = Callable[[bytes, int], tuple[Value, int]]
"""From bytes and an offset: the value, and the offset after it. ValueError: there is none."""

_NULL, _SOME = b"\x01", b"\x02"
_TURN = bytes(255 - byte for byte in range(256))
_INTEGER = struct.Struct(">Q")
_DOUBLE = struct.Struct(">d")
_SIGN = 1 << 63
_FULL = (1 << 64) - 1
_WIDE = 1 << 127
_END = b"\x00\x01"


def _integer(value: int) -> bytes:
    return _INTEGER.pack(value + _SIGN)


def _integer_back(data: bytes, at: int) -> tuple[int, int]:
    return _INTEGER.unpack_from(_enough(data, at, 8), at)[0] - _SIGN, at + 8


def _float(value: float) -> bytes:
    if math.isnan(value):
        return bytes(8)  # before -inf, which is 000fff...
    (bits,) = _INTEGER.unpack(_DOUBLE.pack(value + 0.0))  # -0.0 + 0.0 is 0.0
    return _INTEGER.pack(bits ^ _FULL if bits & _SIGN else bits | _SIGN)


def _float_back(data: bytes, at: int) -> tuple[float, int]:
    (bits,) = _INTEGER.unpack_from(_enough(data, at, 8), at)
    if bits == 0:
        return math.nan, at + 8
    bits = bits & ~_SIGN if bits & _SIGN else bits ^ _FULL
    return _DOUBLE.unpack(_INTEGER.pack(bits))[0], at + 8


def _bool(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def _bool_back(data: bytes, at: int) -> tuple[bool, int]:
    return _enough(data, at, 1)[at] != 0, at + 1


def _bytes(value: bytes) -> bytes:
    return value.replace(b"\x00", b"\x00\xff") + _END


def _bytes_back(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.index(_END, at)  # every 00 within is followed by ff
    return data[at:end].replace(b"\x00\xff", b"\x00"), end + 2


def _string(value: str) -> bytes:
    return _bytes(value.encode())


def _string_back(data: bytes, at: int) -> tuple[str, int]:
    value, end = _bytes_back(data, at)
    return value.decode(), end


def _date(value: str) -> bytes:
    return datetime.date.fromisoformat(value).toordinal().to_bytes(4)


def _date_back(data: bytes, at: int) -> tuple[str, int]:
    day = int.from_bytes(_enough(data, at, 4)[at : at + 4])
    return datetime.date.fromordinal(day).isoformat(), at + 4


def _numeric(value: str) -> bytes:
    return (scaled(value) + _WIDE).to_bytes(16)


def _numeric_back(data: bytes, at: int) -> tuple[str, int]:
    return unscaled(int.from_bytes(_enough(data, at, 16)[at : at + 16]) - _WIDE), at + 16


def _enough(data: bytes, at: int, width: int) -> bytes:
    if at + width > len(data):
        raise ValueError("the key ends within a part")
    return data


_CODECS: dict[Code, tuple[Encode, Decode]] = {
    "INT64": (_integer, _integer_back),
    "FLOAT64": (_float, _float_back),
    "BOOL": (_bool, _bool_back),
    "STRING": (_string, _string_back),
    "BYTES": (_bytes, _bytes_back),
    "TIMESTAMP": (_integer, _integer_back),
    "DATE": (_date, _date_back),
    "NUMERIC": (_numeric, _numeric_back),
}


def part(code: Code, descending: bool) -> tuple[Encode, Decode]:
    """Returns how a part of a key is written and read: values of that type, None among them."""
    write, read = _CODECS[code]

    def encode(value: Value) -> bytes:
        return _NULL if value is None else _SOME + write(value)

    def decode(data: bytes, at: int) -> tuple[Value, int]:
        mark = data[at : at + 1]
        if mark == _NULL:
            return None, at + 1
        if mark != _SOME:
            raise ValueError("the key ends, or has something else, where a part should begin")
        return read(data, at + 1)

    def encode_descending(value: Value) -> bytes:
        return encode(value).translate(_TURN)

    def decode_descending(data: bytes, at: int) -> tuple[Value, int]:
        return decode(data.translate(_TURN), at)

    return (encode_descending, decode_descending) if descending else (encode, decode)


def tag(number: int) -> bytes:
    """Returns the number of a table as it stands in keys: in order, never beginning with ff."""
    if number < 0x80:
        return bytes((number,))
    width = (number.bit_length() + 7) // 8
    return bytes((0x80 + width,)) + number.to_bytes(width)


def tag_back(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number at an offset, and the offset after it.

    Raises:
        ValueError: there is none.
    """
    first = _enough(data, at, 1)[at]
    if first < 0x80:
        return first, at + 1
    end = at + 1 + first - 0x80
    _enough(data, at, end - at)
    return int.from_bytes(data[at + 1 : end]), end
