"""What a history tells of each key: who wrote what, and who read what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.check.operations import Unusable
from sim.check.transactions.history import APPEND, READ, Key, Transaction, twice

if TYPE_CHECKING:
    from collections.abc import Sequence


class KeyHistory:
    """A key.

    Attributes:
        writes: by transaction: what it wrote or appended, in order.
        writer: by value: which transaction wrote it.
        reads: transaction, what it read, and how many writes of its own came before, of those that committed.
        line: of the first operation.
    """

    __slots__ = ("f", "key", "line", "reads", "writer", "writes")

    def __init__(self, key: Key, line: int) -> None:
        self.key = key
        self.f = ""
        self.line = line
        self.writes: dict[int, list[Any]] = {}
        self.writer: dict[Any, int] = {}
        self.reads: list[tuple[int, Any, int]] = []

    @property
    def is_list(self) -> bool:
        """Says whether it is a list, not a register."""
        return self.f == APPEND or (not self.f and any(isinstance(value, list) for _, value, _ in self.reads))


def collect(transactions: Sequence[Transaction]) -> list[KeyHistory]:
    """Returns the keys of a history, in the order in which they occur.

    Raises:
        Unusable: a value is written twice to a key, or a key is both list and register.
    """
    keys: dict[Key, KeyHistory] = {}
    for node, transaction in enumerate(transactions):
        ended = transaction.ended
        for f, key, value in transaction.operations:
            history = keys.get(key)
            if history is None:
                history = keys[key] = KeyHistory(key, transaction.called)
            writes = history.writes.get(node)
            if f == READ:
                if ended == "ok":
                    history.reads.append((node, value, 0 if writes is None else len(writes)))
                continue
            if history.f != f:
                if history.f:
                    raise both(key, transaction)
                history.f = f
            if writes is None:
                history.writes[node] = [value]
            else:
                writes.append(value)
            first = history.writer.setdefault(value, node)
            if first != node or history.writes[node].count(value) > 1:
                _resolve(history, value, node, first, transactions)
    found = list(keys.values())
    for history in found:
        _check_reads(history, transactions)
    return found


def _resolve(
    history: KeyHistory, value: Any, node: int, first: int, transactions: Sequence[Transaction]
) -> None:
    """Decides who wrote a value that two say they wrote: the one that was not aborted, if it is one."""
    if first == node:
        raise twice(history.key, value, transactions[node], transactions[node])
    if transactions[node].ended == "fail":
        return
    if transactions[first].ended != "fail":
        raise twice(history.key, value, transactions[first], transactions[node])
    history.writer[value] = node


def _check_reads(history: KeyHistory, transactions: Sequence[Transaction]) -> None:
    """Refuses reads of a list that return no list, and the reverse; null is an empty list."""
    is_list = history.is_list
    reads = history.reads
    for place, (node, value, before) in enumerate(reads):
        if is_list:
            if value is None:
                reads[place] = (node, [], before)
            elif type(value) is not list:
                raise misread(history.key, value, transactions[node], "a list")
        elif isinstance(value, list | dict):
            raise misread(history.key, value, transactions[node], "a number or a text")


def both(key: Key, transaction: Transaction) -> Unusable:
    """Returns the error for a key that is a list and a register."""
    return Unusable(
        f"line {transaction.called}: key {key!r} is both appended to and written; it is a list or a register"
    )


def misread(key: Key, value: Any, transaction: Transaction, expected: str) -> Unusable:
    """Returns the error for a read of something that the key cannot hold."""
    return Unusable(
        f"line {transaction.returned}: a read of key {key!r} returned {repr(value)[:40]}, not {expected}"
    )
