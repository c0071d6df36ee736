"""Anomalies of transactions: each a cycle of boxes, with the operations that make its edges.

A panel an anomaly: the transactions in a ring of two columns, down on the left and up on the right,
joined by the edges of the cycle. An edge has a number; so have the operations that make it, and the
sentence below that says why it is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import networkx as nx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from sim.check.transactions.levels import meaning
from sim.check.transactions.told import operation
from sim.view.colours import BLUE, GREEN, GREY, INK, ORANGE, PALE, PINK, RED, VIOLET
from sim.view.paper import DPI, STYLE, save
from sim.view.run import ViewError
from sim.view.text import HEAD, SMALL, TEXT, Measure, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from sim.check.transactions.findings import Anomaly, Hop
    from sim.check.transactions.history import Transaction

COLOURS = {
    "ww": BLUE,
    "wr": GREEN,
    "rw": RED,
    "process": VIOLET,
    "realtime": ORANGE,
    "timestamp": PINK,
}
KINDS = {
    "ww": "ww: wrote the next version",
    "wr": "wr: read the version",
    "rw": "rw: read the version before",
    "process": "process: same process, before",
    "realtime": "realtime: ended before it began",
    "timestamp": "timestamp: has the smaller one",
}
MOST = 4  # anomalies drawn
RING = 16  # transactions of a cycle that are drawn
WIDTH, MARGIN = 11.0, 0.3  # inches
COLUMN, GUTTER = 4.1, 2.1
LINE, PAD = 0.19, 0.09
OPERATIONS = 8  # of a transaction
GAP = 0.55  # between two boxes of a column
FRAME = 0.9  # points: the line around a box
NEAR = 0.25  # between two that nothing joins
APART = 0.16  # of edges that meet a box on the same side


class Box(NamedTuple):
    """A transaction in the picture: its lines, each with the numbers of the edges that it makes."""

    name: str
    lines: list[tuple[str, list[int]]]
    height: float


def draw(anomalies: Sequence[Anomaly], title: str, path: Path) -> None:
    """Draws anomalies, the first few.

    Args:
        title: the heading.
        path: a .png or a .svg.

    Raises:
        ViewError: the file cannot be written.
    """
    with mpl.rc_context(STYLE):
        try:
            save(figure(anomalies, title), path)
        except OSError as error:
            raise ViewError(f"{path}: {error.strerror or error}") from None


def figure(anomalies: Sequence[Anomaly], title: str) -> Figure:
    """Returns the picture."""
    measure = Measure()
    panels = [_Panel(anomaly, measure) for anomaly in anomalies[:MOST]]
    left_out = [anomaly.name for anomaly in anomalies[MOST:]]
    foot = 0.55 if left_out else 0.3
    height = 0.6 + sum(panel.height for panel in panels) + foot
    made = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(made)
    axes = made.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(height, 0)
    axes.axis("off")
    _write(axes, MARGIN, 0.32, title, HEAD, INK, "bold")
    top = 0.6
    for panel in panels:
        panel.draw(axes, top)
        top += panel.height
    kinds = dict.fromkeys(hop.kind for panel in panels for hop in panel.hops)
    key = "      ".join(KINDS[kind] for kind in kinds)
    _write(axes, MARGIN, height - 0.16, key, SMALL, GREY)
    if left_out:
        _write(axes, MARGIN, height - 0.4, f"Not drawn: {', '.join(left_out)}.", TEXT, GREY)
    return made


class _Panel:
    """One anomaly."""

    def __init__(self, anomaly: Anomaly, measure: Measure) -> None:
        self._measure = measure
        self._anomaly = anomaly
        self.hops: list[Hop] = anomaly.cycle
        ring = nx.DiGraph((hop.source.name, hop.target.name) for hop in self.hops)
        members = {one.name: one for one in anomaly.transactions}
        if self.hops:
            names = [source for source, _ in nx.find_cycle(ring, self.hops[0].source.name)]
        else:
            names = list(members)
        self._cut = len(names) - RING
        names = names[:RING]
        self._boxes = [self._box(members[name]) for name in names]
        self._places = _ring(len(names)) if self.hops else _rows(len(names))
        self._pitch = max(box.height for box in self._boxes) + (GAP if self.hops else NEAR)
        rows = max(row for _, row in self._places) + 1
        self._ring_height = rows * self._pitch - (GAP if self.hops else NEAR)
        sentences = [hop.why.words for hop in self.hops] + anomaly.words[len(self.hops) :]
        self._sentences = [
            (number if number <= len(self.hops) else 0, line)
            for number, sentence in enumerate(sentences, 1)
            for line in _wrap(sentence, WIDTH - 2 * MARGIN - 0.5, measure)
        ]
        self.height = 0.55 + self._ring_height + 0.2 + LINE * len(self._sentences) + 0.35

    def _box(self, one: Transaction) -> Box:
        marks: dict[int, list[int]] = {}
        for number, hop in enumerate(self.hops, 1):
            for transaction, place in ((hop.source, hop.why.source), (hop.target, hop.why.target)):
                if transaction is one and place >= 0:
                    marks.setdefault(place, []).append(number)
        count = len(one.operations)
        shown = [place for place in range(count) if place in marks]
        shown += [place for place in range(count) if place not in marks][: max(0, OPERATIONS - len(shown))]
        lines = [
            (self._fit_label(operation(*one.operations[place]), COLUMN - 0.75), marks.get(place, []))
            for place in sorted(shown)
        ]
        if len(shown) < count:
            lines.append((f"... and {count - len(shown)} more", []))
        until = f"{one.called:,} to {one.returned:,}" if one.returned else f"{one.called:,}, no end"
        if one.timestamp is not None:
            stamps = [number for number, hop in enumerate(self.hops, 1) if hop.kind == "timestamp"]
            lines.insert(0, (self._fit(f"timestamp {one.timestamp}", COLUMN - 0.75), stamps))
        aborted = ", aborted" if one.ended == "fail" else ""
        name = self._fit(f"{one.name}, process {one.process}, lines {until}{aborted}", COLUMN - 0.45)
        return Box(name, lines, LINE * (len(lines) + 1) + 2 * PAD)

    def _fit(self, text: str, width: float) -> str:
        while self._measure.width(text, TEXT, bold=True) > width and len(text) > 8:
            text = f"{text[:-4].rstrip('…')}…"
        return text

    def _fit_label(self, text: str, width: float) -> str:
        limit = len(text)
        while limit > 6 and self._measure.width(shorten(text, limit), TEXT, bold=True) > width:
            limit -= 1
        return shorten(text, limit)

    def draw(self, axes: Axes, top: float) -> None:
        """Draws it from a height downwards."""
        anomaly = self._anomaly
        count = f"{'at least ' * (not anomaly.all)}{anomaly.count:,}"
        axes.plot([MARGIN, WIDTH - MARGIN], [top, top], color=PALE, linewidth=0.8)
        _write(axes, MARGIN, top + 0.24, anomaly.name, HEAD, INK, "bold")
        after = MARGIN + self._measure.width(anomaly.name, HEAD, bold=True) + 0.15
        more = f"; {self._cut} more transactions in the cycle" if self._cut > 0 else ""
        said = f"{meaning(anomaly.name)}; found {count}; breaks {anomaly.breaks}{more}"
        _write(axes, after, top + 0.24, said, TEXT, GREY)
        start = top + 0.55
        gap = GAP if self.hops else NEAR
        centres = [start + row * self._pitch + (self._pitch - gap) / 2 for _, row in self._places]
        for (column, _), box, centre in zip(self._places, self._boxes, centres, strict=True):
            self._draw_box(axes, box, _left(column), centre)
        drawn = self.hops if self._cut <= 0 else self.hops[: RING - 1]  # then the way back is not drawn
        for number, hop in enumerate(drawn):
            self._draw_hop(axes, number, hop, centres)
        line = start + self._ring_height + 0.25
        for number, sentence in self._sentences:
            if number:
                colour = COLOURS[self.hops[number - 1].kind]
                _write(axes, MARGIN, line, str(number), TEXT, colour, "bold")
            _write(axes, MARGIN + 0.3, line, sentence, TEXT, INK)
            line += LINE

    def _draw_box(self, axes: Axes, box: Box, left: float, centre: float) -> None:
        top = centre - box.height / 2
        axes.add_patch(
            Rectangle((left, top), COLUMN, box.height, facecolor="#F7F7F7", edgecolor=GREY, linewidth=FRAME)
        )
        _write(axes, left + 0.1, top + PAD + LINE / 2, box.name, TEXT, INK, "bold")
        for place, (text, marks) in enumerate(box.lines, 1):
            y = top + PAD + LINE * (place + 0.5)
            _write(axes, left + 0.1, y, text, TEXT, INK if marks else GREY, "bold" if marks else "normal")
            for position, number in enumerate(reversed(marks)):
                x = left + COLUMN - 0.16 - 0.22 * position
                _badge(axes, x, y, number, COLOURS[self.hops[number - 1].kind])

    def _draw_hop(self, axes: Axes, number: int, hop: Hop, centres: list[float]) -> None:
        one, other = number, (number + 1) % len(self._boxes)
        (column, _), (target_column, _) = self._places[one], self._places[other]
        colour = COLOURS[hop.kind]
        label = hop.kind if hop.key is None else f"{hop.kind} {hop.key}"
        if column == target_column:
            down = centres[other] > centres[one]
            sign = 1 if down else -1
            x = _left(column) + COLUMN / 2
            label = self._fit_label(label, COLUMN / 2 - 0.5)
            begin = (x, centres[one] + sign * self._boxes[one].height / 2)
            end = (x, centres[other] - sign * self._boxes[other].height / 2)
            middle = (x + 0.2, (begin[1] + end[1]) / 2)
        else:
            right = target_column > column
            apart = centres[other] - centres[one]  # two edges never meet a box in one point
            lean = APART * ((apart > 0) - (apart < 0))
            both = (APART if number else -APART) if len(self._boxes) == 2 else 0.0
            begin = (_left(column) + (COLUMN if right else 0), centres[one] + lean + both)
            end = (_left(target_column) + (0 if right else COLUMN), centres[other] - lean + both)
            label = self._fit_label(label, GUTTER - 0.75)
            wide = self._measure.width(label, TEXT, bold=True) + 0.26
            middle = ((begin[0] + end[0] - wide) / 2 + 0.09, (begin[1] + end[1]) / 2)
        axes.add_patch(
            FancyArrowPatch(
                begin,
                end,
                arrowstyle="-|>",
                mutation_scale=13,
                color=colour,
                linewidth=1.6,
                shrinkA=0,
                shrinkB=0,
            )
        )
        wide = self._measure.width(label, TEXT, bold=True) + 0.2
        axes.add_patch(
            Rectangle((middle[0] - 0.12, middle[1] - 0.1), wide + 0.16, 0.2, facecolor="white", linewidth=0)
        )
        _badge(axes, middle[0], middle[1], number + 1, colour)
        _write(axes, middle[0] + 0.15, middle[1], label, TEXT, colour, "bold")


def _ring(count: int) -> list[tuple[int, float]]:
    """Returns column and row of each: down on the left, up on the right."""
    left = (count + 1) // 2
    right = count - left
    shift = (left - right) / 2
    return [(0, float(row)) for row in range(left)] + [(1, row + shift) for row in reversed(range(right))]


def _rows(count: int) -> list[tuple[int, float]]:
    """Returns column and row of boxes that nothing joins."""
    return [(place % 2, float(place // 2)) for place in range(count)]


def _left(column: int) -> float:
    return MARGIN + 0.05 + column * (COLUMN + GUTTER)


def _badge(axes: Axes, x: float, y: float, number: int, colour: str) -> None:
    axes.text(
        x,
        y,
        str(number),
        fontsize=SMALL,
        color="white",
        weight="bold",
        ha="center",
        va="center_baseline",
        bbox={"boxstyle": "circle,pad=0.16", "facecolor": colour, "linewidth": 0},
    )


def _write(
    axes: Axes, x: float, y: float, text: str, size: float, colour: str, weight: str = "normal"
) -> None:
    axes.text(x, y, text, fontsize=size, color=colour, weight=weight, va="center_baseline", ha="left")


def _wrap(text: str, width: float, measure: Measure) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and measure.width(longer, TEXT) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
