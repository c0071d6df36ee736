"""A table at work: its keys as bytes, key sets as ranges of them, rows as bytes and back.

A key is the number of the root table, the values of its primary key, the number of the child's table, the
values that the child's key has besides, and so on. So a row's children come right after it and before the
next row of its table, and all keys that begin with the key of a root row are its directory (2.2, 2.3).
A row is a map from numbers of columns to values; NULLs and what is in the key are not in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from services.spanner.entries import Row
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange, only, prefix
from services.spanner.schema import ordered
from services.spanner.schema.types import MAX_BYTES, Unfit, Value, fits, shown, size

if TYPE_CHECKING:
    from services.spanner.schema.definitions import Column, TableDefinition
    from services.spanner.schema.key_sets import KeySet, Range

MAX_KEY = 8 << 10
"""Bytes of an encoded key."""

Reader: TypeAlias = Callable[[bytes, Row], list[Value] | None]
"""From a key and its row, the values of some columns; None where it is another table's."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[dict[int, Any]] = msgspec.msgpack.Decoder(dict[int, Any])


class Table:
    """A table of a version of a schema. Immutable.

    Attributes:
        name: as it was declared.
        parent: the table that it is interleaved in.
        cascade: whether its rows are deleted with their parent.
        columns: in their order.
        key_columns: those of the primary key, in its order, the parent's first.
        others: how many columns are not in the key.
        has_children: whether other tables are interleaved in it.
        path: the root table, and so on down to this one.
    """

    def __init__(self, definition: TableDefinition, parent: Table | None, has_children: bool) -> None:
        self.definition = definition
        self.name = definition.name
        self.parent = parent
        self.cascade = definition.on_delete == "CASCADE"
        self.columns = definition.columns
        self.has_children = has_children
        by_number = {column.number: column for column in definition.columns}
        self.key_columns = tuple(by_number[part.column] for part in definition.primary_key)
        self._by_name = {column.name.lower(): column for column in definition.columns}
        self._position = {column.number: at for at, column in enumerate(self.key_columns)}
        self._fits = {column.number: fits(column.type) for column in definition.columns}
        self._tag = ordered.tag(definition.number)
        parts = [
            ordered.part(column.type.code, part.descending)
            for column, part in zip(self.key_columns, definition.primary_key, strict=True)
        ]
        self._encode = tuple(encode for encode, _ in parts)
        self._decode = tuple(decode for _, decode in parts)
        self.others = len(self.columns) - len(self.key_columns)
        self._inherited = len(parent.key_columns) if parent else 0
        self.path: tuple[Table, ...] = (*(parent.path if parent else ()), self)

    def __repr__(self) -> str:
        return f"Table({self.name})"

    def below(self, ancestor: Table) -> tuple[Table, ...] | None:
        """Returns the tables on the way down from another to this, without that; None: there is no way."""
        depth = len(ancestor.path)
        if len(self.path) < depth or self.path[depth - 1].definition.number != ancestor.definition.number:
            return None
        return self.path[depth:]

    # Columns and values.

    def column(self, name: str) -> Column:
        """Returns a column.

        Raises:
            SpannerError: NOT_FOUND.
        """
        found = self._by_name.get(name.lower()) if isinstance(name, str) else None
        if found is None:
            raise SpannerError("NOT_FOUND", f"Column not found in table {self.name}: {name}")
        return found

    def in_key(self, column: Column) -> bool:
        """Says whether it is part of the primary key."""
        return column.number in self._position

    def check(self, column: Column, value: Value) -> Value:
        """Returns a value in the form in which it is kept.

        Raises:
            SpannerError: FAILED_PRECONDITION: it is not of the column's type, too large, or a forbidden NULL.
        """
        if value is None:
            if column.not_null:
                raise SpannerError(
                    "FAILED_PRECONDITION",
                    f"Cannot specify a null value for column: {column.name} in table: {self.name}",
                )
            return None
        try:
            kept = self._fits[column.number](value)
        except Unfit as unfit:
            if unfit.size:
                raise self._too_large(column, f"{unfit.size}", str(unfit)) from None
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"Wrong type for column {column.name} in table {self.name}: {shown(value)} is not {unfit}",
            ) from None
        if isinstance(kept, list) and (large := size(kept)) > MAX_BYTES:
            raise self._too_large(column, f"{large}", f"at most {MAX_BYTES} bytes")
        return kept

    def _too_large(self, column: Column, found: str, limit: str) -> SpannerError:
        return SpannerError(
            "FAILED_PRECONDITION",
            f"New value exceeds the maximum size limit for column {column.name} of table {self.name}: "
            f"size {found}, limit: {limit}",
        )

    # Keys.

    def key(self, values: Sequence[Value]) -> bytes:
        """Returns the key of the row with these values of the primary key.

        Raises:
            SpannerError: FAILED_PRECONDITION: too few or too many, or one that does not fit;
                INVALID_ARGUMENT: the key is over 8 KiB.
        """
        if not isinstance(values, list | tuple) or len(values) != len(self.key_columns):
            found = len(values) if isinstance(values, list | tuple) else "no list of"
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"Wrong number of key parts for {self.name}: expected {len(self.key_columns)} "
                f"({', '.join(column.name for column in self.key_columns)}), found {found}. "
                f"Supplied key: {shown(list(values)) if isinstance(values, list | tuple) else shown(values)}",
            )
        return self._beginning(values)

    def _beginning(self, values: Sequence[Value]) -> bytes:
        """Returns what all keys of the table begin with that have these values first."""
        pieces: list[bytes] = []
        done = 0
        for table in self.path:
            pieces.append(table._tag)
            upto = min(len(values), len(table.key_columns))
            pieces += [
                self._encode[at](self.check(self.key_columns[at], values[at])) for at in range(done, upto)
            ]
            done = upto
            if upto < len(table.key_columns):
                break
        key = b"".join(pieces)
        if len(key) > MAX_KEY:
            raise SpannerError(
                "INVALID_ARGUMENT",
                f"Number of bytes for key of table {self.name} is {len(key)}, "
                f"which exceeds the maximum of {MAX_KEY}",
            )
        return key

    def values(self, key: bytes) -> list[Value] | None:
        """Returns the values of the primary key, None where it is the key of another table's row."""
        found: list[Value] = []
        at = 0
        for table in self.path:
            if not key.startswith(table._tag, at):
                return None
            at += len(table._tag)
            for decode in table._decode[table._inherited :]:
                value, at = decode(key, at)
                found.append(value)
        return found if at == len(key) else None

    def shown_key(self, key: bytes) -> str:
        """Returns a key as texts show it."""
        return f"[{', '.join(map(shown, self.values(key) or ()))}]"

    def parent_key(self, key: bytes) -> bytes:
        """Returns the key of the parent of the row with this key."""
        assert self.parent is not None
        return key[: self.parent._end(key)]

    def _end(self, key: bytes) -> int:
        """Returns the length of the part of a key that is the key of a row of this table."""
        at = 0
        for table in self.path:
            at += len(table._tag)
            for decode in table._decode[table._inherited :]:
                _, at = decode(key, at)
        return at

    def directory(self, key: bytes) -> KeyRange:
        """Returns the directory that a key of this table lies in (2.2): the root row and all below it."""
        return prefix(key[: self.path[0]._end(key)])

    @functools.cached_property
    def everything(self) -> KeyRange:
        """All keys of the table; where it is interleaved, also those of its ancestors and all below them."""
        return prefix(self.path[0]._tag)

    # Key sets.

    def ranges(self, key_set: KeySet) -> tuple[KeyRange, ...]:
        """Returns the ranges that a key set is: in order, not overlapping.

        Rows of ancestors, siblings and children may lie in them; readers skip those.

        Raises:
            SpannerError: as of `key`, with partial keys allowed at the bounds of ranges.
        """
        if key_set.all:
            return (self.everything,)
        found = [only(self.key(key)) for key in key_set.keys]
        return merged(found + self._bounds(key_set))

    def subtrees(self, key_set: KeySet) -> tuple[KeyRange, ...]:
        """Returns the ranges of a key set, and of all below its rows."""
        if not self.has_children or key_set.all:
            return self.ranges(key_set)
        found = [prefix(self.key(key)) for key in key_set.keys]
        return merged(found + self._bounds(key_set))

    def _bounds(self, key_set: KeySet) -> list[KeyRange]:
        return [bounds for each in key_set.ranges if (bounds := self._range(each)) is not None]

    def _range(self, bounds: Range) -> KeyRange | None:
        for end in (bounds.start, bounds.end):
            if len(end) > len(self.key_columns):
                raise SpannerError(
                    "FAILED_PRECONDITION",
                    f"Wrong number of key parts for {self.name}: expected at most {len(self.key_columns)}, "
                    f"found {len(end)}. Supplied key: {shown(list(end))}",
                )
        # () is at the end of the table, closed or not: as Cloud Spanner has start_closed [] to end_closed [].
        start = prefix(self._beginning(bounds.start)) if bounds.start else self.everything
        end_ = prefix(self._beginning(bounds.end)) if bounds.end else self.everything
        first = start.start if bounds.start_closed or not bounds.start else start.end
        last = end_.end if bounds.end_closed or not bounds.end else end_.start
        return KeyRange(first, last) if first < last else None

    # Rows.

    def row(self, values: dict[int, Value]) -> Row:
        """Returns the values of columns that are not in the key, by number, as they are stored."""
        return _encoder.encode({number: value for number, value in values.items() if value is not None})

    def stored(self, row: Row) -> dict[int, Value]:
        """Returns what `row` wrote, without columns that have been dropped since."""
        known = self._fits
        return {number: value for number, value in _decoder.decode(row).items() if number in known}

    def reader(self, columns: Sequence[str]) -> Reader:
        """Returns a function that reads these columns.

        Raises:
            SpannerError: NOT_FOUND: there is no such column.
        """
        wanted = [self.column(name) for name in columns]
        numbers = [column.number for column in wanted]
        positions = [self._position.get(number, -1) for number in numbers]
        only_key = all(at >= 0 for at in positions)

        def read(key: bytes, row: Row) -> list[Value] | None:
            values = self.values(key)
            if values is None:
                return None
            if only_key:
                return [values[at] for at in positions]
            stored = _decoder.decode(row)
            return [
                values[at] if at >= 0 else stored.get(number)
                for at, number in zip(positions, numbers, strict=True)
            ]

        return read


def merged(ranges: Iterable[KeyRange]) -> tuple[KeyRange, ...]:
    """Returns ranges in order, those that overlap or touch as one."""
    done: list[KeyRange] = []
    for each in sorted(ranges):
        if done and each.start <= done[-1].end:
            if each.end > done[-1].end:
                done[-1] = KeyRange(done[-1].start, each.end)
        else:
            done.append(each)
    return tuple(done)


def covered(range_: KeyRange, by: Sequence[KeyRange]) -> bool:
    """Says whether a range lies within one of those."""
    return any(each.covers(range_) for each in by)
