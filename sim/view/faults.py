"""Faults on pictures: the strip above the panels that names them, and the shades in the panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.collections import LineCollection, PolyCollection
from msgspec import Struct

from sim.trace.faults import Period, describe
from sim.view.colours import GREEN, INK, ORANGE, PINK, RED, SKY, VIOLET
from sim.view.text import SMALL, Measure, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from sim.view.run import Run

FAULT_COLOURS = {
    "crash": RED,
    "pause": ORANGE,
    "slow": ORANGE,
    "partition": PINK,
    "cut": PINK,
    "isolate": PINK,
    "delay": VIOLET,
    "loss": VIOLET,
    "lose-reply": VIOLET,
    "clock-skew": SKY,
    "clock-drift": SKY,
    "clock-jump": SKY,
    "lying-master": SKY,
}
DISK_FAULT = GREEN  # disk faults, and kinds that this module does not know

LANE = 0.19  # inches, a lane of fault labels
LANES = 6


def fault_colour(name: str) -> str:
    """Returns the colour of a kind of fault."""
    return FAULT_COLOURS.get(name, DISK_FAULT)


class Bar(Struct):
    """A fault on the strip.

    Attributes:
        lane: counted from the top.
        label: "" when there is no room for one.
        text: left edge of the label, in inches from the left of the strip.
    """

    period: Period
    lane: int
    label: str
    text: float


def place(run: Run, width: float, measure: Measure) -> tuple[list[Bar], int]:
    """Gives each fault a lane in which its bar and its label touch no other's.

    Returns:
        The bars, and the number of lanes.
    """
    scale = width / (run.end - run.start)
    ends: list[float] = []
    bars = []
    for period in run.faults:
        left = (period.start - run.start) * scale
        right = max(((period.end or period.start) - run.start) * scale, left + 0.08)
        label = shorten(describe(period), 60)
        wide = measure.width(label, SMALL) + 0.12
        text = min(left, width - wide)
        from_, to = min(left, text), max(right, text + wide)
        lane = next((number for number, end in enumerate(ends) if end <= from_), len(ends))
        if lane == LANES:
            lane, label, to = LANES - 1, "", max(ends[-1], right)
        if lane == len(ends):
            ends.append(0.0)
        ends[lane] = to + 0.05
        bars.append(Bar(period, lane, label, text))
    return bars, len(ends)


def draw_strip(strip: Axes, bars: list[Bar], run: Run, width: float, lanes: int) -> None:
    """Draws the bars and their labels."""
    strip.axis("off")
    strip.set_xlim(0, width)
    strip.set_ylim(lanes, 0)
    scale = width / (run.end - run.start)
    shapes, colours = [], []
    for bar in bars:
        left = (bar.period.start - run.start) * scale
        right = max(((bar.period.end or bar.period.start) - run.start) * scale, left + 0.05)
        low, high = bar.lane + 0.06, bar.lane + 0.94
        shapes.append([(left, low), (right, low), (right, high), (left, high)])
        colours.append(fault_colour(bar.period.name))
        if bar.label:
            strip.text(
                bar.text + 0.06, bar.lane + 0.52, bar.label, fontsize=SMALL, color=INK, va="center_baseline"
            )
    strip.add_collection(
        PolyCollection(shapes, facecolors=colours, edgecolors=colours, alpha=0.4, linewidths=0.8),
        autolim=False,
    )


def shade(
    panel: Axes,
    run: Run,
    x: Callable[[float], float],
    bands: dict[str, tuple[float, float]] | None,
    *,
    above: bool,
) -> None:
    """Shades a panel; see `sim.view.paper.Sheet.shade`.

    Args:
        x: the position of a time.
    """
    areas: dict[str, list[list[tuple[float, float]]]] = {}
    lines: dict[str, list[list[tuple[float, float]]]] = {}
    low, high = panel.get_ylim()
    order = 2.5 if above else 0.5
    alpha = 0.16 if bands else min(0.16, 0.32 / _most_at_once(run))  # shades on shades add up
    for period in run.faults:
        left, right = x(period.start), x(period.end or period.start)
        where = [(low, high)]
        if bands and period.hosts:
            where = [bands[host] for host in period.hosts if host in bands]
        colour = fault_colour(period.name)
        for bottom, top in where:
            if period.instant:
                lines.setdefault(colour, []).append([(left, bottom), (left, top)])
            else:
                areas.setdefault(colour, []).append(
                    [(left, bottom), (right, bottom), (right, top), (left, top)]
                )
    for colour, shapes in areas.items():
        panel.add_collection(
            PolyCollection(shapes, facecolors=colour, alpha=alpha, linewidths=0, zorder=order),
            autolim=False,
        )
    for colour, segments in lines.items():
        panel.add_collection(
            LineCollection(segments, colors=colour, linewidths=1.4, linestyles=":", zorder=order),
            autolim=False,
        )


def _most_at_once(run: Run) -> int:
    """Returns how many faults held at once, at most; at least 1."""
    steps = sorted(
        step for period in run.faults for step in ((period.start, 1), (period.end or period.start, -1))
    )
    most = held = 1
    for _, step in steps:
        held += step
        most = max(most, held - 1)
    return most
