"""What mutations mean, said anew and naively: rows in a dict, by table and key."""

from __future__ import annotations

from typing import Any

from services.spanner.schema import Kind, Mutation, Schema, Table

Rows = dict[tuple[str, tuple[Any, ...]], dict[str, Any]]


class Refused(Exception):
    """With the status."""


def key_of(table: Table, columns: tuple[str, ...], row: Any) -> tuple[Any, ...]:
    values = dict(zip(columns, row, strict=True))
    return tuple(values[column.name] for column in table.key_columns)


def apply(schema: Schema, mutations: list[Mutation], before: Rows) -> Rows:
    """Returns the rows after mutations.

    Raises:
        Refused: with the status.
    """
    rows = {at: dict(row) for at, row in before.items()}
    for mutation in mutations:
        table = schema.table(mutation.table)
        if mutation.kind is Kind.DELETE:
            for name, key in list(rows):
                if name == table.name and key in mutation.key_set.keys:
                    _delete(schema, table, key, rows)
                    del rows[name, key]
            continue
        for row in mutation.rows:
            key = key_of(table, mutation.columns, row)
            values = {
                name: value
                for name, value in zip(mutation.columns, row, strict=True)
                if not table.in_key(table.column(name))
            }
            old = rows.get((table.name, key))
            if mutation.kind is Kind.INSERT and old is not None:
                raise Refused("ALREADY_EXISTS")
            if mutation.kind is Kind.UPDATE and old is None:
                raise Refused("NOT_FOUND")
            if old is None and table.parent is not None:
                parent = (table.parent.name, key[: len(table.parent.key_columns)])
                if parent not in rows:
                    raise Refused("NOT_FOUND")
            if mutation.kind is Kind.REPLACE:
                _delete(schema, table, key, rows)
                old = None
            rows[table.name, key] = {**(old or {}), **values}
    return rows


def _delete(schema: Schema, table: Table, key: tuple[Any, ...], rows: Rows) -> None:
    """Deletes what is below a row."""
    for child in schema.tables.values():
        if child.parent is not table:
            continue
        for name, below in list(rows):
            if name == child.name and below[: len(key)] == key:
                if not child.cascade:
                    raise Refused("FAILED_PRECONDITION")
                _delete(schema, child, below, rows)
                del rows[name, below]


def stored(schema: Schema, rows: Rows) -> dict[bytes, bytes]:
    """Returns rows as a tablet has them, in order."""
    return dict(
        sorted(
            (
                schema.table(name).key(key),
                schema.table(name).row(
                    {schema.table(name).column(column).number: value for column, value in row.items()}
                ),
            )
            for (name, key), row in rows.items()
        )
    )


def seen(schema: Schema, kept: dict[bytes, bytes]) -> Rows:
    """Returns rows as they are read; NULLs left out."""
    found: Rows = {}
    for key, row in kept.items():
        table = schema.table_of(key)
        assert table is not None
        columns = [column.name for column in table.columns]
        values = table.reader(columns)(key, row)
        assert values is not None
        found[table.name, tuple(table.values(key) or ())] = {
            name: value
            for name, value in zip(columns, values, strict=True)
            if value is not None and not table.in_key(table.column(name))
        }
    return found
