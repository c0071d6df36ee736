"""Mutations against a naive model: the same rows, the same refusals, nothing read or written without a lock;
and cut over groups they mean the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.spanner.errors import SpannerError
from services.spanner.keys import END, KeyRange
from services.spanner.schema import KeySet, Kind, Mutation, Plan, Range, effects, locks, split
from services.spanner.schema.plan import clipped
from tests.spanner.schema import model
from tests.spanner.schema.strategies import MUSIC

KINDS = [Kind.INSERT, Kind.INSERT, Kind.UPDATE, Kind.INSERT_OR_UPDATE, Kind.REPLACE, Kind.DELETE]
SMALL = st.integers(0, 2)
OTHERS = {"Singers": ("Name",), "Albums": ("Title", "Year"), "Notes": ("Text",), "Other": ("V",)}


@st.composite
def mutations(draw: st.DrawFn) -> list[Mutation]:
    """Draws mutations of a few rows that meet often."""
    drawn: list[Mutation] = []
    for _ in range(draw(st.integers(1, 5))):
        table = MUSIC.table(draw(st.sampled_from(sorted(MUSIC.tables))))
        kind = draw(st.sampled_from(KINDS))
        keys = draw(st.lists(st.lists(SMALL, min_size=3, max_size=3), min_size=1, max_size=2))
        keys = [key[: len(table.key_columns)] for key in keys]
        if kind is Kind.DELETE:
            drawn.append(Mutation(kind, table.name, key_set=KeySet(tuple(map(tuple, keys)))))
            continue
        others = OTHERS.get(table.name, ())
        if kind is Kind.UPDATE:
            others = others[: draw(st.integers(0, len(others)))]
        columns = (*(column.name for column in table.key_columns), *others)
        values = {"Name": st.none() | st.just("n"), "Title": st.sampled_from("tu"), "Text": st.just("x")}
        rows = [[*key, *(draw(values.get(name, st.none() | SMALL)) for name in others)] for key in keys]
        drawn.append(Mutation(kind, table.name, columns, tuple(rows)))
    return drawn


@st.composite
def databases(draw: st.DrawFn) -> model.Rows:
    """Draws rows whose parents are there."""
    rows: model.Rows = {}
    for name, table in MUSIC.tables.items():
        for values in draw(st.sets(st.tuples(SMALL, SMALL, SMALL), max_size=6)):
            key = values[: len(table.key_columns)]
            if table.parent is None or (table.parent.name, key[: len(table.parent.key_columns)]) in rows:
                rows[name, key] = {"Title": "old", "Year": 1} if name == "Albums" else {}
    return rows


class Locked:
    """Committed rows, of which only what is locked may be looked at."""

    def __init__(self, rows: dict[bytes, bytes], ranges: Sequence[KeyRange]) -> None:
        self.rows = rows
        self.ranges = ranges

    def latest(self, key: bytes) -> bytes | None:
        assert any(key in each for each in self.ranges), key
        return self.rows.get(key)

    def scan(self, range_: KeyRange) -> Iterator[tuple[bytes, bytes]]:
        assert any(each.covers(range_) for each in self.ranges), range_
        yield from [(key, row) for key, row in self.rows.items() if key in range_]


def applied(part: list[Mutation], rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Returns rows after mutations, with all laws of locks and effects checked."""
    locked = locks(MUSIC, part)
    everything = [*locked.exclusive, *locked.shared]
    for one in locked.exclusive:
        assert not any(one.covers(other) for other in locked.shared)
    kept = Locked(rows, everything)
    changes = effects(MUSIC, part, kept.latest, kept.scan)
    assert [key for key, _ in changes] == sorted({key for key, _ in changes})
    after = dict(rows)
    for key, row in changes:
        assert any(key in each for each in locked.exclusive)
        assert row is not None or key in rows
        if row is None:
            del after[key]
        else:
            after[key] = row
    return dict(sorted(after.items()))


@settings(max_examples=300, deadline=None)
@given(mutations(), databases())
def test_mutations_do_what_the_model_says_and_touch_only_what_is_locked(
    drawn: list[Mutation], before: model.Rows
) -> None:
    rows = model.stored(MUSIC, before)
    try:
        expected = model.apply(MUSIC, drawn, before)
    except model.Refused as refused:
        try:
            applied(drawn, rows)
        except SpannerError as error:
            assert error.code == str(refused)
            return
        raise AssertionError(f"the model refuses it: {refused}") from None
    assert model.seen(MUSIC, applied(drawn, rows)) == {
        at: {name: value for name, value in row.items() if value is not None} for at, row in expected.items()
    }


class Cut:
    """Groups with borders between them."""

    def __init__(self, borders: list[bytes]) -> None:
        self.borders = sorted(borders)

    def owner(self, key: bytes) -> int:
        return bisect_right(self.borders, key) % 3

    def range(self, at: int) -> KeyRange:
        ends = [b"", *self.borders, END]
        return KeyRange(ends[at], ends[at + 1])

    def split(self, ranges: Iterable[KeyRange]) -> list[tuple[int, list[KeyRange]]]:
        return [
            (at % 3, [meet])
            for each in ranges
            for at in range(len(self.borders) + 1)
            if (meet := each.meet(self.range(at))) is not None
        ]

    def owned(self, group: int) -> list[KeyRange]:
        return [self.range(at) for at in range(len(self.borders) + 1) if at % 3 == group]


BORDER = st.builds(
    lambda name, values: MUSIC.table(name).key(values[: len(MUSIC.table(name).key_columns)]),
    st.sampled_from(sorted(MUSIC.tables)),
    st.tuples(SMALL, SMALL, SMALL),
)


@settings(max_examples=300, deadline=None)
@given(mutations(), databases(), st.lists(BORDER, min_size=1, max_size=5, unique=True))
def test_mutations_cut_over_groups_do_the_same_and_each_group_locks_only_what_is_its_own(
    drawn: list[Mutation], before: model.Rows, borders: list[bytes]
) -> None:
    cut = Cut(borders)
    rows = model.stored(MUSIC, before)
    parts = split(MUSIC, drawn, cut)
    refused: list[str] = []
    after: dict[bytes, bytes] = {key: row for key, row in rows.items() if cut.owner(key) not in parts}
    for group, part in parts.items():
        part = [Mutation.from_wire(each.to_wire()) for each in part]
        locked = locks(MUSIC, part)
        for each in (*locked.exclusive, *locked.shared):
            own = clipped([each], cut.owned(group))
            assert sum(map(_width, own)) == _width(each)
        try:
            after |= applied(part, {key: row for key, row in rows.items() if cut.owner(key) == group})
        except SpannerError as error:
            refused.append(error.code)
    try:
        whole = applied(drawn, rows)
    except SpannerError as error:
        assert error.code in refused or refused
        return
    assert not refused
    assert dict(sorted(after.items())) == whole


def _width(range_: KeyRange) -> int:
    """How much there is in a range, so that what is cut adds up."""
    return int.from_bytes(range_.end.ljust(64, b"\0")) - int.from_bytes(range_.start.ljust(64, b"\0"))


def test_a_part_for_one_group_is_the_mutation_itself() -> None:
    mutation = Mutation(Kind.INSERT, "Other", ("Id", "V"), ((1, 1), (2, 2)))
    (part,) = split(MUSIC, [mutation], Cut([]))[0]
    assert part is mutation


# Deletes by ranges.


def deleted(table: str, key_set: KeySet, rows: model.Rows) -> set[Any]:
    kept = model.stored(MUSIC, rows)
    after = applied([Mutation(Kind.DELETE, table, key_set=key_set)], kept)
    return set(rows) - set(model.seen(MUSIC, after))


LIBRARY: model.Rows = {
    **{("Singers", (singer,)): {} for singer in (1, 2, 3)},
    **{("Albums", (singer, album)): {"Title": "t"} for singer in (1, 2) for album in (1, 2, 3)},
    ("Notes", (1,)): {},
    ("Concerts", (3, 1)): {},
    ("Other", (1,)): {},
}


def test_a_range_of_children_leaves_their_parents_and_siblings() -> None:
    everything = KeySet(all=True)
    albums = {at for at in LIBRARY if at[0] == "Albums"}
    assert deleted("Albums", everything, LIBRARY) == albums
    one = KeySet(ranges=(Range((1,), (1,), end_closed=True),))
    assert deleted("Albums", one, LIBRARY) == {at for at in albums if at[1][0] == 1}
    descending = KeySet(ranges=(Range((1, 3), (1, 1)),))
    assert deleted("Albums", descending, LIBRARY) == {("Albums", (1, 3)), ("Albums", (1, 2))}


def test_a_range_of_parents_takes_the_children_that_cascade() -> None:
    upto = KeySet(ranges=(Range((), (2,), end_closed=True),))
    assert deleted("Singers", upto, LIBRARY) == {
        at for at in LIBRARY if at[0] != "Other" and at[1][0] in (1, 2)
    }


def test_a_range_of_parents_is_refused_where_a_child_forbids_it() -> None:
    try:
        deleted("Singers", KeySet(all=True), LIBRARY)
    except SpannerError as error:
        assert error.code == "FAILED_PRECONDITION"
        assert "Child Table: Concerts  Key: [3, 1]" in error.detail
    else:
        raise AssertionError("it was deleted")


def test_mutations_are_counted_by_columns() -> None:
    plan = Plan(
        MUSIC,
        [
            Mutation(Kind.INSERT, "Albums", ("Singer", "Album", "Title"), ((1, 1, "a"), (1, 2, "b"))),
            Mutation(Kind.DELETE, "Other", key_set=KeySet(((1,), (2,)), (Range((5,), (9,)),))),
        ],
    )
    assert plan.count == 2 * 3 + 3
