"""Keys as bytes: in order, invertible, none the beginning of another, children below their parents."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.spanner.keys import END, KeyRange, only, prefix
from services.spanner.schema import KeySet, Range, Table, beginning, keys, ordered
from services.spanner.schema.key_sets import ALL
from tests.spanner.schema.strategies import MUSIC, PARTS, VALUES, key_rank, keys_of, table_of

PAIRS = PARTS.flatmap(lambda parts: st.tuples(st.just(parts), keys_of(parts), keys_of(parts)))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


@given(PAIRS)
def test_the_order_of_keys_as_bytes_is_that_of_their_values(
    drawn: tuple[list[tuple[str, bool]], tuple[Any, ...], tuple[Any, ...]],
) -> None:
    parts, one, other = drawn
    table = table_of(*parts).table("T")
    first, second = key_rank(parts, one), key_rank(parts, other)
    assert (table.key(one) < table.key(other)) == (first < second)
    assert (table.key(one) == table.key(other)) == (first == second)


@given(PAIRS)
def test_no_key_is_the_beginning_of_another(
    drawn: tuple[list[tuple[str, bool]], tuple[Any, ...], tuple[Any, ...]],
) -> None:
    parts, one, other = drawn
    table = table_of(*parts).table("T")
    first, second = table.key(one), table.key(other)
    assert first == second or not second.startswith(first)
    assert not first.startswith(b"\xff")
    assert first < END


@given(PARTS.flatmap(lambda parts: st.tuples(st.just(parts), keys_of(parts))))
def test_the_values_of_a_key_can_be_read_from_it(
    drawn: tuple[list[tuple[str, bool]], tuple[Any, ...]],
) -> None:
    parts, values = drawn
    table = table_of(*parts).table("T")
    read = table.values(table.key(values))
    assert read is not None
    for (kind, _), before, after in zip(parts, values, read, strict=True):
        if kind == "NUMERIC" and before is not None:
            assert key_rank([(kind, False)], (before,)) == key_rank([(kind, False)], (after,))
        else:
            assert same(before, after)


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_null_sorts_first_and_last_when_descending(kind: str) -> None:
    low, high = table_of((kind, False)).table("T"), table_of((kind, True)).table("T")
    value = {"INT64": -(1 << 63), "FLOAT64": math.nan, "BOOL": False, "STRING(MAX)": "", "BYTES(MAX)": b"",
             "TIMESTAMP": -(1 << 63), "DATE": "0001-01-01", "NUMERIC": "-" + "9" * 29}[kind]  # fmt: skip
    assert low.key([None]) < low.key([value])
    assert high.key([value]) < high.key([None])


def test_nan_is_one_value_before_minus_infinity_and_both_zeros_are_one() -> None:
    table = table_of(("FLOAT64", False)).table("T")
    assert table.key([math.nan]) == table.key([-math.nan]) < table.key([-math.inf])
    assert table.key([-0.0]) == table.key([0.0])
    assert (
        table.key([-math.inf])
        < table.key([-1.5])
        < table.key([0])
        < table.key([5e-324])
        < table.key([math.inf])
    )


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_numbers_of_tables_are_in_order_and_can_be_read(one: int, other: int) -> None:
    assert (ordered.tag(one) < ordered.tag(other)) == (one < other)
    assert ordered.tag_back(ordered.tag(one) + b"more", 0) == (one, len(ordered.tag(one)))
    assert not ordered.tag(one).startswith(b"\xff")


@given(st.binary(max_size=20))
def test_bytes_that_are_no_key_are_refused_with_a_value_error(data: bytes) -> None:
    try:
        table = MUSIC.table_of(data)
    except ValueError:
        return
    if table is not None:
        assert table.key(table.values(data) or ()) is not None


SMALL = st.integers(-2, 2)


@given(st.lists(st.tuples(st.sampled_from(sorted(MUSIC.tables)), SMALL, SMALL, SMALL), max_size=12))
def test_rows_sort_below_their_parents_and_before_the_next_directory(
    drawn: list[tuple[str, int, int, int]],
) -> None:
    rows = {}
    for name, *numbers in drawn:
        table = MUSIC.table(name)
        values = numbers[: len(table.key_columns)]
        rows[table.key(values)] = (table, values)
    for key, (table, values) in rows.items():
        assert MUSIC.table_of(key) is table
        assert table.values(key) == values
        directory = table.directory(key)
        root = table.path[0]
        assert directory == prefix(root.key(values[:1]))
        for other, (of, theirs) in rows.items():
            assert (other in directory) == (of.path[0] is root and theirs[0] == values[0])
        if table.parent is not None:
            parent = table.parent_key(key)
            assert parent == table.parent.key(values[: len(table.parent.key_columns)])
            assert parent < key < prefix(parent).end


@given(st.binary(min_size=1, max_size=5))
def test_a_prefix_is_the_range_of_all_keys_that_begin_so(start: bytes) -> None:
    range_ = prefix(start)
    for more in (b"", b"\x00", b"\xff\xff\xff"):
        assert start + more in range_ or set(start) == {0xFF}
    if start[:1] < b"\xff":
        assert not range_.end.startswith(start)


# Key sets.

TABLES = st.sampled_from(sorted(MUSIC.tables))


@st.composite
def key_sets(draw: st.DrawFn, table: Table) -> KeySet:
    """Draws keys, and ranges with bounds of any length."""
    width = len(table.key_columns)
    bound = st.lists(SMALL, max_size=width).map(tuple)
    return KeySet(
        tuple(
            tuple(key) for key in draw(st.lists(st.lists(SMALL, min_size=width, max_size=width), max_size=2))
        ),
        tuple(draw(st.lists(st.builds(Range, bound, bound, st.booleans(), st.booleans()), max_size=2))),
        draw(st.integers(0, 9)) == 0,
    )


def chosen(table: Table, key_set: KeySet, values: tuple[int, ...]) -> bool:
    """Says anew whether a key is in a key set."""
    parts = [("INT64", part.descending) for part in table.definition.primary_key]

    def compared(bound: tuple[int, ...]) -> int:
        own, theirs = key_rank(parts, values[: len(bound)]), key_rank(parts, bound)
        return 0 if own == theirs else -1 if own < theirs else 1

    return (
        key_set.all
        or values in key_set.keys
        or any(
            (
                compared(each.start) > 0
                or (compared(each.start) == 0 and (each.start_closed or not each.start))
            )
            and (compared(each.end) < 0 or (compared(each.end) == 0 and (each.end_closed or not each.end)))
            for each in key_set.ranges
        )
    )


@given(TABLES.flatmap(lambda name: st.tuples(st.just(name), key_sets(MUSIC.table(name)))),
       st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=1, max_size=5))  # fmt: skip
def test_ranges_hold_the_keys_of_a_key_set_and_no_others_of_the_table(
    drawn: tuple[str, KeySet], rows: list[tuple[int, int, int]]
) -> None:
    table = MUSIC.table(drawn[0])
    ranges = table.ranges(drawn[1])
    assert all(one.end < other.start for one, other in itertools.pairwise(ranges))
    assert all(each.start < each.end for each in ranges)
    for row in rows:
        values = row[: len(table.key_columns)]
        assert any(table.key(values) in each for each in ranges) == chosen(table, drawn[1], values)
    assert KeySet.decode(drawn[1].encode()) == drawn[1]


def test_what_begins_with_a_row_of_the_parent_is_just_its_rows_of_this_table() -> None:
    albums, singers, songs = MUSIC.table("Albums"), MUSIC.table("Singers"), MUSIC.table("Songs")
    (range_,) = albums.ranges(beginning(1))
    assert albums.key([1, 5]) in range_
    assert songs.key([1, 5, 1]) in range_
    assert singers.key([1]) not in range_
    assert MUSIC.table("Concerts").key([1, 0]) not in range_


def test_a_key_alone_is_read_without_its_children_and_deleted_with_them() -> None:
    singers = MUSIC.table("Singers")
    assert singers.ranges(keys([1])) == (only(singers.key([1])),)
    assert singers.subtrees(keys([1])) == (prefix(singers.key([1])),)
    assert singers.ranges(ALL) == (KeyRange(b"\x01", b"\x02"),)
