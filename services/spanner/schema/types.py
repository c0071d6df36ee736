"""Types of columns, and which values they take.

A value is what MessagePack carries:

| type | value | order in a key |
| --- | --- | --- |
| INT64 | int of 64 bits, signed (no bool) | by number |
| FLOAT64 | float (or an int that it holds exactly) | NaN, -inf, ..., inf; all NaN are one, -0.0 is 0.0 |
| BOOL | bool | false, true |
| STRING(n), STRING(MAX) | str, at most n characters (code points; no lone surrogates) | by code point |
| BYTES(n), BYTES(MAX) | bytes, at most n | by byte |
| TIMESTAMP | int, nanoseconds since the Unix epoch, of 64 bits: the years 1678 to 2262 | by time |
| DATE | str "YYYY-MM-DD" (or a `datetime.date`), years 1 to 9999 | by day |
| NUMERIC | str (or int, `Decimal`): 29 digits, a point, 9 digits; kept in its shortest form | by value |
| ARRAY<T> | list of values of T, or None; T is no array | may not be in a key |

None is NULL. Numbers of limits are Cloud Spanner's.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

from services.spanner.errors import SpannerError

if TYPE_CHECKING:
    from collections.abc import Callable

Value: TypeAlias = Any
"""A value as above."""

Code: TypeAlias = Literal[
    "INT64", "FLOAT64", "BOOL", "STRING", "BYTES", "TIMESTAMP", "DATE", "NUMERIC", "ARRAY"
]

MAX_STRING = 2_621_440
"""Characters in a value of STRING(MAX)."""

MAX_BYTES = 10 << 20
"""Bytes in a value of BYTES(MAX), and in any other."""

_LIMIT: dict[str, int] = {"STRING": MAX_STRING, "BYTES": MAX_BYTES}
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_SCALE = 9
_NUMERIC_BOUND = 10**38
"""A NUMERIC times 10**9 is less than this."""


class Type(Struct, frozen=True, array_like=True):
    """The type of a column.

    Attributes:
        code: which.
        length: of STRING and BYTES, the most that a value may have; 0 for MAX.
        element: of ARRAY.
    """

    code: Code
    length: int = 0
    element: Type | None = None

    def __str__(self) -> str:
        if self.element is not None:
            return f"ARRAY<{self.element}>"
        if self.code in _LIMIT:
            return f"{self.code}({self.length or 'MAX'})"
        return self.code

    @property
    def limit(self) -> int:
        """The most characters or bytes that a value of STRING or BYTES may have."""
        return self.length or _LIMIT[self.code]


def parse_type(text: str) -> Type:
    """Returns the type that Cloud Spanner writes so, as "STRING(MAX)" or "ARRAY<INT64>".

    Raises:
        SpannerError: INVALID_ARGUMENT: there is no such type.
    """
    words = re.sub(r"\s+", "", text).upper()
    if array := re.fullmatch(r"ARRAY<(.*)>", words):
        element = parse_type(array[1])
        if element.code == "ARRAY":
            raise SpannerError("INVALID_ARGUMENT", f"{text} is no type: arrays do not nest")
        return Type("ARRAY", 0, element)
    if sized := re.fullmatch(r"(STRING|BYTES)\((MAX|0X[0-9A-F]{1,8}|\d{1,9})\)", words):
        code: Code = "STRING" if sized[1] == "STRING" else "BYTES"
        if sized[2] == "MAX":
            return Type(code)
        length = int(sized[2], 16 if sized[2].startswith("0X") else 10)
        if not 1 <= length <= _LIMIT[code]:
            raise SpannerError(
                "INVALID_ARGUMENT", f"{text} is no type: its length is from 1 to {_LIMIT[code]}, or MAX"
            )
        return Type(code, length)
    for simple in ("INT64", "FLOAT64", "BOOL", "TIMESTAMP", "DATE", "NUMERIC"):
        if words == simple:
            return Type(simple)
    raise SpannerError(
        "INVALID_ARGUMENT",
        f"{text} is no type; there are INT64, FLOAT64, BOOL, STRING(n), BYTES(n), TIMESTAMP, DATE, NUMERIC "
        "and ARRAY<...> of these (n: a number or MAX)",
    )


class Unfit(ValueError):
    """A value is not of the type, or (`size` > 0) too large for it; says what was expected."""

    def __init__(self, expected: str, size: int = 0) -> None:
        super().__init__(expected)
        self.size = size


def fits(kind: Type) -> Callable[[Value], Value]:
    """Returns a function that takes a value, not None, to the form in which it is kept, or raises `Unfit`."""
    match kind.code:
        case "INT64" | "TIMESTAMP":
            return _integer if kind.code == "INT64" else _timestamp
        case "FLOAT64":
            return _float
        case "BOOL":
            return _bool
        case "STRING":
            return lambda value: _string(value, kind.limit)
        case "BYTES":
            return lambda value: _bytes(value, kind.limit)
        case "DATE":
            return _date
        case "NUMERIC":
            return _numeric
        case "ARRAY":
            assert kind.element is not None
            return _array(fits(kind.element), f"{kind}")


def _integer(value: Value) -> int:
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    raise Unfit("INT64, a whole number of 64 bits")


def _timestamp(value: Value) -> int:
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    raise Unfit("TIMESTAMP, nanoseconds since 1970 as a whole number of 64 bits")


def _float(value: Value) -> float:
    if type(value) is float:
        return value
    if type(value) is int and -(1 << 53) <= value <= 1 << 53:
        return float(value)
    raise Unfit("FLOAT64")


def _bool(value: Value) -> bool:
    if type(value) is bool:
        return value
    raise Unfit("BOOL")


def _string(value: Value, limit: int) -> str:
    if not isinstance(value, str):
        raise Unfit("STRING")
    if len(value) > limit:
        raise Unfit(f"at most {limit} characters", len(value))
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("STRING, without lone surrogates") from None
    return value


def _bytes(value: Value, limit: int) -> bytes:
    if not isinstance(value, bytes):
        raise Unfit("BYTES")
    if len(value) > limit:
        raise Unfit(f"at most {limit} bytes", len(value))
    return value


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _date(value: Value) -> str:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return datetime.date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise Unfit("DATE, YYYY-MM-DD")


_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def scaled(text: str) -> int:
    """Returns a NUMERIC times 10**9."""
    return int(decimal.Decimal(text).scaleb(_SCALE, _CONTEXT))


def unscaled(number: int) -> str:
    """Returns the shortest form of a NUMERIC that was taken times 10**9."""
    sign, number = ("-", -number) if number < 0 else ("", number)
    whole, part = divmod(number, 10**_SCALE)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".")


_CONTEXT = decimal.Context(prec=60, Emax=999, Emin=-999)


def _numeric(value: Value) -> str:
    if type(value) is int:
        exact = value * 10**_SCALE
    elif isinstance(value, decimal.Decimal) or (
        isinstance(value, str) and len(value) < 100 and _NUMERIC.fullmatch(value)
    ):
        number = decimal.Decimal(value)
        if number.is_zero():
            return "0"
        if not number.is_finite() or not -60 < number.adjusted() < 60:
            raise Unfit("NUMERIC, with 29 digits before the point and 9 after it")
        times = number.scaleb(_SCALE, _CONTEXT)
        if times != times.to_integral_value(context=_CONTEXT):
            raise Unfit("NUMERIC, with at most 9 digits after the point")
        exact = int(times)
    else:
        raise Unfit("NUMERIC")
    if not -_NUMERIC_BOUND < exact < _NUMERIC_BOUND:
        raise Unfit("NUMERIC, with at most 29 digits before the point")
    return unscaled(exact)


def _array(element: Callable[[Value], Value], name: str) -> Callable[[Value], Value]:
    def check(value: Value) -> list[Value]:
        if not isinstance(value, list | tuple):
            raise Unfit(name)
        try:
            return [None if each is None else element(each) for each in value]
        except Unfit as unfit:
            raise Unfit(f"{name}: {unfit}", unfit.size) from None

    return check


def size(value: Value) -> int:
    """Returns about how many bytes a value takes (a lower bound: what the limit of a column counts)."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list):
        return sum(map(size, value))
    return 8


def shown(value: Value) -> str:
    """Returns a value as texts of errors show it: short, on one line."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    text = "NULL" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
