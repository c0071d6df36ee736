"""Wall clocks: how far each host's clock is from true time, and how far it claims to be at most.

The shaded band of a line's colour is what the host claims to know of the time; where zero lies outside it,
the host was wrong about how wrong it may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from msgspec import Struct

from protos.trace import ClockSample
from sim.trace.latency import UNITS
from sim.view.colours import BLUE, GREY, INK, RED, SERIES, SKY
from sim.view.paper import Sheet
from sim.view.text import TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.view.run import Run

LINES = len(SERIES)  # hosts drawn one by one
BINS = 300


class _Bin(Struct):
    """What a line shows of the samples (order, time, offset, bound, middle) of a host in one bin of time."""

    first: tuple[int, int, int, int, int]
    lowest: tuple[int, int, int, int, int]
    highest: tuple[int, int, int, int, int]
    last: tuple[int, int, int, int, int]

    def kept(self) -> tuple[tuple[int, int, int, int, int], ...]:
        return self.first, self.lowest, self.highest, self.last


def clocks(run: Run) -> Figure:
    """Draws each host's clock offset over time, with the bound that the host claims."""
    samples: dict[str, list[tuple[int, int, int, int]]] = {}
    wide = max(1, (run.end - run.start) // BINS)
    bins: dict[str, dict[int, _Bin]] = {}
    for order, event in enumerate(run.events):
        if isinstance(event, ClockSample) and run.start <= event.time <= run.end:
            sample = (order, event.time, event.offset, event.bound, event.middle)
            number = (event.time - run.start) // wide
            known = bins.setdefault(event.host, {}).get(number)
            if known is None:
                bins[event.host][number] = _Bin(sample, sample, sample, sample)
                continue
            if event.offset < known.lowest[2]:
                known.lowest = sample
            if event.offset > known.highest[2]:
                known.highest = sample
            known.last = sample
    for host in run.hosts:
        if host in bins:
            # In the order in which they were taken: a jump is two samples of one moment.
            kept = sorted({sample for one in bins[host].values() for sample in one.kept()})
            samples[host] = [sample[1:] for sample in kept]
    few = len(samples) <= LINES
    says = (
        []
        if few
        else [
            f"{len(samples):,} hosts, too many for a line each: the range of their offsets, and the "
            f"three that were furthest off."
        ]
    )
    sheet = Sheet(run, "wall clocks against true time", says, [3.6], labels=["100,000 ms     "])
    panel = sheet.panels[0]
    panel.axhline(0, color=INK, linewidth=0.8, zorder=1)
    shown = list(samples) if few else sorted(samples, key=lambda host: -_worst(samples[host]))[:3]
    handles: list[Line2D | Patch] = []
    names = []
    if not few:
        _range(sheet, panel, samples, wide)
        handles += [Patch(color=SKY, alpha=0.35), Line2D([], [], color=GREY)]
        names += ["lowest to highest", "median"]
    colours = SERIES if few else (BLUE, RED, SERIES[1])
    bounded = False
    for host, colour in zip(shown, colours, strict=False):
        time, offset, bound, middle = np.array(samples[host], dtype=float).T
        at = np.array([sheet.time.x(one) for one in time])
        panel.plot(
            at, offset, "-" if len(at) > 60 else ".-", color=colour, linewidth=1.2, markersize=4, zorder=3
        )
        known = bound >= 0
        if known.any():
            bounded = True
            low, high = (middle - bound)[known], (middle + bound)[known]
            panel.fill_between(at[known], low, high, color=colour, alpha=0.13, linewidth=0, zorder=1.2)
        handles.append(Line2D([], [], color=colour))
        names.append(host)
    if bounded:
        handles.append(Patch(color=GREY, alpha=0.25))
        names.append("claimed bound")
    _offset_axis(panel)
    sheet.shade(panel)
    sheet.legend(handles, names, rows=1)
    return sheet.figure


def _worst(samples: list[tuple[int, int, int, int]]) -> int:
    return max(abs(offset) for _, offset, _, _ in samples)


def _range(sheet: Sheet, panel: Axes, samples: dict[str, list[tuple[int, int, int, int]]], wide: int) -> None:
    bins: dict[int, list[int]] = {}
    for found in samples.values():
        for time, offset, _, _ in found:
            bins.setdefault((time - sheet.run.start) // wide, []).append(offset)
    order = sorted(bins)
    at = [sheet.time.x(sheet.run.start + (number + 0.5) * wide) for number in order]
    panel.fill_between(
        at,
        [min(bins[number]) for number in order],
        [max(bins[number]) for number in order],
        color=SKY,
        alpha=0.35,
        linewidth=0,
    )
    panel.plot(at, [float(np.median(bins[number])) for number in order], color=GREY, linewidth=1.2, zorder=2)


def _offset_axis(panel: Axes) -> None:
    low, high = panel.get_ylim()
    most = max(abs(low), abs(high))
    unit, size = next((unit, size) for unit, size in UNITS if most >= size or size == 1)
    panel.set_ylim(low, high)
    ticks = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(low / size, high / size)
    panel.set_yticks([tick * size for tick in ticks])
    panel.set_ylim(low, high)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:,.6g}"))
    panel.set_ylabel(f"clock minus true time ({unit})", fontsize=TEXT)
    panel.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)
