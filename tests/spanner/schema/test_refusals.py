"""Bad input: the status that Cloud Spanner gives, and a text that names what was wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import spanner_pb2 as pb
from services.spanner.errors import Code, SpannerError
from services.spanner.schema import (
    KeySet,
    Kind,
    Mutation,
    Plan,
    Range,
    Schema,
    decode_changes,
    decode_rows,
    delete,
    effects,
    insert,
    insert_or_update,
    keys,
    replace,
    update,
)
from tests.spanner.schema import model
from tests.spanner.schema.strategies import MUSIC, table_of

ROWS: model.Rows = {
    ("Singers", (1,)): {"Name": "Marc"},
    ("Albums", (1, 1)): {"Title": "t"},
    ("Songs", (1, 1, 1)): {},
    ("Singers", (2,)): {},
    ("Concerts", (2, 7)): {},
}

ALBUM = ("Singer", "Album", "Title")

CASES: list[tuple[Mutation, Code, list[str]]] = [
    (insert("Bands", ("Id",), [(1,)]), "NOT_FOUND", ["Bands"]),
    (insert("Singers", ("Singer", "Nom"), [(1, "x")]), "NOT_FOUND", ["Singers", "Nom"]),
    (insert("Singers", ("Singer", "singer"), [(1, 1)]), "INVALID_ARGUMENT", ["Singers", "Singer"]),
    (insert("Singers", ("Singer", "Name"), [(3,)]), "INVALID_ARGUMENT", ["Singers", "2 columns", "1 values"]),
    (insert("Singers", ("Singer",), ["x"]), "INVALID_ARGUMENT", ["Singers"]),
    (insert("Singers", ("Singer",), [("3",)]), "FAILED_PRECONDITION", ["Singers", "Singer", "'3'", "INT64"]),
    (insert("Singers", ("Singer", "Name"), [(3, 3)]), "FAILED_PRECONDITION", ["Singers", "Name", "STRING"]),
    (insert("Singers", ("Name",), [("x",)]), "FAILED_PRECONDITION", ["Singers", "primary key", "Singer"]),
    (insert("Albums", ("Singer", "Title"), [(1, "x")]), "FAILED_PRECONDITION", ["Albums", "Album"]),
    (insert("Singers", ("Singer",), [(None,)]), "FAILED_PRECONDITION", ["null", "Singers", "Singer"]),
    (insert("Albums", ALBUM, [(1, 2, None)]), "FAILED_PRECONDITION", ["null", "Albums", "Title"]),
    (insert("Albums", ALBUM[:2], [(1, 2)]), "FAILED_PRECONDITION", ["Albums", "NOT NULL", "Title"]),
    (insert_or_update("Albums", ALBUM[:2], [(1, 1)]), "FAILED_PRECONDITION", ["Albums", "NOT NULL", "Title"]),
    (replace("Albums", ALBUM[:2], [(1, 1)]), "FAILED_PRECONDITION", ["Albums", "NOT NULL", "Title"]),
    (update("Albums", ALBUM, [(1, 1, None)]), "FAILED_PRECONDITION", ["null", "Albums", "Title"]),
    (insert("Singers", ("Singer", "Name"), [(3, "x" * 21)]), "FAILED_PRECONDITION",
     ["maximum size", "Singers", "Name", "21", "20"]),
    (insert("Singers", ("Singer",), [(1,)]), "ALREADY_EXISTS", ["Singers", "[1]"]),
    (insert("Singers", ("Singer",), [(4,), (4,)]), "ALREADY_EXISTS", ["Singers", "[4]"]),
    (update("Singers", ("Singer",), [(9,)]), "NOT_FOUND", ["Singers", "[9]"]),
    (insert("Albums", ALBUM, [(9, 1, "x")]), "NOT_FOUND", ["Singers", "Albums", "[9]"]),
    (insert_or_update("Albums", ALBUM, [(9, 1, "x")]), "NOT_FOUND", ["Singers", "Albums", "[9]"]),
    (delete("Singers", keys([1])), "FAILED_PRECONDITION", ["Albums", "Songs", "[1, 1, 1]"]),
    (delete("Singers", keys([2])), "FAILED_PRECONDITION", ["Singers", "Concerts", "[2, 7]"]),
    (replace("Singers", ("Singer",), [(2,)]), "FAILED_PRECONDITION", ["Singers", "Concerts", "[2, 7]"]),
    (delete("Albums", keys([1])), "FAILED_PRECONDITION", ["Albums", "expected 2", "found 1", "[1]"]),
    (delete("Albums", keys([1, 1, 1])), "FAILED_PRECONDITION", ["Albums", "expected 2", "found 3"]),
    (delete("Albums", KeySet(ranges=(Range((1, 1, 1), ()),))), "FAILED_PRECONDITION",
     ["Albums", "at most 2"]),
    (delete("Singers", KeySet(ranges=(Range(("a",), ()),))), "FAILED_PRECONDITION", ["Singers", "Singer"]),
    (Mutation(Kind.REQUIRE, "Singers", key_set=keys([9])), "NOT_FOUND", ["Singers", "[9]"]),
    (Mutation(Kind.REQUIRE, "Singers", key_set=KeySet(all=True)), "INVALID_ARGUMENT", ["Singers"]),
]  # fmt: skip


@pytest.mark.parametrize(("mutation", "code", "named"), CASES)
def test_what_cannot_be_is_refused_and_named(mutation: Mutation, code: Code, named: list[str]) -> None:
    kept = model.stored(MUSIC, ROWS)
    with pytest.raises(SpannerError) as refused:
        effects(MUSIC, [mutation], kept.get, lambda range_: [(k, v) for k, v in kept.items() if k in range_])
    assert refused.value.code == code
    for word in named:
        assert word in refused.value.detail


def test_a_key_over_eight_kibibytes_is_refused() -> None:
    table = table_of(("STRING(MAX)", False)).table("T")
    table.key(["x" * ((8 << 10) - 4)])
    with pytest.raises(SpannerError, match=r"INVALID_ARGUMENT.*key of table T is 8193.*8192"):
        table.key(["x" * ((8 << 10) - 3)])


def test_a_transaction_of_too_many_mutations_is_refused() -> None:
    rows = [(number, number) for number in range(40_001)]
    Plan(MUSIC, [insert("Other", ("Id", "V"), rows[:-1])])
    with pytest.raises(SpannerError, match=r"INVALID_ARGUMENT.*80002.*80000"):
        Plan(MUSIC, [insert("Other", ("Id", "V"), rows)])


def test_a_value_of_no_type_is_refused_before_it_is_sent() -> None:
    with pytest.raises(SpannerError, match=r"INVALID_ARGUMENT.*object"):
        insert("Other", ("Id", "V"), [(1, object())]).to_wire()
    with pytest.raises(SpannerError, match="INVALID_ARGUMENT"):
        insert("Other", ("Id", "V"), [(1, 1 << 70)]).to_wire()


def test_columns_and_tables_that_are_not_there_cannot_be_read() -> None:
    with pytest.raises(SpannerError, match="NOT_FOUND: Table not found: Nope"):
        decode_rows(MUSIC, "Nope", ("X",), [])
    with pytest.raises(SpannerError, match="NOT_FOUND: Column not found in table Other: X"):
        decode_rows(MUSIC, "other", ("X",), [])


JUNK = st.binary(max_size=40)


@given(
    st.sampled_from(list(Kind)),
    JUNK,
    JUNK,
    st.lists(st.sampled_from(["Singer", "Name", "Id", "?"]), max_size=3),
)
def test_bytes_of_anybody_are_refused_or_understood(
    kind: Kind, rows: bytes, key_set: bytes, columns: list[str]
) -> None:
    message = pb.Mutation(kind=int(kind), table="Singers", columns=columns, rows=rows, key_set=key_set)  # type: ignore[arg-type]
    try:
        Plan(MUSIC, [Mutation.from_wire(message)]).locks()
    except SpannerError as error:
        assert error.code in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION")


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.floats(),
                    lambda inner: st.lists(inner, max_size=3), max_leaves=6))  # fmt: skip
def test_values_of_any_shape_are_refused_or_understood(value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    for read in (lambda: KeySet.decode(data), lambda: Schema.decode(data), lambda: decode_changes(data)):
        try:
            read()
        except SpannerError as error:
            assert error.code == "INVALID_ARGUMENT"
    message = pb.Mutation(
        kind=0, table="Singers", columns=["Singer", "Name"], rows=msgspec.msgpack.encode([value])
    )  # type: ignore[arg-type]
    try:
        Plan(MUSIC, [Mutation.from_wire(message)]).locks()
    except SpannerError as error:
        assert error.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
