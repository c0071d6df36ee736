"""The map of fragments: whole after any moves, as few rows as will do; the system tables and their rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import END, EVERYTHING, KeyRange
from services.spanner.placement.fragments import Fragment, FragmentMap
from services.spanner.placement.system import SYSTEM, SYSTEM_RANGE, USER_RANGE, GroupRow, MoveRow
from services.spanner.schema import ColumnSpec, CreateTable, apply_change

KEYS = st.binary(max_size=2).filter(lambda key: key < END)
RANGES = st.builds(
    lambda one, other: KeyRange(min(one, other), max(one, other)), KEYS, KEYS | st.just(END)
).filter(lambda range_: range_.start < range_.end)


@given(st.lists(st.tuples(RANGES, st.integers(0, 3)), max_size=8), KEYS)
def test_after_any_moves_each_key_has_the_group_that_got_it_last(
    moves: list[tuple[KeyRange, int]], key: bytes
) -> None:
    fragments = FragmentMap([Fragment(EVERYTHING, 0)])
    owner = 0
    for range_, group in moves:
        edit = fragments.moved(range_, group)
        assert not set(edit.deleted) & {each.range.start for each in edit.written}
        fragments = fragments.edited(edit)
        if key in range_:
            owner = group
    assert fragments.owner(key) == owner
    ends = [each.range.end for each in fragments.fragments]
    assert [each.range.start for each in fragments.fragments] == [b"", *ends[:-1]]
    assert ends[-1] == END
    for one, other in zip(fragments.fragments, fragments.fragments[1:], strict=False):
        assert one.group != other.group
    for range_, _ in moves:
        pieces = [piece for _, ranges in fragments.split([range_]) for piece in ranges]
        assert pieces[0].start == range_.start
        assert pieces[-1].end == range_.end


def test_what_belongs_to_nobody_is_not_moved_and_not_found() -> None:
    fragments = FragmentMap([Fragment(KeyRange(b"b", b"d"), 1)])
    with pytest.raises(SpannerError, match="FAILED_PRECONDITION"):
        fragments.moved(KeyRange(b"a", b"c"), 2)
    with pytest.raises(SpannerError, match="FAILED_PRECONDITION"):
        fragments.moved(KeyRange(b"e", b"f"), 2)
    with pytest.raises(SpannerError) as refused:
        fragments.owner(b"d")
    assert refused.value.reason == "moved"


def test_overlapping_fragments_are_no_map() -> None:
    with pytest.raises(ValueError, match="before it ends"):
        FragmentMap([Fragment(KeyRange(b"a", b"c"), 1), Fragment(KeyRange(b"b", b"d"), 2)])


def test_the_system_tables_are_before_all_others() -> None:
    user = apply_change(SYSTEM, CreateTable("T", (ColumnSpec("Id", "INT64"),), ("Id",))).table("T")
    assert user.key([1]) in USER_RANGE
    for table in SYSTEM.tables.values():
        assert SYSTEM_RANGE.covers(table.everything)
    assert SYSTEM_RANGE.end == USER_RANGE.start


def test_rows_of_system_tables_can_be_read_again() -> None:
    group = GroupRow(7, (Member("s1", "z1"), Member("s2", "z2", "witness")), "s1", "creating")
    assert GroupRow.of(group.row()) == group
    move = MoveRow("m", KeyRange(b"a", b"b"), 1, 2, 99)
    assert MoveRow.of(move.row()) == move
