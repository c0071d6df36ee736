"""The tasks of a MapReduce job: which worker executed what, when, and how it ended (a Gantt chart).

Executions of one worker that overlap are stacked in lanes. When there are more than bars can show, one sees
how many were under way at each moment instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sim.view.colours import BLUE, GREY, INK, ORANGE, RED
from sim.view.executions import Execution, executions
from sim.view.paper import Sheet
from sim.view.text import SMALL, many, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.view.run import Run

BARS = 3000  # executions drawn one by one
ROWS = 90  # lanes of all workers together
LANES = 8
BINS = 400
COLOURS = {"map": BLUE, "reduce": ORANGE}


def tasks(run: Run) -> Figure:
    """Draws the executions of tasks."""
    found = executions(run)
    lanes, heights = _stack(found)
    hosts = [host for host in run.hosts if host in heights]
    if len(found) <= BARS and sum(heights.values()) <= ROWS:
        return _bars(run, found, lanes, {host: heights[host] for host in hosts})
    return _counts(run, found, len(hosts))


def _says(found: list[Execution]) -> str:
    jobs = len({one.job for one in found})
    parts = []
    for kind in COLOURS:
        of_kind = [one for one in found if one.kind == kind]
        if of_kind:
            number = len({(one.job, one.number) for one in of_kind})
            parts.append(f"{many(number, f'{kind} task')} in {many(len(of_kind), 'execution')}")
    for word, count in (
        ("backup task", sum(one.backup for one in found)),
        ("failed", sum(one.outcome == "failed" for one in found)),
        ("died with their workers", sum(one.outcome == "died" for one in found)),
    ):
        if count:
            parts.append(many(count, word) if word == "backup task" else f"{count:,} {word}")
    return (f"{jobs:,} jobs: " if jobs > 1 else "") + ", ".join(parts) + "."


def _stack(found: list[Execution]) -> tuple[list[int], dict[str, int]]:
    """Returns the lane of each execution, and the number of lanes of each worker: maps above reduces."""
    ends: dict[tuple[str, str], list[int]] = {}
    lanes = []
    for one in found:
        taken = ends.setdefault((one.host, one.kind), [])
        lane = next((number for number, end in enumerate(taken) if end <= one.start), len(taken))
        if lane == len(taken) and lane < LANES:
            taken.append(0)
        lane = min(lane, LANES - 1)
        taken[lane] = max(taken[lane], one.end, one.start + 1)
        lanes.append(lane)
    heights: dict[str, int] = {}
    for (host, _), taken in ends.items():
        heights[host] = heights.get(host, 0) + len(taken)
    maps = {host: len(taken) for (host, kind), taken in ends.items() if kind == "map"}
    below = [
        lane + (maps.get(one.host, 0) if one.kind == "reduce" else 0)
        for one, lane in zip(found, lanes, strict=True)
    ]
    return below, heights


def _bars(run: Run, found: list[Execution], lanes: list[int], heights: dict[str, int]) -> Figure:
    total = sum(heights.values()) + 0.5 * len(heights)
    sheet = Sheet(
        run,
        "tasks by worker",
        [_says(found)],
        [min(11.0, max(1.2, (0.26 if total < 30 else 0.17) * total))],
        labels=[shorten(host) for host in heights],
        legend=2,
    )
    panel = sheet.panels[0]
    tops = {}
    at = 0.0
    for host, height in heights.items():
        tops[host] = at
        at += height + 0.5
    panel.set_ylim(at, -0.5)
    middles = [tops[host] + heights[host] / 2 for host in heights]
    panel.set_yticks(middles, [shorten(host) for host in heights])
    panel.tick_params(axis="y", length=0)
    bands = {host: (tops[host] - 0.2, tops[host] + heights[host] + 0.2) for host in heights}
    sheet.shade(panel, bands=bands)
    x = sheet.time.x
    least = (x(run.end) - x(run.start)) / 900  # about a pixel
    groups: dict[tuple[str, str, bool], list[Any]] = {}
    ends: list[tuple[float, float]] = []
    texts: list[tuple[float, float, float, str, bool]] = []
    for one, lane in zip(found, lanes, strict=True):
        left = x(max(one.start, run.start))
        right = max(x(min(one.end, run.end)), left + least)
        low = tops[one.host] + lane
        bar = [(left, low + 0.1), (right, low + 0.1), (right, low + 0.9), (left, low + 0.9)]
        look = one.outcome if one.outcome in ("failed", "died", "withdrawn") else ""
        groups.setdefault((one.kind, look, one.backup), []).append(bar)
        if look in ("failed", "died"):
            ends.append((right, low + 0.5))
        texts.append((left, right, low + 0.5, str(one.number), one.backup))
    for (kind, look, backup), shapes in groups.items():
        panel.add_collection(_shapes(shapes, COLOURS[kind], look, backup=backup), autolim=False)
    if ends:
        panel.plot(*zip(*ends, strict=True), "x", color=RED, markersize=5, zorder=4, clip_on=False)
    _number(panel, texts, (x(run.end) - x(run.start)) / sheet.width)
    _legend(sheet, found)
    return sheet.figure


def _shapes(shapes: list[Any], colour: str, look: str, *, backup: bool) -> PolyCollection:
    return PolyCollection(
        shapes,
        facecolors=colour,
        edgecolors=RED if look in ("failed", "died") else INK if backup else "white",
        linewidths=1.0 if look or backup else 0.4,
        hatch="////" if backup else None,
        alpha=0.3 if look else 0.85,
        zorder=2,
    )


def _number(panel: Axes, texts: list[tuple[float, float, float, str, bool]], inch: float) -> None:
    """Writes the tasks' numbers into the bars that have room for them."""
    for left, right, middle, text, hatched in texts:
        if right - left > inch * (0.09 * len(text) + 0.05):
            panel.text(
                (left + right) / 2,
                middle,
                text,
                fontsize=SMALL,
                color=INK,
                ha="center",
                va="center_baseline",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0} if hatched else None,
            )


def _legend(sheet: Sheet, found: list[Execution]) -> None:
    handles: list[Any] = []
    names = []
    for kind, colour in COLOURS.items():
        if any(one.kind == kind for one in found):
            handles.append(Patch(color=colour, alpha=0.85))
            names.append(f"{kind} task, with its number")
    if any(one.backup for one in found):
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch="////"))
        names.append("backup task")
    if any(one.outcome == "withdrawn" for one in found):
        handles.append(Patch(color=GREY, alpha=0.3))
        names.append("not needed any more")
    if any(one.outcome in ("failed", "died") for one in found):
        handles.append(Line2D([], [], color=RED, marker="x", markersize=5, linestyle=""))
        names.append("failed, or died with its worker")
    sheet.legend(handles, names, rows=2)


def _counts(run: Run, found: list[Execution], hosts: int) -> Figure:
    wide = (run.end - run.start) / BINS
    open_now = {kind: np.zeros(BINS + 1) for kind in COLOURS}
    wasted = np.zeros(BINS)
    for one in found:
        first = int((max(one.start, run.start) - run.start) / wide)
        last = min(BINS - 1, int((min(one.end, run.end) - run.start) / wide))
        open_now[one.kind][first] += 1
        open_now[one.kind][last + 1] -= 1
        wasted[last] += one.outcome in ("failed", "died")
    sheet = Sheet(
        run,
        "tasks under way",
        [_says(found), f"On {hosts:,} workers: too many for bars."],
        [3.2, 1.2] if wasted.any() else [3.2],
    )
    panel = sheet.panels[0]
    x = [sheet.time.x(run.start + bin_ * wide) for bin_ in range(BINS)]
    counts = [np.cumsum(open_now[kind])[:BINS] for kind in COLOURS]
    panel.stackplot(x, counts, colors=list(COLOURS.values()), alpha=0.8, step="post", zorder=2)
    panel.set_ylim(0, max(1.0, 1.05 * float(np.sum(counts, axis=0).max())))
    panel.set_ylabel("executions", fontsize=SMALL)
    sheet.shade(panel)
    if wasted.any():
        below = sheet.panels[1]
        below.bar(x, wasted, width=x[1] - x[0], align="edge", color=RED, zorder=2)
        below.set_ylim(0, 1.1 * float(wasted.max()))
        below.set_ylabel("failed or died", fontsize=SMALL)
        sheet.shade(below)
    sheet.legend([Patch(color=colour, alpha=0.8) for colour in COLOURS.values()], ["map", "reduce"])
    return sheet.figure
