"""Histories of transactions, written as stories.

A story is a list of transactions such as "r x 1, append y 2": `together(...)` lets all overlap,
`in_turn(...)` none.
"""

from __future__ import annotations

import itertools
from typing import Any

from protos.history import Operation
from sim.check.operations import calls
from sim.check.transactions import Verdict, check

Told = str | tuple[str, str] | tuple[str, str, int]
"""What a transaction did, how it ended, and its timestamp: "r x 1"; ("w x 1", "fail"); ("w x 1", "ok", 7)."""


def operations(text: str) -> list[list[Any]]:
    """Reads `r x [1 2], append x 3, w y 1, r y -`; `-` is nothing."""
    found = []
    for part in text.split(","):
        f, key, value = part.strip().split(" ", 2)
        seen: Any = None
        if value.startswith("["):
            seen = [int(element) for element in value[1:-1].split()]
        elif value != "-":
            seen = int(value)
        found.append([f, key, seen])
    return found


def together(*told: Told) -> list[Operation]:
    """Returns a history in which all begin before one ends."""
    parts = [_parts(one, number) for number, one in enumerate(told)]
    return _numbered([begin for begin, _ in parts] + [end for _, end in parts])


def in_turn(*told: Told) -> list[Operation]:
    """Returns a history in which each begins, by another process, when the one before has ended."""
    parts = [_parts(one, number) for number, one in enumerate(told)]
    return _numbered([event for pair in parts for event in pair])


def one_process(*told: Told) -> list[Operation]:
    """Returns a history of one process, in which nothing but its order tells what came first."""
    events = in_turn(*told)
    for event in events:
        event.process = "c"
    return events


def after(first: list[Operation], *more: list[Operation]) -> list[Operation]:
    """Returns histories one after the other, by different processes."""
    joined = []
    for number, events in enumerate((first, *more)):
        for event in events:
            event.process = f"{event.process}.{number}"
            joined.append(event)
    return _numbered(joined)


def _parts(told: Told, number: int) -> tuple[Operation, Operation]:
    text, ended, *stamp = (told, "ok") if isinstance(told, str) else told
    done = operations(text)
    asked = [[f, key, None if f == "r" else value] for f, key, value in done]
    begin = Operation(f"c{number}", "invoke", "txn", asked, 0, 0)
    end = Operation(f"c{number}", ended, "txn", done if ended == "ok" else asked, 0, 0)  # type: ignore[arg-type]
    if stamp:
        end.timestamp = int(stamp[0])
    return begin, end


def _numbered(events: list[Operation]) -> list[Operation]:
    for index, event in zip(itertools.count(), events, strict=False):
        event.index, event.time = index, index * 1000
    return events


def judged(events: list[Operation], **options: Any) -> Verdict:
    """Checks a history."""
    return check(calls(events), **options)


def names(events: list[Operation], **options: Any) -> list[str]:
    """Returns the anomalies of a history, those that break the weakest level first."""
    return [anomaly.name for anomaly in judged(events, **options).anomalies]
