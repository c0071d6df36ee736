"""TrueTime: how uncertain each host is of the time (ε), poll by poll, and where true time lay in it.

Above, ε over time: the sawtooth. It falls at a poll of the time masters, and grows in between. Below, the
distance of true time from the middle of the interval, as a share of ε: within -1 and 1 the host was right.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from msgspec import Struct, field

from protos.trace import ClockSample, HostEvent, Note
from sim.trace.latency import UNITS
from sim.view.colours import GREY, INK, PALE, RED, SERIES
from sim.view.paper import Sheet
from sim.view.text import TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.view.run import Run

LINES = len(SERIES)  # hosts drawn in a colour of their own
STEPS = 12  # points of a curve between two samples
ENDS = ("crash", "exit", "stop")  # of a process, and so of what it knew
TOP = 1.5  # the share of ε up to which the lower panel reaches


class Known(Struct):
    """What a host knew: unbroken stretches of (time, ε, middle), its polls, and when it was wrong.

    Attributes:
        stretches: between them it did not know the time.
        polls, failed: (time, ε after); those of `failed` gave no time, and ε is -1 where it knew none.
        wrong: (time, True where `earliest` was too late).
        growth: of ε, in ns a second.
        extended: the last sample is none: ε would be that at the end, and nobody says where true time lay.
    """

    stretches: list[list[tuple[int, int, int]]] = field(default_factory=list)
    polls: list[tuple[int, int]] = field(default_factory=list)
    failed: list[tuple[int, int]] = field(default_factory=list)
    wrong: list[tuple[int, bool]] = field(default_factory=list)
    growth: float = 0.0
    open: bool = False
    extended: bool = False

    def sample(self, time: int, bound: int, middle: int) -> None:
        """Takes what the host said."""
        if not self.open:
            self.stretches.append([])
            self.open = True
        self.stretches[-1].append((time, bound, middle))

    def extend(self, end: int) -> None:
        """Goes on with the last stretch to the end of the run, as ε grows."""
        if self.open and self.stretches[-1][-1][0] < end:
            time, bound, middle = self.stretches[-1][-1]
            self.sample(end, bound + round((end - time) * self.growth / 1e9), middle)
            self.extended = True


def epsilon(run: Run) -> Figure:
    """Draws ε of each host over time, with its polls, and where true time lay in the interval."""
    hosts = _read(run)
    few = len(hosts) <= LINES
    polls = sum(len(one.polls) for one in hosts.values())
    wrong = sum(len(one.wrong) for one in hosts.values())
    says = [
        f"{polls:,} polls of time masters on {len(hosts):,} hosts; "
        + (f"hosts that began to be wrong about the time: {wrong:,}." if wrong else "nobody was ever wrong.")
    ]
    if not few:
        says.append(f"{len(hosts):,} hosts, too many for a colour each.")
    sheet = Sheet(run, "uncertainty of TrueTime", says, [3.2, 1.9], labels=["100,000 ms     "])
    upper, lower = sheet.panels
    most = 0
    saws: list[Any] = []
    places: list[Any] = []
    colours: list[str] = []
    for known, colour in zip(hosts.values(), SERIES if few else [GREY] * len(hosts), strict=False):
        lines, shares = _curves(known)
        most = max([most, *(int(line[:, 1].max()) for line in lines)])
        saws += _placed(sheet, lines)
        places += _placed(sheet, shares)
        colours += [colour] * len(lines)
        if few:
            upper.plot(*_dots(sheet, known.polls), "o", color=colour, markersize=3, zorder=4)
    for panel, curves in ((upper, saws), (lower, places)):
        width, alpha = (1.3, 1.0) if few else (0.6, 0.4)
        panel.add_collection(
            LineCollection(curves, colors=colours, linewidths=width, alpha=alpha, zorder=3), autolim=False
        )
    failed = [poll for known in hosts.values() for poll in known.failed]
    upper.plot(*_dots(sheet, failed), "x", color=INK, markersize=4, markeredgewidth=0.8, zorder=4)
    outside = [(time, -1.25 if late else 1.25) for known in hosts.values() for time, late in known.wrong]
    lower.plot(*_dots(sheet, outside), "X", color=RED, markersize=6, zorder=5)
    _axes(upper, lower, most)
    for panel in sheet.panels:
        sheet.shade(panel)
    handles = [Line2D([], [], color=colour) for colour in (SERIES[: len(hosts)] if few else [GREY])]
    names = list(hosts) if few else ["a host"]
    marks: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (few and polls, {"color": GREY, "marker": "o", "markersize": 3}, "poll"),
        (failed, {"color": INK, "marker": "x", "markersize": 4}, "no majority heard"),
        (wrong, {"color": RED, "marker": "X", "markersize": 6}, "wrong"),
    )
    for there, style, name in marks:
        if there:
            handles.append(Line2D([], [], linestyle="", **style))
            names.append(name)
    sheet.legend(handles, names)
    return sheet.figure


def _read(run: Run) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for event in run.events:
        if event.time > run.end:
            continue
        match event:
            case ClockSample() if event.bound >= 0:
                found.setdefault(event.host, Known()).sample(event.time, event.bound, event.middle)
            case Note(name="truetime-poll", fields=fields):
                known = found.setdefault(event.host, Known())
                known.growth = fields["growth_ppb"]
                (known.polls if fields["agreed"] else known.failed).append((event.time, fields["epsilon_ns"]))
            case Note(name="truetime-violated", fields=fields):
                known = found.setdefault(event.host, Known())
                known.wrong.append((event.time, fields["side"] == "earliest"))
            case Note(name="truetime-evicted"):
                found.setdefault(event.host, Known()).open = False
            case HostEvent() if event.name in ENDS and event.host in found:
                found[event.host].open = False
    for known in found.values():
        known.extend(run.end)
        known.polls = [poll for poll in known.polls if poll[1] >= 0]
        known.failed = [poll for poll in known.failed if poll[1] >= 0]
    return {host: found[host] for host in run.hosts if host in found}


def _curves(known: Known) -> tuple[list[Any], list[Any]]:
    """Returns ε over time, and the place of true time in the interval over time, stretch by stretch."""
    lines, shares = [], []
    for number, stretch in enumerate(known.stretches, 1):
        points = np.array(stretch, dtype=float)
        lines.append(points[:, :2])
        if known.extended and number == len(known.stretches):
            points = points[:-1]
        fine = np.concatenate([np.linspace(a, b, STEPS) for a, b in pairwise(points)] or [points])
        share = -fine[:, 2] / np.maximum(fine[:, 1], 1)
        shares.append(np.column_stack((fine[:, 0], np.clip(share, -TOP, TOP))))
    return lines, shares


def _placed(sheet: Sheet, lines: list[Any]) -> list[Any]:
    """Returns curves with their times in the unit of the sheet."""
    return [np.column_stack((sheet.time.x(line[:, 0]), line[:, 1])) for line in lines]


def _dots(sheet: Sheet, dots: Sequence[tuple[int, float]]) -> tuple[list[float], list[float]]:
    return [sheet.time.x(time) for time, _ in dots], [height for _, height in dots]


def _axes(upper: Axes, lower: Axes, most: int) -> None:
    most = max(most, 1)
    unit, size = next((unit, size) for unit, size in UNITS if most >= size or size == 1)
    ticks = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(0, most / size)
    upper.set_yticks([tick * size for tick in ticks])
    upper.set_ylim(0, most * 1.06)
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:,.6g}"))
    upper.set_ylabel(f"ε ({unit})", fontsize=TEXT)
    lower.set_ylim(-TOP, TOP)
    lower.set_yticks([-1, 0, 1], ["earliest", "middle", "latest"])
    lower.set_ylabel("true time", fontsize=TEXT)
    for edge in (-1, 1):
        lower.axhline(edge, color=INK, linewidth=0.8, zorder=2)
    for low, high in ((-TOP, -1), (1, TOP)):
        lower.axhspan(low, high, color=PALE, alpha=0.5, linewidth=0, zorder=0)
    upper.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    upper.set_axisbelow(True)
