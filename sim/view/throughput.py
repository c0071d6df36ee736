"""Rates of a MapReduce job over time, as in the paper's Figure 3: input read, data shuffled, output written.

They come from the master's notes "progress", which say how many bytes there are so far. What is lost with a
worker is taken away again, as in the paper's Figure 3(c): a rate may be negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, MaxNLocator

from protos.trace import Note
from sim.view.colours import BLUE, GREEN, GREY, ORANGE
from sim.view.executions import is_progress
from sim.view.paper import Sheet
from sim.view.text import TEXT, amount

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sim.view.run import Run

BINS = 100
PANELS = (
    ("input_bytes", "input", BLUE),
    ("shuffled_bytes", "shuffle", ORANGE),
    ("output_bytes", "output", GREEN),
)


def throughput(run: Run) -> Figure:
    """Draws the three rates."""
    curves = {name: _Curve(run) for name, _, _ in PANELS}
    last: dict[str, dict[str, int]] = {}
    when: dict[str, int] = {}
    finals = _Finals()
    for event in run.events:
        if not isinstance(event, Note) or "job" not in event.fields:
            continue
        job = str(event.fields["job"])
        finals.see(event, job)
        if event.name == "job started":
            when.setdefault(job, event.time)
        now = None
        if is_progress(event):
            now = {name: int(event.fields[name]) for name in curves}
        elif event.name == "job finished" and event.fields.get("state") == "done":
            now = finals.of(job)  # what came after the last report; a short job has given none
        if now is not None:
            before = last.get(job, dict.fromkeys(curves, 0))
            for name, curve in curves.items():
                curve.add(when.get(job, event.time), event.time, now[name] - before[name])
            last[job], when[job] = now, event.time
    totals = {label: sum(amounts[name] for amounts in last.values()) for name, label, _ in PANELS}
    unit, per = _unit(max((abs(value) for curve in curves.values() for value in curve.rates()), default=0.0))
    sheet = Sheet(
        run,
        "rates of input, shuffle and output",
        ["In all " + ", ".join(f"{amount(total)} {label}" for label, total in totals.items()) + "."],
        [1.5] * 3,
        labels=["99,999 MB/s"],
        legend=0,
    )
    for panel, (name, label, colour) in zip(sheet.panels, PANELS, strict=True):
        edges, rates = curves[name].edges(), [value / per for value in curves[name].rates()]
        x = [sheet.time.x(edge) for edge in edges]
        panel.stairs(rates, x, fill=True, color=colour, alpha=0.25, zorder=2)
        panel.stairs(rates, x, color=colour, linewidth=1.3, zorder=3)
        low, high = min(0.0, *rates), max(0.0, *rates)
        room = 0.08 * ((high - low) or 1.0)
        panel.set_ylim(low - room if low < 0 else 0.0, high + room)
        panel.axhline(0, color=GREY, linewidth=0.6, zorder=1)
        panel.set_ylabel(f"{label} ({unit})", fontsize=TEXT)
        panel.yaxis.set_major_locator(MaxNLocator(4))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        sheet.shade(panel)
    return sheet.figure


class _Finals:
    """What the executions that count have read and written, from the notes of their completion."""

    def __init__(self) -> None:
        self._done: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}
        self._map_only: dict[str, bool] = {}

    def see(self, note: Note, job: str) -> None:
        """Takes a note."""
        fields = note.fields
        if note.name == "job started":
            self._map_only[job] = fields.get("reduces") == 0
        elif note.name == "completed":
            task = (str(fields.get("kind")), int(fields.get("number", -1)))
            amounts = (int(fields.get("input_bytes", 0)), int(fields.get("output_bytes", 0)))
            self._done.setdefault(job, {})[task] = amounts

    def of(self, job: str) -> dict[str, int]:
        """Returns a job's sums when it is done."""
        done = self._done.get(job, {})
        maps = [amounts for (kind, _), amounts in done.items() if kind == "map"]
        reduces = [amounts for (kind, _), amounts in done.items() if kind == "reduce"]
        return {
            "input_bytes": sum(read for read, _ in maps),
            "shuffled_bytes": sum(read for read, _ in reduces),
            "output_bytes": sum(written for _, written in (maps if self._map_only.get(job) else reduces)),
        }


class _Curve:
    """Bytes by bin of time."""

    def __init__(self, run: Run) -> None:
        self._start = run.start
        self._wide = (run.end - run.start) / BINS
        self._bins = [0.0] * BINS

    def add(self, start: int, end: int, amount: int) -> None:
        """Spreads an amount evenly over a stretch of time."""
        left, right = (start - self._start) / self._wide, (end - self._start) / self._wide
        right = max(right, left + 1e-9)
        for number in range(max(0, int(left)), min(BINS, int(right) + 1)):
            share = min(right, number + 1) - max(left, number)
            if share > 0:
                self._bins[number] += amount * share / (right - left)

    def edges(self) -> list[float]:
        """Returns where bins begin, and the last one ends."""
        return [self._start + number * self._wide for number in range(BINS + 1)]

    def rates(self) -> list[float]:
        """Returns bytes a second."""
        return [value / (self._wide / 1e9) for value in self._bins]


def _unit(most: float) -> tuple[str, float]:
    for name, size in (("GB/s", 1e10), ("MB/s", 1e6), ("kB/s", 1e3)):
        if most >= size:
            return name, 1e9 if name == "GB/s" else size
    return "B/s", 1.0
