"""Mutations: what a transaction writes, as clients say it (Cloud Spanner's; two more for rows elsewhere)."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from msgspec import Struct

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.schema.key_sets import KeySet, decode_list, encode_rows
from services.spanner.schema.types import Value


class Kind(enum.IntEnum):
    """What is done, numbered as on the wire."""

    INSERT = 0
    """Rows that must not exist."""
    UPDATE = 1
    """Some columns of rows that must exist."""
    INSERT_OR_UPDATE = 2
    """Rows that may exist; then other columns stay. NOT NULL columns must be given either way."""
    REPLACE = 3
    """Rows that may exist; then other columns are NULL, and children go (or forbid it) as in a delete."""
    DELETE = 4
    """Rows by key set; those that do not exist are no matter. Children go with them, or forbid it."""
    REQUIRE = 5
    """Rows by key that must exist: the parents of what is inserted in another group."""
    DELETE_CHILDREN = 6
    """Only the children, of rows in another group."""


_KINDS = {int(kind): kind for kind in Kind}
_NOTHING = KeySet()

WITH_ROWS = (Kind.INSERT, Kind.UPDATE, Kind.INSERT_OR_UPDATE, Kind.REPLACE)
"""Kinds that have columns and rows; the others have a key set."""


class Mutation(Struct, frozen=True):
    """One mutation, of one table.

    Attributes:
        kind: what is done.
        table: where.
        columns, rows: the columns that are written, the key's among them, and for each row their values.
        key_set: in place of these, for the kinds from DELETE on.
        within: where a mutation was cut for several groups (`split`), the keys that this part is about:
            nothing else is deleted, and parents elsewhere are looked after by other groups. (): all keys.
    """

    kind: Kind
    table: str
    columns: tuple[str, ...] = ()
    rows: tuple[Sequence[Value], ...] = ()
    key_set: KeySet = KeySet()
    within: tuple[KeyRange, ...] = ()

    def to_wire(self) -> pb.Mutation:
        """Returns it as messages carry it; see `write`."""
        message = pb.Mutation()
        self.write(message)
        return message

    def write(self, message: pb.Mutation) -> None:
        """Puts it into a message that is empty.

        Raises:
            SpannerError: INVALID_ARGUMENT: there is a value of no type.
        """
        message.kind = int(self.kind)  # type: ignore[assignment]  # the enumeration's numbers are the wire's
        message.table = self.table
        message.columns.extend(self.columns)
        if self.kind in WITH_ROWS:
            message.rows = encode_rows(self.rows)
        else:
            message.key_set = self.key_set.encode()
        for each in self.within:
            message.within.add(start=each.start, end=each.end)

    @staticmethod
    def from_wire(message: pb.Mutation) -> Mutation:
        """Returns what `to_wire` made.

        Raises:
            SpannerError: INVALID_ARGUMENT: it cannot be read.
        """
        kind = _KINDS.get(message.kind)
        if kind is None:
            raise SpannerError("INVALID_ARGUMENT", f"there is no mutation of kind {message.kind}")
        key_set, within = message.key_set, message.within
        return Mutation(
            kind,
            message.table,
            tuple(message.columns),
            tuple(decode_list(message.rows)),
            KeySet.decode(key_set) if key_set else _NOTHING,
            tuple([KeyRange(each.start, each.end) for each in within]) if within else (),
        )


def insert(table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Mutation:
    """Returns the mutation that adds rows; see `Kind`."""
    return Mutation(Kind.INSERT, table, tuple(columns), tuple(rows))


def update(table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Mutation:
    """Returns the mutation that changes some columns of rows; see `Kind`."""
    return Mutation(Kind.UPDATE, table, tuple(columns), tuple(rows))


def insert_or_update(table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Mutation:
    """Returns the mutation that adds rows or changes them; see `Kind`."""
    return Mutation(Kind.INSERT_OR_UPDATE, table, tuple(columns), tuple(rows))


def replace(table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Mutation:
    """Returns the mutation that adds rows or puts them in the place of others; see `Kind`."""
    return Mutation(Kind.REPLACE, table, tuple(columns), tuple(rows))


def delete(table: str, key_set: KeySet) -> Mutation:
    """Returns the mutation that deletes rows; see `Kind`."""
    return Mutation(Kind.DELETE, table, key_set=key_set)
