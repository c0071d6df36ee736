"""Key sets as clients name them: by values of the primary key, in the notions of google.spanner.v1.KeySet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.schema.types import Value

if TYPE_CHECKING:
    from collections.abc import Sequence


class Range(Struct, frozen=True, array_like=True):
    """Keys between two, in the order of the table (so from the larger to the smaller where a part is DESC).

    Attributes:
        start, end: values of the primary key, or of its first columns: then all keys that begin so are at
            that bound. () is before, or after, all.
        start_closed: whether the start is in it.
        end_closed: whether the end is in it.
    """

    start: tuple[Value, ...]
    end: tuple[Value, ...]
    start_closed: bool = True
    end_closed: bool = False


class KeySet(Struct, frozen=True, array_like=True):
    """Some keys of a table; one that is named twice is in it once.

    Attributes:
        keys: whole primary keys.
        ranges: more of them.
        all: every key of the table.
    """

    keys: tuple[tuple[Value, ...], ...] = ()
    ranges: tuple[Range, ...] = ()
    all: bool = False

    def encode(self) -> bytes:
        """Returns it as MessagePack."""
        return _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> KeySet:
        """Returns the key set that `encode` wrote; that of nothing, from nothing.

        Raises:
            SpannerError: INVALID_ARGUMENT: it is none.
        """
        try:
            return _decoder.decode(data) if data else KeySet()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SpannerError("INVALID_ARGUMENT", f"the key set cannot be read: {error}") from None


ALL = KeySet(all=True)
"""Every key of a table."""


def keys(*keys: Sequence[Value]) -> KeySet:
    """Returns the set of these whole keys."""
    return KeySet(tuple(tuple(key) for key in keys))


def beginning(*values: Value) -> KeySet:
    """Returns all keys whose first columns have these values."""
    return KeySet(ranges=(Range(values, values, end_closed=True),))


_encoder = msgspec.msgpack.Encoder(enc_hook=str)  # decimals are strings here (dates are by themselves)
_decoder: msgspec.msgpack.Decoder[KeySet] = msgspec.msgpack.Decoder(KeySet)


def encode_rows(rows: Sequence[Sequence[Value]]) -> bytes:
    """Returns rows, each a list of values, as MessagePack.

    Raises:
        SpannerError: INVALID_ARGUMENT: there is a value that is of no type.
    """
    try:
        return _rows_encoder.encode(rows)
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        raise SpannerError("INVALID_ARGUMENT", f"a value is of no type of the database: {error}") from None


def decode_list(data: bytes) -> list[list[Value]]:
    """Returns the rows that `encode_rows` wrote.

    Raises:
        SpannerError: INVALID_ARGUMENT: they are none.
    """
    try:
        return _rows_decoder.decode(data) if data else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpannerError("INVALID_ARGUMENT", f"the rows cannot be read: {error}") from None


def _plain(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} {value!r}")


_rows_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_rows_decoder: msgspec.msgpack.Decoder[list[list[Value]]] = msgspec.msgpack.Decoder(list[list[Any]])
