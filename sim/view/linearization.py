"""A history and its longest order: operations as bars by process, numbered where each takes effect.

The horizontal axis has a step for each line of the history, so that short operations can be seen beside long
ones; the times stand below. Only the end is drawn: what went wrong is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sim.view.colours import BLUE, GREY, INK, PALE, RED, SKY
from sim.view.paper import DPI, STYLE, save
from sim.view.run import ViewError
from sim.view.text import HEAD, SMALL, TEXT, Measure, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from sim.check.linearizable import Verdict
    from sim.check.models import Model
    from sim.check.operations import Call

MOST = 22  # operations drawn that are over
MOST_OPEN = 14  # and others
STEP = 0.30  # inches a line of the history
ROW = 0.52  # inches a process
LEAST, WIDEST = 11.0, 18.0  # inches of the whole picture
BAR = 0.30  # of a row


class Drawn(NamedTuple):
    """What the picture shows.

    Attributes:
        calls: in the order of their invocations.
        order: those of them that have a place, in that order.
        left_out: operations before them.
        numbers: what number each of `order` has in the whole order.
        culprit: the one without a place, if there is one.
    """

    calls: list[Call]
    order: list[Call]
    left_out: int
    numbers: list[int]
    culprit: Call | None


def draw(verdict: Verdict, model: Model, path: Path) -> None:
    """Draws the end of a history that was checked.

    Raises:
        ViewError: the file cannot be written.
    """
    with mpl.rc_context(STYLE):
        try:
            save(figure(verdict, model), path)
        except OSError as error:
            raise ViewError(f"{path}: {error.strerror or error}") from None


def figure(verdict: Verdict, model: Model) -> Figure:
    """Returns the picture: of the violation, or of an order of all."""
    drawn = _chosen(verdict)
    places = {line: place for place, line in enumerate(_lines(drawn.calls))}
    rows = {process: row for row, process in enumerate(dict.fromkeys(call.process for call in drawn.calls))}
    measure = Measure()
    left = max(measure.width(shorten(str(process), 20), TEXT) for process in rows) + 0.35
    width = min(WIDEST, max(LEAST, left + STEP * (len(places) + 3)))
    says = _says(verdict, model, drawn)
    head, foot = 0.52 + 0.2 * len(says), 0.85
    height = head + ROW * len(rows) + foot
    made = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(made)
    _write(made, 0.2, 0.28, _title(verdict, model), HEAD, INK, weight="bold")
    for number, line in enumerate(says):
        _write(made, 0.2, 0.54 + 0.2 * number, line, TEXT, GREY)
    panel = made.add_axes(
        (left / width, foot / height, (width - left - 0.25) / width, ROW * len(rows) / height)
    )
    end = len(places) + 1.5  # what has no end is drawn to here
    panel.set_xlim(-0.5, end)
    panel.set_ylim(len(rows) - 0.35, -0.65)
    inches = (width - left - 0.25) / (end + 0.5)
    _bars(panel, drawn, model, places, rows, end, inches, measure)
    _points(panel, drawn, places, rows)
    _axes(panel, drawn, places, rows)
    _write(made, 0.2, height - 0.16, _KEY, SMALL, GREY)
    return made


_KEY = (
    "bar: from invocation to end      number: its place in the order, joined by the line      "
    "grey, open: nobody knows whether it happened      red: has no place      "
    "pale: has no place yet, and needs none"
)


def _chosen(verdict: Verdict) -> Drawn:
    found = verdict.violation
    if found is not None:
        calls, order, culprit = found.calls, found.order, found.culprit
        until = found.prefix
    else:
        calls = sorted(verdict.order, key=lambda call: call.called)
        order, culprit = verdict.order, None
        until = max((call.returned for call in calls), default=0)
    over = sorted((call for call in calls if 0 < call.returned <= until), key=lambda call: call.returned)
    shown = {call.called for call in over[-MOST:]}  # an operation is known by the line that invokes it
    since = min(shown, default=0)
    tail = {call.called for call in order[-MOST:]}
    still_open = [call for call in calls if call.called not in {one.called for one in over}]
    still_open.sort(key=lambda call: (call.called not in tail, call.called < since, -call.called))
    shown |= {call.called for call in still_open[:MOST_OPEN] if call.called in tail or call.called >= since}
    kept = [call for call in calls if call.called in shown]
    placed = [(number, call) for number, call in enumerate(order, 1) if call.called in shown]
    in_order, numbers = [call for _, call in placed], [number for number, _ in placed]
    return Drawn(kept, in_order, len(calls) - len(kept), numbers, culprit)


def _lines(calls: Sequence[Call]) -> list[int]:
    return sorted({line for call in calls for line in (call.called, call.returned) if line})


def _title(verdict: Verdict, model: Model) -> str:
    found = verdict.violation
    if found is None:
        return f"Linearizable ({verdict.model}): an order of {len(verdict.order):,} operations"
    culprit = f"{model.tell(found.culprit)} by {found.culprit.process}"
    return f"Not linearizable ({verdict.model}): {culprit} has no place"


def _says(verdict: Verdict, model: Model, drawn: Drawn) -> list[str]:
    from sim.check.told import possible

    says = []
    found = verdict.violation
    if found is not None:
        where = f" of {found.label}" if found.label else ""
        says.append(f"Up to line {found.prefix:,} of the history{where}: {possible(found, model)}.")
    if drawn.left_out:
        says.append(f"{drawn.left_out:,} other operations, most of them before these, are not drawn.")
    return says


def _write(made: Figure, left: float, top: float, text: str, size: float, colour: str, **more: str) -> None:
    width, height = made.get_size_inches()
    made.text(
        left / width,
        1 - top / height,
        text,
        fontsize=size,
        color=colour,
        va="center_baseline",
        **more,  # type: ignore[arg-type]
    )


def _span(call: Call, places: dict[int, int], end: float) -> tuple[float, float]:
    return places[call.called], places[call.returned] if call.returned else end


def _bars(
    panel: Axes,
    drawn: Drawn,
    model: Model,
    places: dict[int, int],
    rows: dict[int | str, int],
    end: float,
    inches: float,
    measure: Measure,
) -> None:
    placed = {call.called for call in drawn.order}
    next_of: dict[int, float] = {}  # by call: where the next one of its process begins
    latest: dict[int | str, Call] = {}
    for call in drawn.calls:
        if call.process in latest:
            next_of[id(latest[call.process])] = places[call.called]
        latest[call.process] = call
    for call in drawn.calls:
        start, stop = _span(call, places, end)
        row = rows[call.process]
        colour = RED if call is drawn.culprit else GREY if call.pending else SKY
        pale = call.called not in placed and call is not drawn.culprit
        panel.add_patch(
            Rectangle(
                (start, row - BAR / 2),
                stop - start,
                BAR,
                facecolor=colour,
                alpha=0.25 if pale else 0.9 if call is drawn.culprit else 0.55,
                edgecolor="none",
                zorder=2,
            )
        )
        edges = [[(start, row - BAR / 2), (start, row + BAR / 2)]]
        if call.returned:
            edges.append([(stop, row - BAR / 2), (stop, row + BAR / 2)])
        panel.add_collection(LineCollection(edges, colors=colour, linewidths=1.4, zorder=3))
        room = (min(next_of.get(id(call), end), end) - start) * inches
        text = model.tell(call)
        limit = len(text)
        while limit > 4 and measure.width(shorten(text, limit), SMALL) > room - 0.04:
            limit -= 1
        panel.text(
            start,
            row - BAR / 2 - 0.07,
            shorten(text, limit),
            fontsize=SMALL,
            color=RED if call is drawn.culprit else INK,
            weight="bold" if call is drawn.culprit else "normal",
            va="bottom",
            ha="left",
            zorder=5,
        )


def _points(panel: Axes, drawn: Drawn, places: dict[int, int], rows: dict[int | str, int]) -> None:
    """Draws where each operation takes effect: after all that must have begun, spread between two lines."""
    at = -1
    groups: dict[int, list[int]] = {}
    for number, call in enumerate(drawn.order):
        at = max(at, places[call.called])
        groups.setdefault(at, []).append(number)
    points = [(0.0, 0.0)] * len(drawn.order)
    for place, numbers in groups.items():
        for position, number in enumerate(numbers, 1):
            share = position / (len(numbers) + 1)
            points[number] = (place + share, rows[drawn.order[number].process])
    if len(points) > 1:
        panel.plot(*zip(*points, strict=True), color=BLUE, linewidth=0.8, alpha=0.55, zorder=4)
    for number, (x, y) in enumerate(points):
        panel.text(
            x,
            y,
            str(drawn.numbers[number]),
            fontsize=SMALL - 1,
            color="white",
            va="center",
            ha="center",
            zorder=6,
            bbox={"boxstyle": "round,pad=0.18", "facecolor": BLUE, "linewidth": 0},
        )


def _axes(panel: Axes, drawn: Drawn, places: dict[int, int], rows: dict[int | str, int]) -> None:
    times = {}
    for call in drawn.calls:
        times[call.called] = call.start
        if call.returned:
            times[call.returned] = call.end
    panel.set_yticks(range(len(rows)), [shorten(str(process), 20) for process in rows], fontsize=TEXT)
    panel.tick_params(axis="y", length=0)
    step = max(1, len(places) // 10)
    ticks = [(place, line) for line, place in places.items() if place % step == 0]
    panel.set_xticks(
        [place for place, _ in ticks],
        [_tick(line, times[line]) for _, line in ticks],
        fontsize=SMALL,
        color=GREY,
    )
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color(PALE)
    panel.set_axisbelow(True)
    panel.grid(axis="x", color=PALE, linewidth=0.4)


def _tick(line: int, ns: int) -> str:
    """Returns what stands at a line: the time as well, if the history has any."""
    return f"line {line}" if ns == line else f"{ns / 1e9:.6g} s\nline {line}"
