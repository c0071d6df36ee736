"""A history as operations: each with its invocation, how it ended, and between which lines.

A history says what happened line by line. A checker asks about operations: which had ended before another
began, what each returned. `calls` puts the lines together, and refuses those that cannot be a history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from protos.history import Operation

NEMESIS = ("nemesis", ":nemesis")
"""Processes that are not clients: what they do to the system is no operation on it."""


class Unusable(ValueError):
    """A history that cannot be one, or that a model cannot judge; the text says what is wrong, and where."""


class Call(Struct, eq=False):
    """One operation of a client.

    Attributes:
        value: what it was invoked with.
        result: the value with which it ended.
        ended: "ok", "fail", or "info" (nobody knows; also what never ended).
        called, returned: numbers of the lines, from 1; `returned` is 0 for what never ended. An operation
            was over before another began if its `returned` is below the other's `called`.
        start, end: ns; `end` is -1 for what never ended.
        timestamp: at which it took place, if it is a transaction of a store that tells it.
    """

    process: int | str
    f: str
    value: Any
    key: Any
    called: int
    start: int
    result: Any = None
    ended: str = "info"
    error: str = ""
    returned: int = 0
    end: int = -1
    timestamp: int | None = None

    @property
    def pending(self) -> bool:
        """It may take effect at any time after its invocation, or never."""
        return self.ended == "info"


def calls(history: Iterable[Operation], lines: Iterable[int] | None = None) -> list[Call]:
    """Returns the operations of a history in the order of their invocations.

    Args:
        history: its lines, as they happened.
        lines: their numbers in the file, if they are not 1, 2, 3, ...

    Raises:
        Unusable: a process has two operations open, something ends that did not begin, time goes back.
    """
    found: list[Call] = []
    open_: dict[int | str, Call] = {}
    lost: dict[
        int | str, int
    ] = {}  # by process: the line that left it with an operation that may be open for ever
    before = None
    numbers = iter(lines) if lines is not None else None
    for position, event in enumerate(history, 1):
        line = position if numbers is None else next(numbers)
        if before is not None and event.time < before:
            raise Unusable(f"line {line}: time goes back, from {before} ns to {event.time} ns")
        before = event.time
        process = event.process
        if process in NEMESIS:
            continue
        key = None if event.key is UNSET else event.key
        if event.type == "invoke":
            if process in open_:
                raise Unusable(
                    f"line {line}: process {process} invokes {event.f} while its {open_[process].f} of line "
                    f"{open_[process].called} is open: a process does one thing at a time"
                )
            if process in lost:
                raise Unusable(
                    f"line {line}: process {process} goes on, although nobody knows how its operation ended "
                    f"(info, line {lost[process]}): whoever goes on after info needs a new process name"
                )
            call = open_[process] = Call(process, event.f, event.value, key, line, event.time)
            found.append(call)
            continue
        if process not in open_:
            raise Unusable(
                f"line {line}: {event.f} of process {process} ends ({event.type}) but was never invoked"
            )
        call = open_.pop(process)
        if (call.f, call.key) != (event.f, key):
            raise Unusable(
                f"line {line}: process {process} invoked {_named(call.f, call.key)} on line "
                f"{call.called}, but {_named(event.f, key)} ends"
            )
        call.ended, call.error = event.type, event.error
        if event.type == "info":
            lost[process] = line
            continue
        call.result, call.returned, call.end = event.value, line, event.time
        if event.timestamp is not UNSET:
            call.timestamp = event.timestamp
    return found


def _named(f: str, key: Any) -> str:
    return f if key is None else f"{f} of key {key!r}"


def freeze(value: Any) -> Hashable:
    """Returns a value of JSON as something that can be looked up, and in which true is not 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list | tuple):
        return ("list", *map(freeze, value))
    if isinstance(value, dict):
        items: list[Any] = [(str(name), freeze(part)) for name, part in value.items()]
        return ("map", *sorted(items, key=lambda item: str(item[0])))
    frozen: Hashable = value
    return frozen
