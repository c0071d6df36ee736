"""Changes of the schema: which there are, and which can be.

A change takes effect at one timestamp for all groups (4.2.3), without a look at the rows that are there. So
all that would need such a look is refused (FAILED_PRECONDITION): making a column NOT NULL, a shorter length,
another type, another primary key, another parent. What can be: create and drop tables, add nullable columns,
drop columns that are in no key, allow NULL, a longer length, another ON DELETE.

Names begin with a letter, go on with letters, digits and "_", at most 128 characters; case is kept, and does
not count: `Users` and `USERS` are one table. Names with a "." are the system's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from services.spanner.errors import SpannerError
from services.spanner.schema.definitions import Column, Definition, KeyPart, OnDelete, TableDefinition
from services.spanner.schema.schema import Schema
from services.spanner.schema.types import Type, parse_type

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TABLES, MAX_COLUMNS, MAX_KEY_COLUMNS, MAX_LEVELS = 2560, 1024, 16, 7
"""Cloud Spanner's; a root table is level 1."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}", re.ASCII)
_SYSTEM = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\.[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


class ColumnSpec(Struct, frozen=True):
    """A column to be.

    Attributes:
        name: see the module.
        type: as `parse_type` reads it.
        not_null: None: as is usual: NOT NULL in the primary key, nullable elsewhere.
    """

    name: str
    type: str
    not_null: bool | None = None


class CreateTable(Struct, frozen=True, tag="create-table"):
    """A new table.

    Attributes:
        name: see the module.
        columns: at least those of the key.
        primary_key: names of columns; one that begins with "-" is DESC. The parent's come first.
        parent: the table that it is interleaved in; "" for none.
        on_delete: of a row of the parent.
    """

    name: str
    columns: tuple[ColumnSpec, ...]
    primary_key: tuple[str, ...]
    parent: str = ""
    on_delete: OnDelete = "NO ACTION"


class DropTable(Struct, frozen=True, tag="drop-table"):
    """A table that goes, with its rows; none may be interleaved in it."""

    name: str


class AddColumn(Struct, frozen=True, tag="add-column"):
    """A new column, NULL in the rows that are there."""

    table: str
    column: ColumnSpec


class DropColumn(Struct, frozen=True, tag="drop-column"):
    """A column that goes, with its values."""

    table: str
    column: str


class AlterColumn(Struct, frozen=True, tag="alter-column"):
    """A column as it is to be: all of it is said."""

    table: str
    column: ColumnSpec


class SetOnDelete(Struct, frozen=True, tag="set-on-delete"):
    """What deleting a row of the parent does to this table's rows."""

    table: str
    on_delete: OnDelete


Change: TypeAlias = CreateTable | DropTable | AddColumn | DropColumn | AlterColumn | SetOnDelete

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[tuple[Change, ...]] = msgspec.msgpack.Decoder(tuple[Change, ...])


def encode_changes(changes: Sequence[Change]) -> bytes:
    """Returns changes as MessagePack."""
    return _encoder.encode(tuple(changes))


def decode_changes(data: bytes) -> tuple[Change, ...]:
    """Returns what `encode_changes` wrote.

    Raises:
        SpannerError: INVALID_ARGUMENT: they are none.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpannerError("INVALID_ARGUMENT", f"the change of the schema cannot be read: {error}") from None


def apply_change(schema: Schema, *changes: Change, system: bool = False) -> Schema:
    """Returns the next version of a schema, with all of these changes, one after the other.

    Args:
        schema: the version before.
        changes: at least one.
        system: whether the system's own tables may be touched.

    Raises:
        SpannerError: NOT_FOUND: no such table or column; INVALID_ARGUMENT: the change contradicts itself, or
            a limit; FAILED_PRECONDITION: it cannot be with what is there.
    """
    definition = schema.definition
    for change in changes:
        definition = _applied(Schema(definition), change, system)
    return Schema(replace(definition, version=schema.version + 1))


def _applied(schema: Schema, change: Change, system: bool) -> Definition:
    if isinstance(change, CreateTable):
        return _create(schema, change, system)
    table = schema.table(change.name if isinstance(change, DropTable) else change.table).definition
    if "." in table.name and not system:
        raise SpannerError("FAILED_PRECONDITION", f"Table {table.name} is the system's, and stays as it is")
    if isinstance(change, DropTable):
        return _drop(schema, table)
    match change:
        case AddColumn():
            changed = _add_column(table, change.column)
        case DropColumn():
            changed = _drop_column(schema, table, change.column)
        case AlterColumn():
            changed = _alter_column(schema, table, change.column)
        case SetOnDelete():
            if not table.parent:
                raise SpannerError(
                    "FAILED_PRECONDITION",
                    f"Table {table.name} is interleaved in no other: it has no ON DELETE",
                )
            changed = replace(table, on_delete=change.on_delete)
    tables = tuple(changed if each.number == table.number else each for each in schema.definition.tables)
    return replace(schema.definition, tables=tables)


def _name(kind: str, name: str, system: bool = False) -> str:
    if not (_NAME.fullmatch(name) or (system and _SYSTEM.fullmatch(name))):
        raise SpannerError(
            "INVALID_ARGUMENT",
            f"{kind} name not valid: {name!r}: a letter, then letters, digits and '_', at most 128 in all",
        )
    return name


def _column(spec: ColumnSpec, number: int, in_key: bool) -> Column:
    kind = parse_type(spec.type)
    if in_key and kind.code == "ARRAY":
        raise SpannerError(
            "INVALID_ARGUMENT", f"Column {spec.name} has type {kind}, but is part of the primary key."
        )
    return Column(
        _name("Column", spec.name), number, kind, in_key if spec.not_null is None else spec.not_null
    )


def _create(schema: Schema, change: CreateTable, system: bool) -> Definition:
    name = _name("Table", change.name, system)
    definition = schema.definition
    if any(name.lower() == each.lower() for each in schema.tables):
        raise SpannerError("FAILED_PRECONDITION", f"Duplicate name in schema: {name}.")
    if len(schema.tables) >= MAX_TABLES:
        raise SpannerError("FAILED_PRECONDITION", f"Table {name} would be one too many: at most {MAX_TABLES}")
    if not 1 <= len(change.columns) <= MAX_COLUMNS:
        raise SpannerError(
            "INVALID_ARGUMENT", f"Table {name} has {len(change.columns)} columns: 1 to {MAX_COLUMNS}"
        )
    if len(change.primary_key) > MAX_KEY_COLUMNS:
        raise SpannerError("INVALID_ARGUMENT", f"Table {name} has over {MAX_KEY_COLUMNS} columns in its key")
    keyed = [part.removeprefix("-").lower() for part in change.primary_key]
    columns: list[Column] = []
    by_name: dict[str, Column] = {}
    for number, spec in enumerate(change.columns, 1):
        if spec.name.lower() in by_name:
            raise SpannerError("INVALID_ARGUMENT", f"Table {name} has two columns named {spec.name}")
        by_name[spec.name.lower()] = column = _column(spec, number, spec.name.lower() in keyed)
        columns.append(column)
    primary_key: list[KeyPart] = []
    for said, part in zip(change.primary_key, keyed, strict=True):
        if part not in by_name:
            raise SpannerError("INVALID_ARGUMENT", f"Table {name}: its key names no column: {said}")
        key_part = KeyPart(by_name[part].number, said.startswith("-"))
        if any(each.column == key_part.column for each in primary_key):
            raise SpannerError("INVALID_ARGUMENT", f"Table {name}: its key names column {part} twice")
        primary_key.append(key_part)
    parent = _parent(schema, change, columns, primary_key) if change.parent else 0
    made = TableDefinition(
        name,
        definition.next_table,
        tuple(columns),
        tuple(primary_key),
        parent,
        change.on_delete,
        len(columns) + 1,
    )
    return replace(definition, tables=(*definition.tables, made), next_table=definition.next_table + 1)


def _parent(
    schema: Schema, change: CreateTable, columns: Sequence[Column], primary_key: Sequence[KeyPart]
) -> int:
    """Returns the number of the parent, if the new table can be interleaved in it."""
    parent = schema.table(change.parent)
    if "." in parent.name and "." not in change.name:
        raise SpannerError("FAILED_PRECONDITION", f"Table {parent.name} is the system's, and stays as it is")
    if len(parent.path) >= MAX_LEVELS:
        raise SpannerError(
            "FAILED_PRECONDITION", f"Table {change.name} would be interleaved deeper than {MAX_LEVELS} levels"
        )
    by_number = {column.number: column for column in columns}
    own = [(by_number[part.column], part.descending) for part in primary_key]
    theirs = list(
        zip(parent.key_columns, [part.descending for part in parent.definition.primary_key], strict=True)
    )
    for at, (column, descending) in enumerate(theirs):
        if at >= len(own):
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"The key of {change.name} must begin with that of its parent {parent.name}: "
                f"{column.name} is missing",
            )
        mine, turned = own[at]
        if (mine.name.lower(), mine.type, mine.not_null, turned) != (
            column.name.lower(),
            column.type,
            column.not_null,
            descending,
        ):
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"The key of {change.name} must begin with that of its parent {parent.name}: "
                f"{_declared(mine, turned)} stands in the place of {_declared(column, descending)}",
            )
    return parent.definition.number


def _declared(column: Column, descending: bool) -> str:
    null = " NOT NULL" if column.not_null else ""
    return f"{column.name} {column.type}{null}{' DESC' if descending else ''}"


def _drop(schema: Schema, table: TableDefinition) -> Definition:
    children = [each.name for each in schema.definition.tables if each.parent == table.number]
    if children:
        raise SpannerError(
            "FAILED_PRECONDITION",
            f"Cannot drop table {table.name}: tables are interleaved in it: {', '.join(children)}",
        )
    tables = tuple(each for each in schema.definition.tables if each.number != table.number)
    return replace(schema.definition, tables=tables)


def _add_column(table: TableDefinition, spec: ColumnSpec) -> TableDefinition:
    if any(each.name.lower() == spec.name.lower() for each in table.columns):
        raise SpannerError("FAILED_PRECONDITION", f"Duplicate column name {table.name}.{spec.name}.")
    if len(table.columns) >= MAX_COLUMNS:
        raise SpannerError(
            "FAILED_PRECONDITION", f"Table {table.name} has {MAX_COLUMNS} columns: no more can be"
        )
    column = _column(spec, table.next_column, in_key=False)
    if column.not_null:
        raise SpannerError(
            "FAILED_PRECONDITION",
            f"Cannot add NOT NULL column {table.name}.{column.name} to existing table {table.name}.",
        )
    return replace(table, columns=(*table.columns, column), next_column=table.next_column + 1)


def _drop_column(schema: Schema, table: TableDefinition, name: str) -> TableDefinition:
    column = schema.table(table.name).column(name)
    if any(part.column == column.number for part in table.primary_key):
        raise SpannerError(
            "FAILED_PRECONDITION",
            f"Cannot drop column {table.name}.{column.name}: it is part of the primary key",
        )
    return replace(table, columns=tuple(each for each in table.columns if each != column))


def _alter_column(schema: Schema, table: TableDefinition, spec: ColumnSpec) -> TableDefinition:
    column = schema.table(table.name).column(spec.name)
    in_key = any(part.column == column.number for part in table.primary_key)
    wanted = replace(_column(spec, column.number, in_key), name=column.name)
    named = f"{table.name}.{column.name}"
    if in_key and wanted != column:
        raise SpannerError(
            "FAILED_PRECONDITION", f"Cannot alter column {named}: it is part of the primary key"
        )
    if wanted.not_null and not column.not_null:
        raise SpannerError(
            "FAILED_PRECONDITION", f"Cannot make column {named} NOT NULL: rows that are there may have NULL"
        )
    if not _holds(wanted.type, column.type):
        raise SpannerError(
            "FAILED_PRECONDITION", f"Cannot change type of column {named} from {column.type} to {wanted.type}"
        )
    columns = tuple(wanted if each.number == column.number else each for each in table.columns)
    return replace(table, columns=columns)


def _holds(wider: Type, narrower: Type) -> bool:
    """Says whether every value of a type is one of another as well."""
    if wider.element is not None and narrower.element is not None:
        return _holds(wider.element, narrower.element)
    if wider.code != narrower.code:
        return False
    return wider.code not in ("STRING", "BYTES") or wider.limit >= narrower.limit
