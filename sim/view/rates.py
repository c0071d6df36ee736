"""Rates and latencies over time: calls and bytes a second, percentiles of how long calls took.

The latency of a call is from its first request sent to its last response received; that of an
operation is what the history says the client waited. Both are put where they ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from protos.trace import Message
from sim.trace.calls import Calls
from sim.trace.latency import Durations, in_words
from sim.view.colours import BLUE, GREEN, GREY, ORANGE, RED
from sim.view.paper import Sheet
from sim.view.text import TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.view.run import Run

BINS = 120
DOTS = 2000  # latencies drawn one by one
PARTS: tuple[tuple[float, str, str, Literal["-", ":"]], ...] = (
    (0.5, "p50", BLUE, "-"),
    (0.95, "p95", ORANGE, "-"),
    (0.99, "p99", RED, ":"),
)


class _Latencies:
    """Latencies by bin of time, and one by one as long as they are few."""

    def __init__(self, bins: int) -> None:
        self.bins = [Durations() for _ in range(bins)]
        self.dots: list[tuple[int, int]] = []

    def add(self, time_bin: int, time: int, ns: int) -> None:
        self.bins[time_bin].add(ns)
        if len(self.dots) <= DOTS:
            self.dots.append((time, ns))

    def over_time(self, part: float) -> list[float]:
        return [one.percentile(part) for one in self.bins]

    def overall(self) -> Durations:
        total = Durations()
        for one in self.bins:
            total.merge(one)
        return total


def rates(run: Run) -> Figure:
    """Draws calls and bytes a second, and the latency of calls and of operations."""
    bins = min(BINS, max(1, run.traffic // 8, run.operations // 8), run.end - run.start)
    wide = (run.end - run.start) / bins
    done = np.zeros(bins)
    failed = np.zeros(bins)
    sizes = np.zeros(bins)
    of_calls, of_operations = _Latencies(bins), _Latencies(bins)
    calls = Calls()

    def place(time: int) -> int:
        return min(int((time - run.start) / wide), bins - 1)

    for event in run.events:
        call = calls.see(event)
        if not run.start <= event.time <= run.end:
            continue
        if isinstance(event, Message):
            sizes[place(event.time)] += event.size
        if call is not None:
            at = place(call.end)
            (done if call.ok else failed)[at] += 1
            of_calls.add(at, call.end, call.latency)
    began: dict[int | str, int] = {}
    for step in run.history:
        if step.type == "invoke":
            began[step.process] = step.time
        elif step.type == "ok" and step.process in began and run.start <= step.time <= run.end:
            of_operations.add(place(step.time), step.time, step.time - began[step.process])

    panels = [1.5, 1.1]
    panels += [1.7] * bool(of_calls.dots) + [1.7] * bool(of_operations.dots)
    says = [f"Each point sums up {in_words(wide)}; percentiles are exact to 1 %."]
    sheet = Sheet(run, "rates and latencies", says, panels, labels=["1,000 ms      "])
    seconds = wide / 1e9
    edges = np.array([sheet.time.x(run.start + wide * number) for number in range(bins + 1)])
    first, second, *rest = sheet.panels
    _rate(sheet, first, "calls / s")
    first.stairs(done / seconds, edges, color=BLUE, fill=True, alpha=0.75)
    if failed.any():
        first.stairs(
            (done + failed) / seconds, edges, baseline=done / seconds, color=RED, fill=True, alpha=0.75
        )
    _rate(sheet, second, "bytes / s", binary=True)
    second.stairs(sizes / seconds, edges, color=GREEN, fill=True, alpha=0.6)
    for found, name in ((of_calls, "call"), (of_operations, "operation")):
        if found.dots:
            _latency(sheet, rest.pop(0), found, edges, name)
    for panel in sheet.panels:
        sheet.shade(panel)
    handles: list[Patch | Line2D] = [Patch(color=BLUE, alpha=0.75)]
    names = ["calls that ended OK"]
    if failed.any():
        handles.append(Patch(color=RED, alpha=0.75))
        names.append("calls that ended otherwise")
    if rest or of_calls.dots or of_operations.dots:
        handles += [
            Line2D([], [], color=colour, marker=".", linestyle=style) for _, _, colour, style in PARTS
        ]
        names += [name for _, name, _, _ in PARTS]
    if any(0 < len(found.dots) <= DOTS for found in (of_calls, of_operations)):
        handles.append(Line2D([], [], color=GREY, marker=".", markersize=3, linestyle="", alpha=0.6))
        names.append("one latency")
    sheet.legend(handles, names)
    return sheet.figure


def _rate(sheet: Sheet, panel: Axes, label: str, *, binary: bool = False) -> None:
    panel.set_ylabel(label, fontsize=TEXT)
    panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value, "B" if binary else "")))
    panel.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)


def _short(value: float, unit: str) -> str:
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip()


def _latency(
    sheet: Sheet,
    panel: Axes,
    latencies: _Latencies,
    edges: np.ndarray[tuple[int], np.dtype[np.float64]],
    name: str,
) -> None:
    total = latencies.overall()
    panel.set_yscale("log")
    panel.set_ylabel(f"{name} latency", fontsize=TEXT)
    if len(latencies.dots) <= DOTS:
        times, values = zip(*latencies.dots, strict=True)
        at = [sheet.time.x(time) for time in times]
        panel.plot(
            at, [max(value, 1) for value in values], ".", color=GREY, markersize=3, alpha=0.5, zorder=1.5
        )
    middles = (edges[:-1] + edges[1:]) / 2
    for part, _, colour, style in PARTS:
        panel.plot(
            middles,
            latencies.over_time(part),
            f".{style}",
            color=colour,
            linewidth=1.3,
            markersize=3,
            zorder=3,
        )
    low, high = panel.get_ylim()
    if high / low < 12:
        low, high = low / 2, high * 2
    panel.set_ylim(low, high)
    panel.yaxis.set_major_locator(
        LogLocator(10, subs=(1.0,) if high / low > 200 else (1.0, 2.0, 5.0), numticks=8)
    )
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_words(value)))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)
    texts = [f"{label} {in_words(total.percentile(part))}" for part, label, _, _ in PARTS]
    panel.set_title(
        f"{total.count:,} {name}s: " + ", ".join(texts), fontsize=TEXT, color=GREY, loc="right", pad=3
    )
