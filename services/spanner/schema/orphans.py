"""Rows of tables that are gone: what nobody can read any more, since no schema that holds has their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.schema.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.spanner.keys import KeyRange


def orphans(
    before: Sequence[bytes], after: Sequence[bytes]
) -> tuple[list[KeyRange], Callable[[bytes], bool]]:
    """Returns where rows may be that are of a table only in earlier schemas, and what says so of a key.

    Args:
        before, after: schemas, encoded.
    """
    return dropped(before, after), orphaned(after)


def dropped(before: Sequence[bytes], after: Sequence[bytes]) -> list[KeyRange]:
    """Returns where the rows are of tables that earlier schemas have, and later ones have not.

    Rows of tables that stay may lie among them: those that one is interleaved in.

    Args:
        before, after: schemas, encoded.
    """
    kept = {table.definition.number for data in after for table in Schema.decode(data).tables.values()}
    found = {
        table.everything: None
        for data in before
        for table in Schema.decode(data).tables.values()
        if table.definition.number not in kept
    }
    return sorted(found)


def orphaned(schemas: Sequence[bytes]) -> Callable[[bytes], bool]:
    """Returns what says of a key that it is of no table in any of these schemas.

    Args:
        schemas: encoded.
    """
    decoded = [Schema.decode(data) for data in schemas]

    def is_orphan(key: bytes) -> bool:
        try:
            return all(schema.table_of(key) is None for schema in decoded)
        except (ValueError, IndexError):
            return False  # it was not written by a schema: left alone

    return is_orphan
