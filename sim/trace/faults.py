"""Joins the begin and end of each fault of a trace into the period in which it held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from protos.trace import FaultEvent


class Period(Struct):
    """A fault and when it held.

    Attributes:
        name: the kind ("crash", "partition", ...).
        hosts: those it acts on.
        start: ns.
        end: ns; equal to `start` for a fault that happens in an instant, None while it holds.
    """

    id: int
    name: str
    hosts: list[str]
    start: int
    end: int | None
    fields: dict[str, Any]

    @property
    def instant(self) -> bool:
        """It has no duration."""
        return self.end == self.start


class Periods:
    """Collects fault events into periods, in the order in which they began."""

    def __init__(self) -> None:
        self.all: list[Period] = []
        self._open: dict[int, Period] = {}

    def see(self, event: FaultEvent) -> None:
        """Takes the next fault event; the end of a fault that never began is ignored."""
        if event.phase == "end":
            period = self._open.pop(event.id, None)
            if period is not None:
                period.end = event.time
            return
        once = event.time if event.phase == "once" else None
        period = Period(event.id, event.name, event.hosts, event.time, once, event.fields)
        self.all.append(period)
        if once is None:
            self._open[event.id] = period


def describe(period: Period) -> str:
    """Says in a few words what a fault is and what it acts on: "partition a, b | c"."""
    fields = period.fields
    groups = fields.get("groups")
    if groups:
        return f"{period.name} " + " | ".join(_names(group) for group in groups)
    source, target = fields.get("source"), fields.get("target")
    if source is not None or target is not None:
        arrow = "↔" if fields.get("both") else "→"
        return f"{period.name} {source or 'any'} {arrow} {target or 'any'}"
    return f"{period.name} {_names(period.hosts)}".rstrip()


def _names(hosts: list[str]) -> str:
    shown = ", ".join(hosts[:3])
    return f"{shown} and {len(hosts) - 3} more" if len(hosts) > 3 else shown
