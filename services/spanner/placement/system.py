"""The system tables: which group has what, the groups, moves under way, placement options, schemas.

They lie in group 0, are tables like others (made with `schema/`), and are read and written by transactions.
Every schema of a universe has them: the user's tables are added to `SYSTEM`.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from services.spanner.group import Member
from services.spanner.keys import END, FIRST, KeyRange
from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, Schema, Value, apply_change
from services.spanner.schema.ordered import tag

ROOT = 0
"""The group of the system tables."""

FRAGMENTS = "spanner_sys.fragments"
GROUPS = "spanner_sys.groups"
MOVES = "spanner_sys.moves"
PLACEMENTS = "spanner_sys.placements"
SCHEMAS = "spanner_sys.schemas"

_FIRST_USER_TABLE = 16


def _system() -> Schema:
    made = apply_change(
        EMPTY,
        CreateTable(
            FRAGMENTS,
            (
                ColumnSpec("start", "BYTES(MAX)"),
                ColumnSpec("end", "BYTES(MAX)", not_null=True),
                ColumnSpec("group", "INT64", not_null=True),
            ),
            ("start",),
        ),
        CreateTable(
            GROUPS,
            (
                ColumnSpec("group", "INT64"),
                ColumnSpec("members", "BYTES(MAX)", not_null=True),
                ColumnSpec("preferred", "STRING(MAX)", not_null=True),
                ColumnSpec("state", "STRING(16)", not_null=True),
            ),
            ("group",),
        ),
        CreateTable(
            MOVES,
            (
                ColumnSpec("name", "STRING(128)"),
                ColumnSpec("start", "BYTES(MAX)", not_null=True),
                ColumnSpec("end", "BYTES(MAX)", not_null=True),
                ColumnSpec("source", "INT64", not_null=True),
                ColumnSpec("target", "INT64", not_null=True),
                ColumnSpec("copied", "TIMESTAMP", not_null=True),
            ),
            ("name",),
        ),
        CreateTable(
            PLACEMENTS,
            (
                ColumnSpec("start", "BYTES(MAX)"),
                ColumnSpec("end", "BYTES(MAX)", not_null=True),
                ColumnSpec("option", "STRING(128)", not_null=True),
            ),
            ("start",),
        ),
        CreateTable(
            SCHEMAS,
            (
                ColumnSpec("version", "INT64"),
                ColumnSpec("schema", "BYTES(MAX)", not_null=True),
                ColumnSpec("since", "TIMESTAMP", not_null=True),
            ),
            ("-version",),
        ),
        system=True,
    )
    return Schema(msgspec.structs.replace(made.definition, next_table=_FIRST_USER_TABLE))


SYSTEM = _system()
"""The first schema of a universe."""

SYSTEM_RANGE = KeyRange(FIRST, tag(_FIRST_USER_TABLE))
"""Where the system tables are."""

USER_RANGE = KeyRange(tag(_FIRST_USER_TABLE), END)
"""Where all others are."""


class GroupRow(Struct, frozen=True):
    """A row of `GROUPS`.

    Attributes:
        group: its number.
        members: its replicas.
        preferred: who should lead; "" for anybody.
        state: "creating" until all replicas were made, "ready", then "dropping" until none is left.
    """

    group: int
    members: tuple[Member, ...]
    preferred: str = ""
    state: str = "ready"

    COLUMNS = ("group", "members", "preferred", "state")

    def row(self) -> tuple[Value, ...]:
        """Returns it as values of `COLUMNS`."""
        return self.group, msgspec.msgpack.encode(self.members), self.preferred, self.state

    @staticmethod
    def of(row: tuple[Value, ...]) -> GroupRow:
        """Returns what `row` made."""
        group, members, preferred, state = row
        return GroupRow(group, _members.decode(members), preferred, state)


class MoveRow(Struct, frozen=True):
    """A row of `MOVES`: movedir's register (2.2).

    Attributes:
        name: which move.
        range: what is moved.
        source, target: groups.
        copied: all versions up to this timestamp are staged at the target.
    """

    name: str
    range: KeyRange
    source: int
    target: int
    copied: int = 0

    COLUMNS = ("name", "start", "end", "source", "target", "copied")

    def row(self) -> tuple[Value, ...]:
        """Returns it as values of `COLUMNS`."""
        return self.name, self.range.start, self.range.end, self.source, self.target, self.copied

    @staticmethod
    def of(row: tuple[Value, ...]) -> MoveRow:
        """Returns what `row` made."""
        name, start, end, source, target, copied = row
        return MoveRow(name, KeyRange(start, end), source, target, copied)


_members = msgspec.msgpack.Decoder(tuple[Member, ...])
