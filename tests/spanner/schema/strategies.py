"""Values, tables and keys that hypothesis draws; and how values compare, said anew."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, Schema, apply_change

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=6) | st.text("\0\1a\xff", max_size=4)
NUMERIC = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: f"{n}e-9")

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "INT64": INT64 | st.integers(-2, 2),
    "FLOAT64": st.floats(),
    "BOOL": st.booleans(),
    "STRING(MAX)": TEXT,
    "BYTES(MAX)": st.binary(max_size=6) | st.lists(st.sampled_from((0, 1, 255)), max_size=4).map(bytes),
    "TIMESTAMP": INT64,
    "DATE": st.dates().map(datetime.date.isoformat),
    "NUMERIC": NUMERIC,
}


def rank(kind: str, value: Any) -> Any:
    """Returns what sorts as a value of a type does: NULL first, then as the table of `types.py` says."""
    if value is None:
        return (0, 0)
    if kind == "FLOAT64":
        return (1, 0, 0.0) if math.isnan(value) else (1, 1, float(value))
    if kind == "STRING(MAX)":
        return (1, [ord(character) for character in value])
    if kind == "NUMERIC":
        return (1, Decimal(value))
    return (1, value)


def table_of(*parts: tuple[str, bool]) -> Schema:
    """Returns a schema of a table T whose key has parts of these types, some descending; all nullable."""
    columns = tuple(ColumnSpec(f"K{at}", kind, not_null=False) for at, (kind, _) in enumerate(parts))
    key = tuple(f"{'-' if down else ''}K{at}" for at, (_, down) in enumerate(parts))
    return apply_change(EMPTY, CreateTable("T", (*columns, ColumnSpec("V", "STRING(MAX)")), key))


PARTS = st.lists(st.tuples(st.sampled_from(sorted(VALUES)), st.booleans()), min_size=1, max_size=3)


def keys_of(parts: list[tuple[str, bool]]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draws keys with parts of these types."""
    return st.tuples(*(st.none() | VALUES[kind] for kind, _ in parts))


class Turned:
    """Sorts the other way round."""

    def __init__(self, rank: Any) -> None:
        self.rank = rank

    def __lt__(self, other: Turned) -> bool:
        return bool(other.rank < self.rank)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Turned) and self.rank == other.rank

    __hash__ = None  # type: ignore[assignment]


def key_rank(parts: list[tuple[str, bool]], values: tuple[Any, ...]) -> list[Any]:
    """Returns what sorts as a key does."""
    ranks = [rank(kind, value) for (kind, _), value in zip(parts, values, strict=False)]
    return [Turned(each) if down else each for each, (_, down) in zip(ranks, parts, strict=False)]


MUSIC = apply_change(
    EMPTY,
    CreateTable("Singers", (ColumnSpec("Singer", "INT64"), ColumnSpec("Name", "STRING(20)")), ("Singer",)),
    CreateTable(
        "Albums",
        (
            ColumnSpec("Singer", "INT64"),
            ColumnSpec("Album", "INT64"),
            ColumnSpec("Title", "STRING(20)", not_null=True),
            ColumnSpec("Year", "INT64"),
        ),
        ("Singer", "-Album"),
        "Singers",
        "CASCADE",
    ),
    CreateTable(
        "Songs",
        (ColumnSpec("Singer", "INT64"), ColumnSpec("Album", "INT64"), ColumnSpec("Song", "INT64")),
        ("Singer", "-Album", "Song"),
        "Albums",
        "NO ACTION",
    ),
    CreateTable(
        "Concerts", (ColumnSpec("Singer", "INT64"), ColumnSpec("At", "INT64")), ("Singer", "At"), "Singers"
    ),
    CreateTable(
        "Notes",
        (ColumnSpec("Singer", "INT64"), ColumnSpec("Text", "STRING(MAX)")),
        ("Singer",),
        "Singers",
        "CASCADE",
    ),
    CreateTable("Other", (ColumnSpec("Id", "INT64"), ColumnSpec("V", "INT64")), ("Id",)),
)
"""Singers, their albums (which go with them) and songs of these (which do not), concerts, one note each."""
