"""What `dsim spanner` prints: tables, rows and groups, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.schema import Table


def described(table: Table) -> dict[str, Any]:
    """Returns what there is to say of a table."""
    return {
        "name": table.name,
        "parent": table.parent.name if table.parent else "",
        "cascade": table.cascade,
        "key": [one.name for one in table.key_columns],
        "descending": [
            column.name
            for column, part in zip(table.key_columns, table.definition.primary_key, strict=True)
            if part.descending
        ],
        "columns": [
            {"name": one.name, "type": str(one.type), "not_null": one.not_null} for one in table.columns
        ],
    }


def show_rows(
    table: Table, names: Sequence[str], rows: Sequence[Any], timestamp: int | None, *, json: bool
) -> None:
    """Prints rows that were read."""
    from sim.cli.spanner_values import plain, word

    if json:
        print_json(
            {
                "read_timestamp": timestamp,
                "rows": [dict(zip(names, map(plain, row), strict=True)) for row, _ in rows],
            }
        )
        return
    types = [table.column(name).type for name in names]
    print_table(names, [list(map(word, row, types)) for row, _ in rows])


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns as wide as what is in them."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_json(what: Any) -> None:
    """Prints JSON, for programs."""
    import msgspec

    print(msgspec.json.encode(what).decode())
