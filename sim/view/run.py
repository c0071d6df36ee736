"""What every picture needs to know of a run before it draws: extent, hosts, lives, faults, counts.

The trace is read as a stream, twice: once for this overview, once by the picture itself. So a
picture's memory depends on what it shows and not on how long the trace is.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from protos.trace import ClockSample, FaultEvent, HostEvent, Log, Lost, Message, Note, Span
from sim.trace.faults import Period, Periods
from sim.view.executions import concerns_task, is_progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protos.history import Operation
    from protos.trace import TraceEvent

SECOND = 1_000_000_000  # ns
STORYTELLER = "scenario"  # the host on which the scenario's own tasks run
TRANSACTION = "transaction"  # the span that Spanner's leaders write
LEASE = "lease"  # their note when a lease begins or goes on
OVERLAY = "overlay"  # the note that holds curves for the picture of that name


class ViewError(Exception):
    """A picture that cannot be drawn; the text is one line that says why."""


class Stretch(Struct):
    """A part of a host's life: "up", "paused" or "down" from `start` to `end` (ns)."""

    state: str
    start: int
    end: int


class Run:
    """A run to be drawn: its events, and the window of time to look at.

    Args:
        events: the trace; it is iterated more than once (a list, or `sim.trace.read.read_trace`).
        history: the operations, where there are any.
        name: what heads the picture ("basics/ping, seed 7").
        start, end: ns; None for the start and the end of the trace.

    Attributes:
        start, end: the window in ns; never empty.
        hosts: in the order in which pictures show them, of the whole trace.
        messages, lost, spans, notes, clocks, operations: how many there are in the window.
        claims: how often a host's belief of the time was traced, in the window.
        executions, progress: what MapReduce's pictures are made of, of the whole trace.
        transactions: spans of Spanner's leaders, in the window.
        leases: notes of theirs, of the whole trace.
        overlays: notes with curves for the picture "overlay", of the whole trace.
        faults: those that held in the window, clipped to it.
        lives: the stretches of each host's life within the window.
        empty: there is nothing in the window.

    Raises:
        ViewError: the window is empty or lies outside the trace.
    """

    def __init__(
        self,
        events: Iterable[TraceEvent],
        history: Iterable[Operation] = (),
        *,
        name: str = "",
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        self.events = events
        self.history = history
        self.name = name
        self.messages = self.lost = self.spans = self.notes = self.clocks = self.operations = 0
        self.overlays = self.executions = self.progress = self.claims = self.transactions = self.leases = 0
        hosts: dict[str, None] = {}
        spoke: dict[str, None] = {}
        steps: dict[str, list[HostEvent]] = {}
        periods = Periods()
        first: int | None = None
        last = 0
        low = start if start is not None else -(1 << 62)
        high = end if end is not None else 1 << 62
        for event in events:
            time = event.time
            last = max(last, time)
            began = time
            match event:
                case Message():
                    began = event.sent
                    hosts[event.source] = hosts[event.host] = None
                    spoke[event.source] = spoke[event.host] = None
                    self.messages += began <= high and time >= low
                case Lost():
                    began = event.sent
                    hosts[event.source] = hosts[event.host] = None
                    spoke[event.source] = spoke[event.host] = None
                    self.lost += low <= began <= high
                case Span():
                    began = event.start
                    hosts[event.host] = spoke[event.host] = None
                    self.spans += began <= high and time >= low
                    self.executions += concerns_task(event)
                    self.transactions += event.name == TRANSACTION and began <= high and time >= low
                case Note() | Log():
                    hosts[event.host] = spoke[event.host] = None
                    self.notes += low <= time <= high
                    self.overlays += isinstance(event, Note) and event.name == OVERLAY
                    self.leases += isinstance(event, Note) and event.name == LEASE
                    self.executions += concerns_task(event)
                    self.progress += is_progress(event)
                case HostEvent():
                    hosts[event.host] = None
                    steps.setdefault(event.host, []).append(event)
                case FaultEvent():
                    periods.see(event)
                case ClockSample():
                    hosts[event.host] = None
                    self.clocks += low <= time <= high
                    self.claims += event.bound >= 0 and low <= time <= high
            first = began if first is None else min(first, began)
        for operation in history:
            last = max(last, operation.time)
            first = operation.time if first is None else min(first, operation.time)
            self.operations += low <= operation.time <= high
        self.empty = first is None
        if STORYTELLER in hosts and STORYTELLER not in spoke:
            del hosts[STORYTELLER]  # it is no machine: it only tells the others what to do
        self.hosts = sorted(hosts, key=lambda name: (name != STORYTELLER, _natural(name)))
        self.start, self.end = self._window(first or 0, last, start, end)
        self.faults = [self._clip(one) for one in periods.all if self._shows(one)]
        self.lives = {host: self._life(steps.get(host, [])) for host in self.hosts}
        self.steps = {
            host: [step for step in told if self.start <= step.time <= self.end]
            for host, told in steps.items()
        }

    def _window(self, first: int, last: int, start: int | None, end: int | None) -> tuple[int, int]:
        if start is not None and end is not None and start >= end:
            raise ViewError(f"--from ({start / SECOND:g} s) must be before --to ({end / SECOND:g} s)")
        if not self.empty and start is not None and start >= last:
            raise ViewError(f"--from {start / SECOND:g} s is after the end of the run ({last / SECOND:g} s)")
        origin = 0 if 0 <= first < 1 << 60 else first  # a single real node counts from the Unix epoch
        if not self.empty and end is not None and end <= origin:
            raise ViewError(f"--to {end / SECOND:g} s is before the start of the run ({origin / SECOND:g} s)")
        low = start if start is not None else origin
        high = end if end is not None else last
        return low, max(high, low + 1)

    def _shows(self, period: Period) -> bool:
        return period.start <= self.end and (period.end is None or period.end >= self.start)

    def _clip(self, period: Period) -> Period:
        end = self.end if period.end is None else min(period.end, self.end)
        return Period(period.id, period.name, period.hosts, max(period.start, self.start), end, period.fields)

    def _life(self, steps: list[HostEvent]) -> list[Stretch]:
        """Turns boots, crashes and pauses into stretches; a host that nothing is told of was up."""
        found: list[Stretch] = []
        born = bool(steps) and steps[0].name in ("boot", "restart")
        state, since = ("", 0) if born else ("up", self.start)
        for step in steps:
            if state:
                found.append(Stretch(state, since, step.time))
            state, since = STATES.get(step.name, state), step.time
        if state:
            found.append(Stretch(state, since, self.end))
        return [
            Stretch(one.state, max(one.start, self.start), min(one.end, self.end))
            for one in found
            if one.start < self.end and one.end > self.start
        ]

    def within(self, start: int, end: int) -> Run:
        """Returns this run with a narrower window (ns), for pictures of a part; counts are as before."""
        part = copy.copy(self)
        part.start, part.end = start, max(end, start + 1)
        part.faults = [part._clip(one) for one in self.faults if part._shows(one)]
        return part

    def title(self, what: str) -> str:
        """Returns the heading of a picture."""
        return f"{self.name}: {what}" if self.name else what[:1].upper() + what[1:]

    @property
    def traffic(self) -> int:
        """Messages in the window, lost ones included."""
        return self.messages + self.lost

    def has(self, counts: Iterable[str]) -> bool:
        """Says whether one of these counts (names of attributes) is not zero."""
        return any(getattr(self, count) for count in counts)


STATES = {
    "boot": "up",
    "restart": "up",
    "resume": "up",
    "pause": "paused",
    "crash": "down",
    "exit": "",
}


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts "worker10" after "worker9"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
