"""A version of the schema of the database: its tables, by name and by key."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from services.spanner.errors import SpannerError
from services.spanner.schema import ordered
from services.spanner.schema.definitions import Definition
from services.spanner.schema.key_sets import encode_rows
from services.spanner.schema.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.spanner.entries import Row


class Schema:
    """A version of a schema. Immutable; changes make another (`changes.py`).

    Attributes:
        version: which; 0 is that of an empty database.
        tables: by name as declared, parents before children.
    """

    def __init__(self, definition: Definition) -> None:
        """Takes a definition that is sound: one that `changes.py` made."""
        self.definition = definition
        self.version = definition.version
        parents = {table.parent for table in definition.tables}
        by_number: dict[int, Table] = {}
        for each in definition.tables:
            by_number[each.number] = Table(each, by_number.get(each.parent), each.number in parents)
        self._by_number = by_number
        self._by_name = {table.name.lower(): table for table in by_number.values()}
        self.tables: Mapping[str, Table] = {table.name: table for table in by_number.values()}

    def table(self, name: str) -> Table:
        """Returns a table, without regard to case.

        Raises:
            SpannerError: NOT_FOUND.
        """
        found = self._by_name.get(name.lower())
        if found is None:
            raise SpannerError("NOT_FOUND", f"Table not found: {name}")
        return found

    def table_of(self, key: bytes) -> Table | None:
        """Returns the table whose row has this key; None where it is of none that there is (any more).

        Raises:
            ValueError: it is no key.
        """
        number, at = ordered.tag_back(key, 0)
        while (table := self._by_number.get(number)) is not None:
            at = table._end(key)
            if at >= len(key):
                return table
            number, at = ordered.tag_back(key, at)
        return None

    def directory(self, key: bytes) -> bytes:
        """Returns where the directory of a key begins (2.2); the key itself, where it is of none."""
        try:
            table = self.table_of(key)
        except (ValueError, IndexError):
            return key  # the beginning of several: a bound of a range that is read
        return key if table is None else table.directory(key).start

    @functools.cached_property
    def _encoded(self) -> bytes:
        return _encoder.encode(self.definition)

    def encode(self) -> bytes:
        """Returns it as MessagePack."""
        return self._encoded

    @staticmethod
    def decode(data: bytes) -> Schema:
        """Returns the schema that `encode` wrote: the same object for the same bytes, mostly.

        Raises:
            SpannerError: INVALID_ARGUMENT: it is none.
        """
        return _decoded(data)


EMPTY = Schema(Definition(version=0, tables=(), next_table=1))
"""The schema of a database without tables."""


@functools.lru_cache(maxsize=64)
def _decoded(data: bytes) -> Schema:
    try:
        return Schema(_decoder.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError) as error:
        raise SpannerError("INVALID_ARGUMENT", f"the schema cannot be read: {error}") from None


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Definition] = msgspec.msgpack.Decoder(Definition)


def decode_rows(
    schema: Schema, table: str, columns: Sequence[str], pairs: Iterable[tuple[bytes, Row]]
) -> bytes:
    """Returns columns of rows as MessagePack (a list of lists); rows of other tables among them are skipped.

    Raises:
        SpannerError: NOT_FOUND: no such table or column.
    """
    read = schema.table(table).reader(columns)
    return encode_rows([values for key, row in pairs if (values := read(key, row)) is not None])
