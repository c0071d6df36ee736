"""What a schema consists of, as it is kept and sent: columns, tables, versions.

Numbers of tables and columns are in the keys and rows that are stored, so none is ever used again: a table
that is dropped and created anew is another one, and so is a column.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from services.spanner.schema.types import Type

OnDelete: TypeAlias = Literal["NO ACTION", "CASCADE"]
"""What deleting a row does where it has interleaved children: it is refused, or they go with it."""


class Column(Struct, frozen=True, array_like=True):
    """A column of a table.

    Attributes:
        name: as it was declared; found without regard to case.
        number: of this table; rows are stored by it.
        type: what its values are.
        not_null: whether NULL is refused.
    """

    name: str
    number: int
    type: Type
    not_null: bool


class KeyPart(Struct, frozen=True, array_like=True):
    """A column of a primary key, and how it sorts."""

    column: int
    descending: bool = False


class TableDefinition(Struct, frozen=True, array_like=True):
    """A table.

    Attributes:
        name: as it was declared; found without regard to case.
        number: of this schema; keys have it.
        columns: in the order in which they were declared or added.
        primary_key: all of it, the parent's first.
        parent: the number of the table that this one is interleaved in; 0 for none.
        on_delete: of the parent's row.
        next_column: the number that the next column gets.
    """

    name: str
    number: int
    columns: tuple[Column, ...]
    primary_key: tuple[KeyPart, ...]
    parent: int
    on_delete: OnDelete
    next_column: int


class Definition(Struct, frozen=True, array_like=True):
    """A version of a schema.

    Attributes:
        version: one more with each change.
        tables: parents before children.
        next_table: the number that the next table gets.
    """

    version: int
    tables: tuple[TableDefinition, ...]
    next_table: int
