"""Values, columns and tables as people type them in a shell."""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from typing import TYPE_CHECKING, Any

import msgspec

from services.spanner.errors import SpannerError
from services.spanner.schema import ColumnSpec, CreateTable
from sim.scenario.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.spanner.schema import Column, Table, Type

NULL = "NULL"
_FRACTION = re.compile(r"\.(\d+)")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def parse(kind: Type, text: str, what: str) -> Any:
    """Returns the value that a word is, of a type.

    NULL is NULL; a text in double quotes is JSON, so that the text NULL can be told ('"NULL"'). BYTES are
    base64, TIMESTAMPs RFC 3339 or nanoseconds, arrays JSON.

    Args:
        kind: the type.
        text: what was typed.
        what: of which column, for the error.

    Raises:
        InvalidInput: it is none.
    """
    if text == NULL:
        return None
    try:
        match kind.code:
            case "INT64":
                return int(text)
            case "FLOAT64":
                return float(text)
            case "BOOL":
                return {"true": True, "false": False}[text.lower()]
            case "BYTES":
                return base64.b64decode(text, validate=True)
            case "TIMESTAMP":
                return moment(text)
            case "ARRAY":
                return _array(kind, msgspec.json.decode(text))
            case _:
                return msgspec.json.decode(text, type=str) if text.startswith('"') else text
    except (ValueError, KeyError, binascii.Error, msgspec.DecodeError):
        raise InvalidInput(f"{what}: {text!r} is no {kind}") from None


def moment(text: str) -> int:
    """Returns a timestamp in nanoseconds, from those or from RFC 3339.

    Raises:
        ValueError: it is neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    found = _FRACTION.search(text)  # datetime knows no nanoseconds, and cuts them off
    fraction = found[1] if found else ""
    if len(fraction) > 9:
        raise ValueError(f"{text}: there is nothing below a nanosecond")
    time = datetime.datetime.fromisoformat(text.replace(f".{fraction}", "") if fraction else text)
    if time.tzinfo is None:
        raise ValueError(f"{text} needs a time zone")
    return (time - _EPOCH) // datetime.timedelta(seconds=1) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def shown(timestamp: int) -> str:
    """Returns a timestamp for people, to the nanosecond."""
    seconds, rest = divmod(timestamp, 1_000_000_000)
    time = _EPOCH + datetime.timedelta(seconds=seconds)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def plain(value: Any) -> Any:
    """Returns a value as JSON can have it: BYTES as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def word(value: Any, kind: Type | None = None) -> str:
    """Returns a value as tables show it, and `parse` reads it: a text that would not do as it is, as JSON.

    Args:
        value: of a column.
        kind: its type: a TIMESTAMP is shown as a time.
    """
    if value is None:
        return NULL
    if kind is not None and kind.code == "TIMESTAMP":
        return shown(value)
    value = plain(value)
    if isinstance(value, str) and value.isprintable() and value != NULL and not value.startswith('"'):
        return value
    return msgspec.json.encode(value).decode()


def key_of(table: Table, words: Sequence[str], *, whole: bool = True) -> tuple[Any, ...]:
    """Returns values of the primary key.

    Args:
        table: the table.
        words: what was typed.
        whole: all of the key is needed; else its first columns will do.

    Raises:
        InvalidInput: they are not those of its key.
    """
    columns = table.key_columns
    names = ", ".join(f"{one.name} {one.type}" for one in columns)
    if len(words) > len(columns) or (whole and len(words) != len(columns)):
        raise InvalidInput(f"the key of {table.name} is ({names}): {_count(len(words))} not fit")
    return tuple(parse(column.type, text, column.name) for column, text in zip(columns, words, strict=False))


def _count(values: int) -> str:
    return "1 value does" if values == 1 else f"{values} values do"


def row_of(table: Table, words: Sequence[str]) -> tuple[list[str], list[Any]]:
    """Returns columns and values, from words as COLUMN=VALUE.

    Raises:
        InvalidInput: there is no such column, or a value does not fit.
    """
    names: list[str] = []
    values: list[Any] = []
    for one in words:
        name, equals, text = one.partition("=")
        if not equals:
            raise InvalidInput(f"{one!r}: expected COLUMN=VALUE")
        column: Column
        try:
            column = table.column(name)
        except SpannerError as exc:
            known = ", ".join(each.name for each in table.columns)
            raise InvalidInput(f"{exc.detail} (there are: {known})") from None
        names.append(column.name)
        values.append(parse(column.type, text, column.name))
    return names, values


def table_of(name: str, columns: Sequence[str], key: str, parent: str, *, cascade: bool) -> CreateTable:
    """Returns a table to be, from words as "NAME TYPE" or "NAME TYPE NOT NULL".

    Args:
        name: the table's.
        columns: one a word.
        key: names of columns with commas between them; "-NAME" is descending.
        parent: in which it is interleaved; "" for none.
        cascade: rows go with the parent's.

    Raises:
        InvalidInput: a column is not told so.
    """
    specs = []
    for one in columns:
        words = one.split()
        not_null = [each.upper() for each in words[-2:]] == ["NOT", "NULL"]
        if not_null:
            words = words[:-2]
        if len(words) < 2:
            raise InvalidInput(f'column {one!r}: expected "NAME TYPE" or "NAME TYPE NOT NULL"')
        specs.append(ColumnSpec(words[0], "".join(words[1:]), not_null or None))
    parts = tuple(part.strip() for part in key.split(","))
    return CreateTable(name, tuple(specs), parts, parent, "CASCADE" if cascade else "NO ACTION")


def tables_of(file: Path) -> tuple[CreateTable, ...]:
    """Returns tables to be, from a JSON file: a list of objects with the fields of `CreateTable`.

    Raises:
        InvalidInput: it cannot be read.
    """

    class _File(CreateTable, frozen=True, tag=None, forbid_unknown_fields=True):
        pass

    try:
        found = msgspec.json.decode(file.read_bytes(), type=tuple[_File, ...])
    except OSError as exc:
        raise InvalidInput(f"{file}: {exc.strerror or exc}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"{file}: {exc}") from None
    if not found:
        raise InvalidInput(f"{file}: names no table")
    return tuple(
        CreateTable(one.name, one.columns, one.primary_key, one.parent, one.on_delete) for one in found
    )


def _array(kind: Type, values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError("no list")
    element = kind.element
    assert element is not None
    if element.code in ("BYTES", "TIMESTAMP"):
        return [None if one is None else parse(element, str(one), "an element") for one in values]
    return values
