"""Changes of the schema: what can be, what cannot, and that rows outlive them."""

from __future__ import annotations

import pytest

from services.spanner.errors import Code, SpannerError
from services.spanner.schema import (
    EMPTY,
    AddColumn,
    AlterColumn,
    Change,
    ColumnSpec,
    CreateTable,
    DropColumn,
    DropTable,
    Schema,
    SetOnDelete,
    apply_change,
    decode_changes,
    decode_rows,
    effects,
    encode_changes,
    insert,
)
from tests.spanner.schema.strategies import MUSIC

ID = ColumnSpec("Id", "INT64")


def test_a_schema_and_its_changes_survive_encoding() -> None:
    again = Schema.decode(MUSIC.encode())
    assert again.definition == MUSIC.definition
    assert again.table("albums").parent is again.table("SINGERS")
    changes: tuple[Change, ...] = (CreateTable("T", (ID,), ("Id",)), AddColumn("T", ColumnSpec("V", "BOOL")))
    assert decode_changes(encode_changes(changes)) == changes


def test_several_changes_are_one_version() -> None:
    assert MUSIC.version == 1
    assert apply_change(MUSIC, DropTable("Other"), DropTable("Notes")).version == 2


def test_rows_outlive_columns_that_come_and_go() -> None:
    first = apply_change(
        EMPTY, CreateTable("T", (ID, ColumnSpec("A", "INT64"), ColumnSpec("B", "INT64")), ("Id",))
    )
    ((key, row),) = effects(first, [insert("T", ("Id", "A", "B"), [(1, 2, 3)])], lambda _: None, lambda _: ())
    assert row is not None
    second = apply_change(first, DropColumn("T", "A"), AddColumn("T", ColumnSpec("C", "STRING(MAX)")))
    assert decode_rows(second, "T", ("B", "C"), [(key, row)]) == b"\x91\x92\x03\xc0"
    third = apply_change(second, AddColumn("T", ColumnSpec("A", "STRING(5)")))
    assert (
        decode_rows(third, "T", ("A", "B"), [(key, row)]) == b"\x91\x92\xc0\x03"
    )  # another column of that name


def test_a_table_that_is_created_again_does_not_see_the_rows_of_the_first() -> None:
    create = CreateTable("T", (ID,), ("Id",))
    first = apply_change(EMPTY, create)
    second = apply_change(apply_change(first, DropTable("T")), create)
    old = first.table("T").key([1])
    assert second.table("T").values(old) is None
    assert second.table_of(old) is None
    assert not any(old in each for each in [second.table("T").everything])


def test_key_columns_are_not_null_unless_it_is_said() -> None:
    table = apply_change(EMPTY, CreateTable("T", (ID, ColumnSpec("V", "BOOL")), ("Id",))).table("T")
    assert [column.not_null for column in table.columns] == [True, False]
    spec = ColumnSpec("Id", "INT64", not_null=False)
    assert apply_change(EMPTY, CreateTable("T", (spec,), ("Id",))).table("T").key([None])


def test_what_needs_no_look_at_the_rows_can_be_changed() -> None:
    schema = apply_change(
        MUSIC,
        AlterColumn("Albums", ColumnSpec("title", "STRING(MAX)", not_null=False)),
        SetOnDelete("Concerts", "CASCADE"),
    )
    title = schema.table("Albums").column("Title")
    assert (title.name, str(title.type), title.not_null) == ("Title", "STRING(MAX)", False)
    assert schema.table("Concerts").cascade


def test_a_table_without_key_has_one_row() -> None:
    schema = apply_change(EMPTY, CreateTable("One", (ColumnSpec("V", "INT64"),), ()))
    assert schema.table("One").values(schema.table("One").key([])) == []


DEEP = EMPTY
for level in range(1, 8):
    DEEP = apply_change(
        DEEP,
        CreateTable(
            f"L{level}",
            tuple(ColumnSpec(f"K{at}", "INT64") for at in range(1, level + 1)),
            tuple(f"K{at}" for at in range(1, level + 1)),
            f"L{level - 1}" if level > 1 else "",
        ),
    )
EIGHT = tuple(f"K{at}" for at in range(1, 9))

CASES: list[tuple[Change, Code, list[str]]] = [
    (CreateTable("singers", (ID,), ("Id",)), "FAILED_PRECONDITION", ["Duplicate", "singers"]),
    (CreateTable("1T", (ID,), ("Id",)), "INVALID_ARGUMENT", ["1T"]),
    (CreateTable("a.b", (ID,), ("Id",)), "INVALID_ARGUMENT", ["a.b"]),
    (CreateTable("T" * 129, (ID,), ("Id",)), "INVALID_ARGUMENT", ["TTT"]),
    (CreateTable("T", (ColumnSpec("a b", "INT64"),), ()), "INVALID_ARGUMENT", ["a b"]),
    (CreateTable("T", (ID, ColumnSpec("ID", "BOOL")), ("Id",)), "INVALID_ARGUMENT", ["two columns", "ID"]),
    (CreateTable("T", (ID,), ("Key",)), "INVALID_ARGUMENT", ["Key"]),
    (CreateTable("T", (ID,), ("Id", "-id")), "INVALID_ARGUMENT", ["twice"]),
    (CreateTable("T", (), ()), "INVALID_ARGUMENT", ["0 columns"]),
    (CreateTable("T", (ColumnSpec("A", "ARRAY<INT64>"),), ("A",)), "INVALID_ARGUMENT", ["A", "primary key"]),
    (CreateTable("T", (ColumnSpec("A", "INT"),), ()), "INVALID_ARGUMENT", ["INT ", "INT64"]),
    (CreateTable("T", (ID,), ("Id",), "Nope"), "NOT_FOUND", ["Nope"]),
    (CreateTable("T", (ID,), ("Id",), "Singers"), "FAILED_PRECONDITION", ["Id INT64", "Singer INT64"]),
    (CreateTable("T", (ColumnSpec("Singer", "STRING(9)"),), ("Singer",), "Singers"), "FAILED_PRECONDITION",
     ["STRING(9)", "INT64"]),
    (CreateTable("T", (ColumnSpec("Singer", "INT64"),), ("-Singer",), "Singers"), "FAILED_PRECONDITION",
     ["DESC"]),
    (CreateTable("T", (ColumnSpec("Singer", "INT64"),), ("Singer",), "Albums"), "FAILED_PRECONDITION",
     ["Album is missing"]),
    (DropTable("Nope"), "NOT_FOUND", ["Nope"]),
    (DropTable("Singers"), "FAILED_PRECONDITION", ["Singers", "Albums", "Concerts", "Notes"]),
    (AddColumn("Other", ColumnSpec("v", "BOOL")), "FAILED_PRECONDITION", ["Other.v"]),
    (AddColumn("Other", ColumnSpec("W", "BOOL", not_null=True)), "FAILED_PRECONDITION",
     ["NOT NULL", "Other.W"]),
    (DropColumn("Other", "Id"), "FAILED_PRECONDITION", ["Other.Id", "primary key"]),
    (DropColumn("Other", "X"), "NOT_FOUND", ["Other", "X"]),
    (AlterColumn("Other", ColumnSpec("X", "BOOL")), "NOT_FOUND", ["Other", "X"]),
    (AlterColumn("Other", ColumnSpec("V", "STRING(MAX)")), "FAILED_PRECONDITION",
     ["Other.V", "INT64", "STRING(MAX)"]),
    (AlterColumn("Other", ColumnSpec("V", "INT64", not_null=True)), "FAILED_PRECONDITION",
     ["Other.V", "NULL"]),
    (AlterColumn("Singers", ColumnSpec("Name", "STRING(19)")), "FAILED_PRECONDITION", ["Singers.Name", "19"]),
    (AlterColumn("Other", ColumnSpec("Id", "INT64", not_null=False)), "FAILED_PRECONDITION",
     ["Other.Id", "primary key"]),
    (SetOnDelete("Other", "CASCADE"), "FAILED_PRECONDITION", ["Other"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "named"), CASES)
def test_changes_that_cannot_be_are_refused_and_named(change: Change, code: Code, named: list[str]) -> None:
    with pytest.raises(SpannerError) as refused:
        apply_change(MUSIC, change)
    assert refused.value.code == code
    for word in named:
        assert word in refused.value.detail


def test_tables_nest_seven_levels_deep() -> None:
    assert len(DEEP.table("L7").path) == 7
    with pytest.raises(SpannerError, match=r"FAILED_PRECONDITION.*7 levels"):
        apply_change(DEEP, CreateTable("L8", tuple(ColumnSpec(name, "INT64") for name in EIGHT), EIGHT, "L7"))


def test_the_systems_tables_are_its_own() -> None:
    schema = apply_change(EMPTY, CreateTable("sys.groups", (ID,), ("Id",)), system=True)
    with pytest.raises(SpannerError, match=r"FAILED_PRECONDITION.*sys.groups"):
        apply_change(schema, DropTable("sys.groups"))
    with pytest.raises(SpannerError, match=r"FAILED_PRECONDITION.*sys.groups"):
        apply_change(schema, CreateTable("T", (ID,), ("Id",), "sys.groups"))
