"""What the pictures are drawn on: sheets of stacked panels, time axes, legends.

Positions are computed, in inches, instead of found by a layout engine: that is fast, and the same
trace gives the same bytes. Everything that there may be many of is one collection, not many artists.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sim.trace.latency import UNITS
from sim.view.colours import BLUE, GREY, INK, PALE
from sim.view.faults import LANE, draw_strip, place, shade
from sim.view.text import HEAD, SMALL, TEXT, Labeller, Measure, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from sim.view.run import Run

SHADES = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", "#9CC9E6", BLUE, "#002F4D"])
WIDTH = 12.0  # inches
DPI = 100
RIGHT = 0.35
STYLE: Any = {
    "text.parse_math": False,  # a "$" in a name is no formula
    "svg.hashsalt": "dsim",  # else the ids in an SVG are random
    "svg.fonttype": "none",  # text stays text
}


class TimeAxis:
    """Maps ns to the horizontal axis, in the unit that suits the window."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        length = end - start
        self.unit, self.ns = next((unit, ns) for unit, ns in UNITS if length >= 2 * ns or ns == 1)
        far = abs(start) / self.ns >= 100_000  # labels would be longer than they are different
        self.origin = start if far else 0
        after = f" after {start / 1e9:,.6f} s" if far else ""
        self.label = f"time ({self.unit}{after})"

    def x(self, ns: float) -> float:
        """Returns the position of a time."""
        return (ns - self.origin) / self.ns


class Sheet:
    """A figure with a heading, a strip of faults, and panels one below the other that share the time.

    Args:
        run: gives the heading and the faults.
        what: what is shown, for the heading.
        says: smaller lines below the heading.
        panels: heights in inches.
        labels: the texts that stand left of the panels (host names); the margin fits them.
        legend: room for that many rows of a legend at the foot.
        timed: the panels have a time axis (and then the faults are drawn).
        right: inches to the right of the panels.
    """

    def __init__(
        self,
        run: Run,
        what: str,
        says: Sequence[str],
        panels: Sequence[float],
        *,
        labels: Iterable[str] = (),
        legend: int = 1,
        timed: bool = True,
        right: float = RIGHT,
    ) -> None:
        self.run = run
        self.time = TimeAxis(run.start, run.end)
        self._measure = Measure()
        self.left = max([0.75, *(self._measure.width(label, TEXT) + 0.25 for label in labels)])
        self.width = WIDTH - self.left - right
        placed, lanes = place(run, self.width, self._measure) if timed else ([], 0)
        strip = lanes * LANE + 0.06 if placed else 0.0
        bare = sum(not bar.label for bar in placed)
        if bare:
            says = [
                *says,
                f"{bare} of the {len(placed)} faults are drawn without their names, for want of room.",
            ]
        lines = [line for text in says for line in self._wrap(text)]
        head = 0.42 + 0.19 * len(lines) + 0.12
        gap = 0.32
        foot = 0.62 + 0.24 * legend
        self.height = head + strip + sum(panels) + gap * (len(panels) - 1) + foot
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self._write(0.2, 0.28, self._fit(run.title(what)), HEAD, INK, weight="bold")
        for number, line in enumerate(lines):
            self._write(0.2, 0.52 + 0.19 * number, line, TEXT, GREY)
        top = head
        if placed:
            where = (self.left / WIDTH, 1 - (top + strip - 0.06) / self.height)
            size = (self.width / WIDTH, (strip - 0.06) / self.height)
            draw_strip(self.figure.add_axes((*where, *size)), placed, run, self.width, lanes)
            self._write(0.2, top + 0.1, "faults", SMALL, GREY)
            top += strip
        self.panels: list[Axes] = []
        for height in panels:
            self.panels.append(self._panel(top, height))
            top += height + gap
        if timed:
            for panel in self.panels:
                self._time_axis(panel)
                panel.tick_params(axis="x", labelbottom=panel is self.panels[-1])
            self.panels[-1].set_xlabel(self.time.label, fontsize=TEXT)

    def rows(self, hosts: Sequence[str], panel: Axes) -> dict[str, int]:
        """Gives each host a row of a panel, from the top, and labels it; returns their positions.

        When there are more rows than labels fit, every so many-th is labelled.
        """
        panel.set_ylim(len(hosts) - 0.4, -0.6)
        inches = panel.get_position().height * self.height
        step = max(1, math.ceil(0.15 * len(hosts) / inches)) if hosts else 1
        panel.set_yticks(range(0, len(hosts), step), [shorten(host) for host in hosts[::step]], fontsize=TEXT)
        panel.tick_params(axis="y", length=0)
        return {host: row for row, host in enumerate(hosts)}

    @staticmethod
    def bands(rows: dict[str, int]) -> dict[str, tuple[float, float]]:
        """Returns what `shade` needs to shade rows."""
        return {host: (row - 0.48, row + 0.48) for host, row in rows.items()}

    def shade(
        self, panel: Axes, bands: dict[str, tuple[float, float]] | None = None, *, above: bool = False
    ) -> None:
        """Shades the time in which each fault held.

        Args:
            panel: where; its vertical limits must be set.
            bands: from where to where to shade for each host that a fault acts on, where that is high
                enough to be seen; None shades from top to bottom.
            above: over what is drawn there, not below.
        """
        if bands and panel.get_position().height * self.height / len(bands) < 0.1:
            bands = None
        shade(panel, self.run, self.time.x, bands, above=above)

    def heat(self, panel: Axes, values: Any, share: int, unit: str) -> None:
        """Fills a panel of rows with a picture of numbers, and puts their scale to the right of it.

        Args:
            panel: has the rows of all hosts.
            values: an array, one line for `share` hosts, over the whole window.
            share: hosts that a line stands for.
            unit: what the numbers are.
        """
        limits = panel.get_ylim()
        image = panel.imshow(
            values,
            extent=(
                self.time.x(self.run.start),
                self.time.x(self.run.end),
                share * len(values) - 0.5,
                -0.5,
            ),
            aspect="auto",
            cmap=SHADES,
            interpolation="nearest",
            vmin=0,
            zorder=1,
        )
        panel.set_ylim(limits)
        box = panel.get_position()
        bar = self.figure.add_axes((box.x1 + 0.02, box.y0, 0.012, box.height))
        self.figure.colorbar(image, cax=bar)
        bar.tick_params(labelsize=SMALL)
        bar.set_ylabel(unit, fontsize=TEXT)

    def legend(self, handles: Sequence[Any], names: Sequence[str], rows: int = 1) -> None:
        """Puts a legend at the foot of the sheet."""
        if not handles:
            return
        columns = math.ceil(len(handles) / rows)
        limit = 40
        while limit > 12 and self._legend_width(names, columns, limit) > WIDTH - 0.4:
            limit -= 2
        self.figure.legend(
            handles,
            [shorten(name, limit) for name in names],
            loc="lower left",
            bbox_to_anchor=(0.2 / WIDTH, 0.06 / self.height),
            borderaxespad=0,
            ncols=columns,
            fontsize=TEXT,
            frameon=False,
            handlelength=1.6,
            columnspacing=1.5,
        )

    def _legend_width(self, names: Sequence[str], columns: int, limit: int) -> float:
        rows = math.ceil(len(names) / columns)
        texts = [self._measure.width(shorten(name, limit), TEXT) for name in names]
        return sum(max(texts[at : at + rows]) + 0.5 for at in range(0, len(texts), rows))

    def text_width(self, text: str, size: float) -> float:
        """Returns the width of a text of `size` points, in inches."""
        return self._measure.width(text, size)

    def labeller(self, panel: Axes) -> Labeller:
        """Returns what puts text into a panel so that no two texts overlap."""
        return Labeller((WIDTH, self.height), panel, self._measure)

    def _panel(self, top: float, height: float) -> Axes:
        panel = self.figure.add_axes(
            (
                self.left / WIDTH,
                1 - (top + height) / self.height,
                self.width / WIDTH,
                height / self.height,
            )
        )
        panel.tick_params(labelsize=TEXT, colors=INK)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            panel.spines[side].set_color(PALE)
        return panel

    def _time_axis(self, panel: Axes) -> None:
        panel.set_xlim(self.time.x(self.run.start), self.time.x(self.run.end))
        panel.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))

    def _write(self, left: float, top: float, text: str, size: float, colour: str, **more: Any) -> None:
        self.figure.text(
            left / WIDTH,
            1 - top / self.height,
            text,
            fontsize=size,
            color=colour,
            va="center_baseline",
            **more,
        )

    def _fit(self, title: str) -> str:
        while len(title) > 20 and self._measure.width(title, HEAD, bold=True) > WIDTH - 0.4:
            title = title[:-6].rstrip("…") + "…"
        return title

    def _wrap(self, text: str) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self._measure.width(longer, TEXT) > WIDTH - 0.4:
                lines.append(word)
            else:
                lines[-1] = longer
        return [line for line in lines if line]


def blank(run: Run, what: str, why: str) -> Figure:
    """Returns a sheet that says why there is nothing to see."""
    sheet = Sheet(run, what, [], [1.2], legend=0, timed=False)
    sheet.panels[0].axis("off")
    sheet.panels[0].text(0.5, 0.5, why, ha="center", va="center", fontsize=HEAD, color=GREY)
    return sheet.figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as the suffix of `path` says, with nothing in it that differs between runs.

    Raises:
        OSError: the file cannot be written.
    """
    kind = path.suffix[1:]
    options: dict[str, Any] = {"metadata": {"Date": None}}
    if kind == "png":
        options = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 4}}
    figure.savefig(path, format=kind, **options)
