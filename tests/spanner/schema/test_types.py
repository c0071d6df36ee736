"""Types: what they take, what they refuse, and in which words."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.spanner.errors import SpannerError
from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, apply_change, parse_type
from services.spanner.schema.types import fits, scaled, unscaled
from tests.spanner.schema.strategies import VALUES


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("int64", "INT64"),
        ("STRING( max )", "STRING(MAX)"),
        ("STRING(36)", "STRING(36)"),
        ("BYTES(0x10)", "BYTES(16)"),
        ("ARRAY<STRING(5)>", "ARRAY<STRING(5)>"),
        (" Numeric ", "NUMERIC"),
    ],
)
def test_types_are_read_as_cloud_spanner_writes_them(text: str, shown: str) -> None:
    assert str(parse_type(text)) == shown
    assert parse_type(shown) == parse_type(text)


@pytest.mark.parametrize(
    "text",
    ["", "INT", "STRING", "STRING(0)", "STRING(2621441)", "BYTES(10485761)", "STRING(-1)",
     "ARRAY<ARRAY<BOOL>>", "ARRAY<>", "STRING(MAX) NOT NULL", "ARRAY<INT64", "FLOAT32"],
)  # fmt: skip
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(SpannerError) as refused:
        parse_type(text)
    assert refused.value.code == "INVALID_ARGUMENT"


GOOD: list[tuple[str, Any, Any]] = [
    ("INT64", (1 << 63) - 1, (1 << 63) - 1),
    ("FLOAT64", 3, 3.0),
    ("FLOAT64", -math.inf, -math.inf),
    ("BOOL", True, True),
    ("STRING(3)", "äöü", "äöü"),
    ("STRING(1)", "\U0001f600", "\U0001f600"),
    ("BYTES(2)", b"\x00\xff", b"\x00\xff"),
    ("TIMESTAMP", 1_353_974_400_000_000_001, 1_353_974_400_000_000_001),
    ("DATE", datetime.date(2012, 10, 8), "2012-10-08"),
    ("DATE", "0001-01-01", "0001-01-01"),
    ("NUMERIC", Decimal("1.50"), "1.5"),
    ("NUMERIC", "-0.000000000", "0"),
    ("NUMERIC", "1e3", "1000"),
    ("NUMERIC", "0e999", "0"),
    ("NUMERIC", 7, "7"),
    ("ARRAY<INT64>", (1, None), [1, None]),
]


@pytest.mark.parametrize(("kind", "value", "kept"), GOOD)
def test_values_that_fit_are_kept(kind: str, value: Any, kept: Any) -> None:
    assert fits(parse_type(kind))(value) == kept


BAD: list[tuple[str, Any]] = [
    ("INT64", 1 << 63),
    ("INT64", True),
    ("INT64", 1.0),
    ("INT64", "1"),
    ("FLOAT64", (1 << 53) + 1),
    ("FLOAT64", "NaN"),
    ("BOOL", 1),
    ("STRING(MAX)", b"x"),
    ("STRING(MAX)", "\ud800"),
    ("STRING(2)", "xxx"),
    ("BYTES(MAX)", "x"),
    ("BYTES(2)", b"xxx"),
    ("TIMESTAMP", "2012-10-08T00:00:00Z"),
    ("DATE", "2012-2-30"),
    ("DATE", "2012-02-30"),
    ("DATE", datetime.datetime(2012, 1, 1)),
    ("NUMERIC", "1.0000000001"),
    ("NUMERIC", "1" + "0" * 29),
    ("NUMERIC", "1e99"),
    ("NUMERIC", Decimal("NaN")),
    ("NUMERIC", 1.5),
    ("NUMERIC", "one"),
    ("ARRAY<INT64>", [1, "2"]),
    ("ARRAY<INT64>", 1),
]


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_values_that_do_not_fit_are_refused_by_table_and_column(kind: str, value: Any) -> None:
    columns = (ColumnSpec("Id", "INT64"), ColumnSpec("Vee", kind))
    table = apply_change(EMPTY, CreateTable("Tee", columns, ("Id",))).table("tee")
    with pytest.raises(SpannerError) as refused:
        table.check(table.column("VEE"), value)
    assert refused.value.code == "FAILED_PRECONDITION"
    assert "Vee" in refused.value.detail
    assert "Tee" in refused.value.detail
    assert "\n" not in refused.value.detail
    assert len(refused.value.detail) < 300


def test_an_array_over_ten_mebibytes_is_refused() -> None:
    columns = (ColumnSpec("Id", "INT64"), ColumnSpec("A", "ARRAY<BYTES(MAX)>"))
    table = apply_change(EMPTY, CreateTable("T", columns, ("Id",))).table("T")
    piece = bytes(1 << 20)
    assert len(table.check(table.column("A"), [piece] * 10)) == 10
    with pytest.raises(SpannerError, match="maximum size"):
        table.check(table.column("A"), [piece] * 10 + [b"x"])


@given(st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])))
def test_what_is_kept_fits_again_and_stays(drawn: tuple[str, Any]) -> None:
    fit = fits(parse_type(drawn[0]))
    kept = fit(drawn[1])
    assert repr(fit(kept)) == repr(kept)


@given(st.integers(-(10**38) + 1, 10**38 - 1))
def test_a_numeric_is_kept_in_its_shortest_form_and_whole(number: int) -> None:
    text = unscaled(number)
    assert scaled(text) == number
    assert not (text.endswith((".", "-")) or ("." in text and text.endswith("0")))
