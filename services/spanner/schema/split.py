"""Mutations by the groups that they concern: what a client sends to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.spanner.keys import KeyRange, only, prefix
from services.spanner.schema.key_sets import KeySet
from services.spanner.schema.mutations import WITH_ROWS, Kind, Mutation
from services.spanner.schema.plan import Plan, Step
from services.spanner.schema.table import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.spanner.schema.schema import Schema
    from services.spanner.schema.types import Value


class Owners(Protocol):
    """Which group has what, as far as a client knows."""

    def owner(self, key: bytes) -> int:
        """Returns the group of a key."""
        ...

    def split(self, ranges: Iterable[KeyRange]) -> Sequence[tuple[int, Sequence[KeyRange]]]:
        """Cuts ranges at the borders of groups."""
        ...


def split(schema: Schema, mutations: Sequence[Mutation], owners: Owners) -> dict[int, list[Mutation]]:
    """Returns each group's part of the mutations, in their order.

    Where a directory is cut into fragments of several groups (2.3), the group of a parent is told to REQUIRE
    it for a row that is inserted elsewhere, and each group that has some of a deleted subtree gets it.

    Raises:
        SpannerError: as of `Plan`, and what `owners` raises.
    """
    parts: dict[int, list[Mutation]] = {}
    for step in Plan(schema, mutations).steps:
        if step.mutation.kind in WITH_ROWS:
            _rows(step, owners, parts)
        else:
            _key_set(step, owners, parts)
    return parts


def _rows(step: Step, owners: Owners, parts: dict[int, list[Mutation]]) -> None:
    mutation, table = step.mutation, step.table
    inserted = table.parent is not None and mutation.kind is not Kind.UPDATE
    emptied = mutation.kind is Kind.REPLACE and table.has_children
    key_at = [_position(step, column.name) for column in table.key_columns] if inserted or emptied else []
    whole: dict[int, list[Sequence[Value]]] = {}
    cut: dict[int, list[Sequence[Value]]] = {}
    within: dict[int, list[KeyRange]] = {}
    required: dict[int, dict[bytes, tuple[Value, ...]]] = {}
    for (key, _), row in zip(step.rows, mutation.rows, strict=True):
        group = owners.owner(key)
        mine = [only(key)]
        is_cut = False
        values = tuple(row[at] for at in key_at)
        if table.parent is not None and inserted:
            parent = table.parent_key(key)
            there = owners.owner(parent)
            if there != group:
                is_cut = True
                required.setdefault(there, {})[parent] = values[: len(table.parent.key_columns)]
            else:
                mine.append(only(parent))
        if emptied:
            pieces = owners.split([prefix(key)])
            for other, ranges in pieces:
                if other == group:
                    mine += ranges
                else:
                    is_cut = True
                    parts.setdefault(other, []).append(
                        Mutation(
                            Kind.DELETE_CHILDREN,
                            mutation.table,
                            key_set=KeySet((values,)),
                            within=tuple(ranges),
                        )
                    )
        if is_cut:
            cut.setdefault(group, []).append(row)
            within.setdefault(group, []).extend(mine)
        else:
            whole.setdefault(group, []).append(row)
    for group, keys in required.items():
        assert table.parent is not None
        parts.setdefault(group, []).append(
            Mutation(Kind.REQUIRE, table.parent.name, key_set=KeySet(tuple(keys.values())))
        )
    for group, rows in whole.items():
        part = mutation if len(rows) == len(mutation.rows) else _with(mutation, rows, ())
        parts.setdefault(group, []).append(part)
    for group, rows in cut.items():
        parts.setdefault(group, []).append(_with(mutation, rows, merged(within[group])))


def _with(mutation: Mutation, rows: Sequence[Sequence[Value]], within: tuple[KeyRange, ...]) -> Mutation:
    return Mutation(mutation.kind, mutation.table, mutation.columns, tuple(rows), within=within)


def _position(step: Step, name: str) -> int:
    return [each.lower() for each in step.mutation.columns].index(name.lower())


def _key_set(step: Step, owners: Owners, parts: dict[int, list[Mutation]]) -> None:
    mutation, table = step.mutation, step.table
    key_set = mutation.key_set
    whole: dict[int, list[tuple[Value, ...]]] = {}
    cut: list[tuple[Value, ...]] = []
    for values in key_set.keys:
        key = table.key(values)
        subtree = table.has_children and mutation.kind is not Kind.REQUIRE
        groups = {group: None for group, _ in owners.split([prefix(key) if subtree else only(key)])}
        if len(groups) == 1:
            whole.setdefault(next(iter(groups)), []).append(values)
        else:
            cut.append(values)
    for group, keys in whole.items():
        parts.setdefault(group, []).append(
            Mutation(mutation.kind, mutation.table, key_set=KeySet(tuple(keys)))
        )
    rest = KeySet(tuple(cut), key_set.ranges, key_set.all)
    found: dict[int, list[KeyRange]] = {}
    for group, ranges in owners.split(table.subtrees(rest)):
        found.setdefault(group, []).extend(ranges)
    for group, ranges in found.items():
        within = tuple(ranges) if len(found) > 1 else ()
        parts.setdefault(group, []).append(
            Mutation(mutation.kind, mutation.table, key_set=rest, within=within)
        )
