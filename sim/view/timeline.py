"""The timeline: what each host was busy with, a bar for each span of work (a Gantt chart).

Spans of one host that overlap are stacked in lanes. When there are more spans than bars can show,
each host becomes a strip that is darker the more spans were open at once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from protos.trace import Span
from sim.trace.latency import in_words
from sim.view.colours import GREY, RED, SERIES
from sim.view.paper import Sheet
from sim.view.text import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sim.view.run import Run

BARS = 3000  # spans drawn one by one
LANES = 8  # lanes of a host; spans beyond lie on the last
ROWS = 60  # lanes of all hosts together, for bars
BINS = 240
STRIPS = 250
OTHER = "other"


def timeline(run: Run) -> Figure:
    """Draws the spans of each host over time."""
    if run.spans <= BARS:
        spans = [one for one in run.events if isinstance(one, Span) and _seen(run, one)]
        spans.sort(key=lambda one: (one.start, -one.time))
        lanes, heights = _stack(spans)
        if sum(heights.values()) <= ROWS:
            return _bars(run, spans, lanes, heights)
    return _strips(run)


def _seen(run: Run, span: Span) -> bool:
    return span.start <= run.end and span.time >= run.start


def _stack(spans: list[Span]) -> tuple[list[int], dict[str, int]]:
    """Returns the lane of each span, and the number of lanes of each host."""
    ends: dict[str, list[int]] = {}
    lanes = []
    for span in spans:
        taken = ends.setdefault(span.host, [])
        lane = next((number for number, end in enumerate(taken) if end <= span.start), len(taken))
        if lane == len(taken) and lane < LANES:
            taken.append(0)
        lane = min(lane, LANES - 1)
        taken[lane] = max(taken[lane], span.time, span.start + 1)
        lanes.append(lane)
    return lanes, {host: len(taken) for host, taken in ends.items()}


def _bars(run: Run, spans: list[Span], lanes: list[int], heights: dict[str, int]) -> Figure:
    hosts = [host for host in run.hosts if host in heights]
    crowded = any(count == LANES for count in heights.values())
    says = (
        [f"More than {LANES} spans at once on a host: those beyond share its last lane."] if crowded else []
    )
    total = sum(heights.values()) + 0.5 * len(hosts)
    colours = _colours(spans)
    sheet = Sheet(
        run,
        "spans of work",
        says,
        [min(10.0, max(1.2, (0.26 if total < 30 else 0.17) * total))],
        labels=[shorten(host) for host in hosts],
        legend=2 if len(colours) > 5 else 1,
    )
    panel = sheet.panels[0]
    tops = {}
    at = 0.0
    for host in hosts:
        tops[host] = at
        at += heights[host] + 0.5
    panel.set_ylim(at, -0.5)
    panel.set_yticks([tops[host] + heights[host] / 2 for host in hosts], [shorten(host) for host in hosts])
    panel.tick_params(axis="y", length=0)
    sheet.shade(panel, bands={host: (tops[host] - 0.2, tops[host] + heights[host] + 0.2) for host in hosts})
    x = sheet.time.x
    least = (x(run.end) - x(run.start)) / 900  # about a pixel
    bars: dict[str, list[list[tuple[float, float]]]] = {}
    failed: list[list[tuple[float, float]]] = []
    ends: list[tuple[float, float]] = []
    for span, lane in zip(spans, lanes, strict=True):
        left, right = x(max(span.start, run.start)), x(min(span.time, run.end))
        right = max(right, left + least)
        low = tops[span.host] + lane
        bar = [(left, low + 0.1), (right, low + 0.1), (right, low + 0.9), (left, low + 0.9)]
        bars.setdefault(colours.get(span.name, GREY), []).append(bar)
        if not span.ok:
            failed.append(bar)
            ends.append((right, low + 0.5))
    for colour, shapes in bars.items():
        panel.add_collection(
            PolyCollection(
                shapes, facecolors=colour, edgecolors="white", linewidths=0.3, alpha=0.85, zorder=2
            ),
            autolim=False,
        )
    if failed:
        panel.add_collection(
            PolyCollection(failed, facecolors="none", edgecolors=RED, linewidths=0.8, hatch="xxx", zorder=3),
            autolim=False,
        )
        panel.plot(*zip(*ends, strict=True), "x", color=RED, markersize=4.5, zorder=4, clip_on=False)
    handles: list[Patch | Line2D] = [Patch(color=colour, alpha=0.85) for colour in colours.values()]
    names = list(colours)
    if any(span.name not in colours for span in spans):
        handles.append(Patch(color=GREY, alpha=0.85))
        names.append(OTHER)
    if failed:
        handles.append(Line2D([], [], color=RED, marker="x", markersize=5, linestyle=""))
        names.append("failed or cut off")
    sheet.legend(handles, names, rows=2 if len(colours) > 5 else 1)
    return sheet.figure


def _colours(spans: list[Span]) -> dict[str, str]:
    """Gives the names with the most spans a colour each; the others are grey."""
    counts = Counter(span.name for span in spans)
    most = sorted(counts, key=lambda name: (-counts[name], name))[: len(SERIES)]
    return dict(zip(sorted(most), SERIES, strict=False))


def _strips(run: Run) -> Figure:
    share = -(-len(run.hosts) // STRIPS)
    number = {host: row // share for row, host in enumerate(run.hosts)}
    wide = (run.end - run.start) / BINS
    change = np.zeros((-(-len(run.hosts) // share), BINS + 1))  # of the open time, whole bins
    parts = np.zeros(change.shape)  # what is open for part of a bin
    failed = np.zeros(change.shape, dtype=bool)
    for event in run.events:
        if not isinstance(event, Span) or not _seen(run, event):
            continue
        row = number[event.host]
        left = (max(event.start, run.start) - run.start) / wide
        right = min((min(event.time, run.end) - run.start) / wide, float(BINS))
        first, last = int(left), int(right)
        change[row, first] += 1
        change[row, last] -= 1
        parts[row, first] -= left - first
        parts[row, last] += right - last
        if not event.ok:
            failed[row, min(last, BINS - 1)] = True
    busy = np.maximum(np.cumsum(change, axis=1) + parts, 0)[:, :BINS]
    who = "on the host" if share == 1 else f"on the {share} hosts of the row"
    sheet = Sheet(
        run,
        "spans of work",
        [
            f"{run.spans:,} spans on {len(run.hosts):,} hosts, too many for bars: darker means more spans "
            f"open {who}, on average over {in_words(wide)}."
        ],
        [min(9.0, max(1.6, 0.3 * len(run.hosts)))],
        labels=[shorten(host) for host in run.hosts],
        right=1.35,
    )
    panel = sheet.panels[0]
    rows = sheet.rows(run.hosts, panel)
    sheet.heat(panel, busy, share, "spans open at once")
    sheet.shade(panel, sheet.bands(rows), above=True)
    if failed.any() and len(rows) <= 160:
        x = sheet.time.x
        where = np.argwhere(failed)
        at = [x(run.start + (column + 0.5) * wide) for _, column in where]
        panel.plot(at, where[:, 0], "x", color=RED, markersize=3, markeredgewidth=0.8, zorder=3)
        sheet.legend(
            [Line2D([], [], color=RED, marker="x", markersize=4, linestyle="")], ["failed or cut off"]
        )
    return sheet.figure
