"""Transactions, as a history tells them.

A transaction is an operation `f: "txn"` whose value is a list of `["r", key, value]`, `["w", key, value]` or
`["append", key, value]`. A key is a list if something is appended to it, or a register if something is
written; never both. Reads are invoked with null, and an `ok` tells what they returned: all elements of a list
in order, or the value of a register; null for what nobody wrote yet.

What is written to a key must be a number or a text, and another one in each write: reads then tell who wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from sim.check.operations import Call, Unusable, freeze

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

READ, WRITE, APPEND = "r", "w", "append"
TRANSACTION, SNAPSHOT = "txn", "snapshot"
"""What an `f` says: a transaction; one that only reads, at a timestamp of the client's choice."""

Key: TypeAlias = Any
Operations: TypeAlias = list[list[Any]]


class Transaction(Struct, eq=False):
    """One transaction.

    Attributes:
        number: its place among the transactions of the history, by invocation, from 1: T1, T2, ...
        operations: in order; those of one that is not `ok` tell nothing of what was read.
        ended: "ok": committed; "fail": aborted; "info": nobody knows.
        called, returned: lines of the history; `returned` is 0 for what never ended.
        start, end: ns; `end` is -1 for what never ended.
        timestamp: at which it took place, if the store tells it.
    """

    number: int
    process: int | str
    f: str
    operations: Operations
    ended: str
    called: int
    returned: int
    start: int
    end: int
    timestamp: int | None = None

    @property
    def name(self) -> str:
        """What words and pictures call it."""
        return f"T{self.number}"


def transactions(
    calls: Iterable[Call],
    *,
    own_writes: bool = True,
    any_value: bool = False,
    known: Sequence[str] = (TRANSACTION, SNAPSHOT),
) -> list[Transaction]:
    """Returns the transactions of a history, in the order of their invocations.

    Args:
        calls: the operations.
        own_writes: reads see what their own transaction wrote before. False, for a store that buffers writes
            until the commit: they see what was there without them, so that all reads come before all writes.
        any_value: any value may be written, and again: nobody asks who wrote what was read.
        known: the `f` that there may be.

    Raises:
        Unusable: an operation is no transaction; the text names the line and what is wrong.
    """
    found = []
    for number, call in enumerate(calls, 1):
        line = call.returned or call.called
        if call.f not in known:
            raise Unusable(
                f"line {call.called}: {call.f!r} of process {call.process} is no transaction: expected f "
                f'"{TRANSACTION}"; --only {TRANSACTION} leaves out the rest'
            )
        value = call.result if call.ended == "ok" and call.result is not None else call.value
        if not isinstance(value, list | tuple):
            raise Unusable(
                f"line {line}: the value of a transaction is a list of operations, not {_shown(value)}"
            )
        operations = [_operation(part, line, call.ended == "ok", any_value) for part in value]
        if not own_writes:
            operations.sort(key=lambda operation: operation[0] != READ)
        if call.f == SNAPSHOT and any(operation[0] != READ for operation in operations):
            raise Unusable(f'line {line}: a "{SNAPSHOT}" only reads')
        stamp = call.timestamp
        found.append(
            Transaction(
                number,
                call.process,
                call.f,
                operations,
                call.ended,
                call.called,
                call.returned,
                call.start,
                call.end,
                stamp,
            )
        )
    return found


def _operation(part: Any, line: int, ok: bool, any_value: bool) -> list[Any]:
    if not isinstance(part, list | tuple) or len(part) != 3:
        raise Unusable(
            f"line {line}: an operation of a transaction is [r|w|append, key, value], not {_shown(part)}"
        )
    f, key, value = part
    kind = type(key)
    if kind is not int and kind is not str:
        if key is None:
            raise Unusable(f"line {line}: an operation needs a key: {_shown(part)}")
        key = freeze(key)
    if f == READ:
        if not ok and value is not None:
            value = None
    elif f in (WRITE, APPEND):
        if not any_value and (isinstance(value, bool) or not isinstance(value, int | float | str)):
            raise Unusable(
                f"line {line}: what is written must be a number or a text, each another one, so that reads "
                f"tell who wrote: {_shown(part)}"
            )
    else:
        raise Unusable(f"line {line}: {f!r} is no operation of a transaction (r, w, append): {_shown(part)}")
    return [f, key, value]


def twice(key: Key, value: Any, one: Transaction, other: Transaction) -> Unusable:
    """Returns the error for a value that two transactions wrote."""
    lines = sorted({one.called, other.called})
    where = f"line {lines[0]}" if len(lines) == 1 else f"lines {lines[0]} and {lines[1]}"
    return Unusable(
        f"{where}: {_shown(value)} is written to key {_shown(key)} twice: each write needs a value of its "
        "own, so that reads tell who wrote"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
