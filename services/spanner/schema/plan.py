"""What mutations mean by a schema: which keys they write, what must be locked before, what rows come of it.

Limits and statuses are Cloud Spanner's. Its count of mutations is kept, too: a row counts as many as it has
columns in it (the key's always among them), a deleted key or range one.
"""

from __future__ import annotations

import functools
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from services.spanner.entries import Row
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange, only, prefix
from services.spanner.schema.mutations import WITH_ROWS, Kind, Mutation
from services.spanner.schema.table import Table, merged
from services.spanner.schema.types import Value

if TYPE_CHECKING:
    from services.spanner.schema.definitions import Column
    from services.spanner.schema.schema import Schema

MAX_MUTATIONS = 80_000
"""Of a commit, as counted above."""

Latest: TypeAlias = Callable[[bytes], Row | None]
"""The last committed row of a key."""

Scan: TypeAlias = Callable[[KeyRange], Iterable[tuple[bytes, Row]]]
"""The last committed rows of a range, in the order of their keys."""

_NEW = (Kind.INSERT, Kind.INSERT_OR_UPDATE, Kind.REPLACE)


class Locks(Struct, frozen=True):
    """What must be locked before `effects` looks: in order, not overlapping; none is in both."""

    exclusive: tuple[KeyRange, ...]
    shared: tuple[KeyRange, ...]


class Step(Struct, frozen=True):
    """A mutation by a schema.

    Attributes:
        mutation: as it was said.
        table: its table.
        rows: of kinds with rows: the key of each, and its other values by number of column.
        count: as limits count.
    """

    mutation: Mutation
    table: Table
    rows: tuple[tuple[bytes, dict[int, Value]], ...]
    count: int

    def ranges(self) -> tuple[KeyRange, ...]:
        """Returns what a kind with a key set is about, as far as it is in `within`."""
        key_set = self.mutation.key_set
        whole = self.mutation.kind is Kind.REQUIRE
        found = self.table.ranges(key_set) if whole else self.table.subtrees(key_set)
        return clipped(found, self.mutation.within)

    def orphan(self, parent: bytes) -> bool:
        """Says whether the parent of a row is looked after by another group."""
        return bool(self.mutation.within) and not inside(parent, self.mutation.within)


@functools.lru_cache(maxsize=1024)
def _shape(
    table: Table, names: tuple[str, ...], kind: Kind
) -> tuple[tuple[Column, ...], tuple[int, ...], tuple[tuple[int, Column], ...]]:
    """Returns, of a kind with rows: the columns, where in a row the key's are, and where which others are."""
    columns = [table.column(name) for name in names]
    numbers = [column.number for column in columns]
    if len(set(numbers)) != len(numbers):
        twice = next(column.name for at, column in enumerate(columns) if column.number in numbers[:at])
        raise SpannerError("INVALID_ARGUMENT", f"Multiple values for column {twice} of table {table.name}")
    for column in table.columns:
        if column.number in numbers:
            continue
        if table.in_key(column):
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"A row of table {table.name} is written without a part of its primary key: {column.name}",
            )
        if column.not_null and kind is not Kind.UPDATE:
            raise SpannerError(
                "FAILED_PRECONDITION",
                f"A new row in table {table.name} does not specify a non-null value for NOT NULL column: "
                f"{column.name}",
            )
    place = {number: at for at, number in enumerate(numbers)}
    key_at = [place[column.number] for column in table.key_columns]
    others = tuple((at, column) for at, column in enumerate(columns) if not table.in_key(column))
    return tuple(columns), tuple(key_at), others


def step(schema: Schema, mutation: Mutation) -> Step:
    """Returns what a mutation means.

    Raises:
        SpannerError: NOT_FOUND: no such table or column; FAILED_PRECONDITION: a value that does not fit, a
            part of the key or a NOT NULL column is missing; INVALID_ARGUMENT: it contradicts itself.
    """
    table = schema.table(mutation.table)
    if mutation.kind not in WITH_ROWS:
        key_set = mutation.key_set
        table.ranges(key_set)
        if mutation.kind is Kind.REQUIRE and (key_set.all or key_set.ranges):
            raise SpannerError("INVALID_ARGUMENT", f"rows of {table.name} are required by their keys")
        return Step(mutation, table, (), len(key_set.keys) + len(key_set.ranges) + key_set.all)
    try:
        columns, key_at, others = _shape(table, mutation.columns, mutation.kind)
    except TypeError:  # a name that is none, and cannot be hashed
        columns, key_at, others = _shape.__wrapped__(table, mutation.columns, mutation.kind)
    rows = []
    for row in mutation.rows:
        if not isinstance(row, list | tuple) or len(row) != len(columns):
            raise SpannerError(
                "INVALID_ARGUMENT",
                f"Mutation column and value size mismatch: {len(columns)} columns of table {table.name}, and "
                f"{len(row) if isinstance(row, list | tuple) else 'no list of'} values",
            )
        key = table.key([row[at] for at in key_at])
        rows.append((key, {column.number: table.check(column, row[at]) for at, column in others}))
    return Step(mutation, table, tuple(rows), len(rows) * len(columns))


class Plan:
    """What the mutations of a transaction, or of its part in one group, mean by a schema.

    Args:
        schema: the version that holds.
        mutations: in the order in which they take effect.

    Raises:
        SpannerError: as of `step`; INVALID_ARGUMENT: they are too many.

    Attributes:
        count: as limits count.
    """

    def __init__(self, schema: Schema, mutations: Sequence[Mutation]) -> None:
        self.schema = schema
        self.steps = [step(schema, mutation) for mutation in mutations]
        self.count = sum(each.count for each in self.steps)
        if self.count > MAX_MUTATIONS:
            raise SpannerError(
                "INVALID_ARGUMENT",
                f"The transaction contains too many mutations: {self.count}, at most {MAX_MUTATIONS}; "
                "a row counts as many as it has columns in it",
            )

    def locks(self) -> Locks:
        """Returns what must be locked before `effects`."""
        exclusive: list[KeyRange] = []
        shared: list[KeyRange] = []
        for each in self.steps:
            kind = each.mutation.kind
            if kind not in WITH_ROWS:
                (shared if kind is Kind.REQUIRE else exclusive).extend(each.ranges())
                continue
            subtree = kind is Kind.REPLACE and each.table.has_children
            for key, _ in each.rows:
                exclusive.extend(clipped([prefix(key)], each.mutation.within) if subtree else [only(key)])
                if each.table.parent is not None and kind in _NEW:
                    parent = each.table.parent_key(key)
                    if not each.orphan(parent):
                        shared.append(only(parent))
        locked = merged(exclusive)
        if not shared:
            return Locks(locked, ())
        starts = [each.start for each in locked]
        rest = []
        for each_ in merged(shared):
            at = bisect_right(starts, each_.start) - 1
            if at < 0 or not locked[at].covers(each_):
                rest.append(each_)
        return Locks(locked, tuple(rest))

    def effects(self, latest: Latest, scan: Scan) -> tuple[tuple[bytes, Row | None], ...]:
        """Returns the rows that come of it, None for those that are deleted; in the order of their keys.

        Args:
            latest, scan: what was committed last, of what `locks` says.

        Raises:
            SpannerError: ALREADY_EXISTS, NOT_FOUND, FAILED_PRECONDITION: the rows that are there forbid it.
        """
        rows = _Overlay(latest, scan)
        for each in self.steps:
            if each.mutation.kind in WITH_ROWS:
                for key, values in each.rows:
                    self._write(each, key, values, rows)
            elif each.mutation.kind is Kind.REQUIRE:
                for values_ in each.mutation.key_set.keys:
                    key = each.table.key(values_)
                    if (not each.mutation.within or inside(key, each.mutation.within)) and rows.get(
                        key
                    ) is None:
                        raise SpannerError(
                            "NOT_FOUND",
                            f"Table {each.table.name}: Row {each.table.shown_key(key)} "
                            "not found: it should be the parent of an inserted row",
                        )
            else:
                for range_ in each.ranges():
                    self._delete(each.table, range_, rows, itself=each.mutation.kind is Kind.DELETE)
        return rows.changes()

    def _write(self, each: Step, key: bytes, values: dict[int, Value], rows: _Overlay) -> None:
        table, kind = each.table, each.mutation.kind
        present = rows.get(key)
        if present is None:
            if kind is Kind.UPDATE:
                raise SpannerError("NOT_FOUND", f"Table {table.name}: Row {table.shown_key(key)} not found.")
            if table.parent is not None:
                parent = table.parent_key(key)
                if not each.orphan(parent) and rows.get(parent) is None:
                    raise SpannerError(
                        "NOT_FOUND",
                        "Insert failed because key was not found in parent table: "
                        f"Parent Table: {table.parent.name}  Child Table: {table.name}  "
                        f"Key: {table.parent.shown_key(parent)}",
                    )
        elif kind is Kind.INSERT:
            raise SpannerError(
                "ALREADY_EXISTS", f"Table {table.name}: Row {table.shown_key(key)} already exists."
            )
        if kind is Kind.REPLACE:
            if table.has_children:
                for range_ in clipped([prefix(key)], each.mutation.within):
                    self._delete(table, range_, rows, itself=False)
        elif present is not None and len(values) < table.others:  # else nothing of it stays
            values = table.stored(present) | values
        rows.put(key, table.row(values))

    def _delete(self, table: Table, range_: KeyRange, rows: _Overlay, itself: bool) -> None:
        """Deletes the rows of a table in a range, if `itself`, and all below them."""
        for key in list(rows.keys(range_)):
            found = self.schema.table_of(key)
            below = found.below(table) if found is not None else None
            if below is None or not (below or itself):
                continue
            for child in below:
                if not child.cascade:
                    assert child.parent is not None
                    assert found is not None
                    raise SpannerError(
                        "FAILED_PRECONDITION",
                        "Delete failed because one or more keys exist within the child table: Parent Table: "
                        f"{child.parent.name}  Child Table: {child.name}  Key: {found.shown_key(key)}",
                    )
            rows.put(key, None)


class _Overlay:
    """Rows as they are after some mutations of a transaction."""

    def __init__(self, latest: Latest, scan: Scan) -> None:
        self._latest = latest
        self._scan = scan
        self._changed: dict[bytes, Row | None] = {}
        self._order: list[bytes] = []

    def get(self, key: bytes) -> Row | None:
        return self._changed[key] if key in self._changed else self._latest(key)

    def put(self, key: bytes, row: Row | None) -> None:
        if key not in self._changed:
            insort(self._order, key)
        self._changed[key] = row

    def keys(self, range_: KeyRange) -> Iterator[bytes]:
        """Yields the keys of rows that exist in a range; in no order that matters."""
        for key, _ in self._scan(range_):
            if key not in self._changed:
                yield key
        at = bisect_right(self._order, range_.start)
        if at and self._order[at - 1] == range_.start:
            at -= 1
        while at < len(self._order) and self._order[at] < range_.end:
            if self._changed[self._order[at]] is not None:
                yield self._order[at]
            at += 1

    def changes(self) -> tuple[tuple[bytes, Row | None], ...]:
        return tuple(
            (key, row)
            for key in self._order
            if (row := self._changed[key]) is not None or self._latest(key) is not None
        )


def clipped(ranges: Iterable[KeyRange], within: Sequence[KeyRange]) -> tuple[KeyRange, ...]:
    """Returns what of some ranges lies within others; all of it where there are none."""
    if not within:
        return tuple(ranges)
    return tuple(meet for each in ranges for other in within if (meet := each.meet(other)) is not None)


def inside(key: bytes, ranges: Sequence[KeyRange]) -> bool:
    """Says whether a key is in one of several ranges, which are in order."""
    at = bisect_right(ranges, key, key=lambda each: each.start) - 1
    return at >= 0 and key in ranges[at]


def locks(schema: Schema, mutations: Sequence[Mutation]) -> Locks:
    """Returns what must be locked before `effects`; see `Plan`."""
    return Plan(schema, mutations).locks()


def effects(
    schema: Schema, mutations: Sequence[Mutation], latest: Latest, scan: Scan
) -> tuple[tuple[bytes, Row | None], ...]:
    """Returns the rows that come of mutations; see `Plan`."""
    return Plan(schema, mutations).effects(latest, scan)
