"""The groups of a Spanner universe: who led each of them, what was committed, and what clients saw of it.

Above, a row a group: a bar for each leader, as long as it used its lease. Where it died the rest of the lease
is pale: nobody else can lead before that is over, and nothing is committed (4.1.1). What the universe master
does has rows of its own. In the middle, how long each operation of a client took, from when it began to when
it ended; below, how old what a read of the past saw was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sim.trace.latency import in_words
from sim.view.colours import BLUE, GREEN, GREY, INK, ORANGE, RED, SERIES, SKY
from sim.view.led import Led, led
from sim.view.paper import Sheet
from sim.view.text import SMALL, TEXT, many

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.check.operations import Call
    from sim.view.run import Run

ROW = 0.3  # inches
HIGHEST = 5.0  # inches of all rows
MOVES, DRIVER = "moves", "universe master"
FEW = 3  # reads of the past that say nothing of their ages
TICKS = 4000  # of commits that are drawn one by one
WRITES, STRONG, PAST = "read-write transaction", "strong read", "read of the past"
COLOURS = {WRITES: BLUE, STRONG: GREEN, PAST: SKY}


def groups(run: Run) -> Figure:
    """Draws the leaders of each group, its commits, and what clients' operations took."""
    found = led(run)
    rows = [f"group {number}" for number in sorted(found.reigns)]
    lanes = _lanes(found.moves)
    rows += [MOVES] * (max(lanes, default=-1) + 1)
    rows += [DRIVER] * bool(found.marks)
    answered = [one for one in found.asked if one.end >= run.start and one.start <= run.end]
    past = [one for one in answered if one.ended == "ok" and _kind(one) == PAST and one.timestamp]
    heights = [min(HIGHEST, ROW * len(rows) + 0.1)]
    if len(past) < FEW:
        past = []
    heights += [1.9] * bool(answered) + [1.1] * bool(past)
    sheet = Sheet(
        run,
        "groups and their leaders",
        _says(run, found, answered),
        heights,
        labels=[*rows, "100,000 ms  "],
        legend=2,
    )
    top, *rest = sheet.panels
    sheet.rows(rows, top)
    kinds = _reigns(sheet, top, found)
    kinds |= _events(sheet, top, found)
    _moves(sheet, top, found, lanes, len(found.reigns))
    if answered:
        kinds |= _latencies(sheet, rest[0], answered)
    if past:
        _ages(sheet, rest[1], past, found.began)
    for panel in sheet.panels:
        sheet.shade(panel)
    _marks(sheet, top, found)
    sheet.legend(list(kinds.values()), list(kinds), rows=2)
    return sheet.figure


def _says(run: Run, found: Led, answered: list[Call]) -> list[str]:
    reigns = sum(map(len, found.reigns.values()))
    commits = sum(map(len, found.commits.values()))
    ended = {how: sum(one.ended == how for one in answered) for how in ("ok", "fail", "info")}
    said = f"{many(reigns, 'lease')} of {many(len(found.reigns), 'group')}, which committed {commits:,} times"
    if answered:
        said += f"; {many(len(answered), 'operation')} of clients: {ended['ok']:,} succeeded"
        said += f", {ended['fail']:,} failed" if ended["fail"] else ""
        said += f", of {ended['info']:,} nobody knows" if ended["info"] else ""
    return [said + "."]


def _kind(one: Call) -> str:
    """Returns what kind of operation a client asked for."""
    if one.f == "snapshot":
        return PAST
    parts = one.value if isinstance(one.value, list) else []
    return STRONG if parts and all(part[0] == "r" for part in parts) else WRITES


def _reigns(sheet: Sheet, panel: Axes, found: Led) -> dict[str, Any]:
    """Draws the leaders; returns what the legend says of them."""
    x, run = sheet.time.x, sheet.run
    leaders = dict.fromkeys(one.host for reigns in found.reigns.values() for one in reigns)
    hosts = [host for host in run.hosts if host in leaders]
    colours = {host: SERIES[place % len(SERIES)] for place, host in enumerate(hosts)}
    used: dict[str, list[Any]] = {}
    left: dict[str, list[Any]] = {}
    scale = sheet.width / (run.end - run.start)
    for row, number in enumerate(sorted(found.reigns)):
        for one in found.reigns[number]:
            stopped = one.end if one.stopped < 0 else min(one.stopped, one.end)
            start, stopped, end = (max(run.start, min(at, run.end)) for at in (one.start, stopped, one.end))
            for shapes, since, until in ((used, start, stopped), (left, stopped, end)):
                if since < until:
                    box = [
                        (x(since), row - 0.3),
                        (x(until), row - 0.3),
                        (x(until), row + 0.2),
                        (x(since), row + 0.2),
                    ]
                    shapes.setdefault(colours[one.host], []).append(box)
            if sheet.text_width(one.host, SMALL) + 0.08 < (stopped - start) * scale:
                panel.text(
                    x(start + 0.04 / scale),
                    row - 0.03,
                    one.host,
                    fontsize=SMALL,
                    color="white",
                    va="center",
                    zorder=5,
                )
    for shapes, alpha in ((used, 0.9), (left, 0.3)):
        for colour, boxes in shapes.items():
            panel.add_collection(
                PolyCollection(
                    boxes, facecolors=colour, edgecolors=colour, linewidths=0.4, alpha=alpha, zorder=2
                ),
                autolim=False,
            )
    kinds: dict[str, Any] = {}
    if len(hosts) <= len(SERIES):
        kinds = {f"led by {host}": Patch(color=colours[host], alpha=0.9) for host in hosts}
    if left:
        kinds["rest of a lease"] = Patch(color=GREY, alpha=0.3)
    return kinds


def _events(sheet: Sheet, panel: Axes, found: Led) -> dict[str, Any]:
    """Draws commits, wounds and stretches in doubt into the rows of the groups."""
    x, run = sheet.time.x, sheet.run
    kinds: dict[str, Any] = {}
    rows = {number: row for row, number in enumerate(sorted(found.reigns))}
    for name, times, low, high, colour in (
        ("commit", found.commits, 0.24, 0.46, INK),
        ("wounded", found.wounds, -0.48, -0.34, RED),
    ):
        ticks = [
            [(x(at), rows[number] + low), (x(at), rows[number] + high)]
            for number, moments in times.items()
            if number in rows
            for at in moments
            if run.start <= at <= run.end
        ]
        if ticks:
            width = 0.6 if len(ticks) <= TICKS else 0.25
            panel.add_collection(
                LineCollection(ticks, colors=colour, linewidths=width, alpha=0.7, zorder=3), autolim=False
            )
            kinds[name] = Line2D([], [], color=colour, marker="|", linestyle="", markersize=6)
    boxes = [
        [(x(start), row - 0.14), (x(end), row - 0.14), (x(end), row + 0.14), (x(start), row + 0.14)]
        for number, row in rows.items()
        for start, end in found.doubts.get(number, ())
        if start < run.end and end > run.start
    ]
    if boxes:
        panel.add_collection(
            PolyCollection(
                boxes, facecolors="white", edgecolors=ORANGE, linewidths=0.9, hatch="////", zorder=4
            ),
            autolim=False,
        )
        kinds["prepared, in doubt"] = Patch(facecolor="white", edgecolor=ORANGE, hatch="////")
    return kinds


def _lanes(moves: list[tuple[int, int, str]]) -> list[int]:
    """Returns the lane of each move: those that go on at once are one below the other."""
    ends: list[int] = []
    found = []
    for start, end, _ in moves:
        lane = next((number for number, before in enumerate(ends) if before <= start), len(ends))
        if lane == len(ends):
            ends.append(0)
        ends[lane] = end
        found.append(lane)
    return found


def _moves(sheet: Sheet, panel: Axes, found: Led, lanes: list[int], first: int) -> None:
    x, run = sheet.time.x, sheet.run
    boxes = []
    for (start, end, _), lane in zip(found.moves, lanes, strict=True):
        low, high = first + lane - 0.22, first + lane + 0.22
        left, right = x(max(start, run.start)), x(min(end, run.end))
        boxes.append([(left, low), (right, low), (right, high), (left, high)])
    panel.add_collection(
        PolyCollection(boxes, facecolors=GREY, edgecolors=INK, linewidths=0.6, alpha=0.8, zorder=3),
        autolim=False,
    )


def _marks(sheet: Sheet, panel: Axes, found: Led) -> None:
    """Names moves, and what else the universe master did, where there is room."""
    label, run = sheet.labeller(panel), sheet.run
    scale = sheet.width / (run.end - run.start)
    first = len(found.reigns)
    lanes = _lanes(found.moves)
    moves = [
        (max(start, run.start), min(end, run.end), text, first + lane)
        for (start, end, text), lane in zip(found.moves, lanes, strict=True)
        if start < run.end and end > run.start
    ]
    for start, _, _, row in moves:
        label.reserve(sheet.time.x(start), row, 0.04)
    for start, end, text, row in moves:
        if sheet.text_width(text, SMALL) + 0.1 < (end - start) * scale:
            label.put(sheet.time.x((start + end) / 2), row, text, align="center")
        else:
            label.put(sheet.time.x(end), row, text, dx=0.05)
    row = first + max(lanes, default=-1) + 1
    seen = [(sheet.time.x(at), text) for at, text in found.marks if run.start <= at <= run.end]
    if seen:
        panel.plot([at for at, _ in seen], [row] * len(seen), "|", color=INK, markersize=9, zorder=4)
    for at, _ in seen:
        label.reserve(at, row, 0.03)
    for at, text in seen:
        label.put(at, row, text, dx=0.05)


def _latencies(sheet: Sheet, panel: Axes, answered: list[Call]) -> dict[str, Any]:
    """Draws how long operations took, each as a line from its beginning to its end."""
    x, run = sheet.time.x, sheet.run
    lines: dict[str, list[Any]] = {}
    dots: dict[str, list[tuple[float, float]]] = {}
    ends: dict[str, list[tuple[float, float]]] = {}
    for one in answered:
        end = one.end if one.end >= 0 else run.end
        took = max(end - one.start, 1)
        kind = _kind(one)
        lines.setdefault(kind, []).append([(x(one.start), took), (x(end), took)])
        where = dots if one.ended == "ok" else ends
        where.setdefault(kind if one.ended == "ok" else one.ended, []).append((x(end), took))
    panel.set_yscale("log")
    kinds: dict[str, Any] = {}
    for kind, colour in COLOURS.items():
        if kind in lines:
            panel.add_collection(
                LineCollection(lines[kind], colors=colour, linewidths=0.8, alpha=0.6, zorder=3)
            )
            kinds[kind] = Line2D([], [], color=colour, marker="o", markersize=3, linewidth=0.8)
        if kind in dots:
            panel.plot(*zip(*dots[kind], strict=True), "o", color=colour, markersize=2, alpha=0.8, zorder=3)
    for how, colour, mark, name in (("fail", RED, "x", "failed"), ("info", ORANGE, "D", "nobody knows")):
        if how in ends:
            panel.plot(*zip(*ends[how], strict=True), mark, color=colour, markersize=4, zorder=4)
            kinds[name] = Line2D([], [], color=colour, marker=mark, markersize=4, linestyle="")
    panel.set_xlim(x(run.start), x(run.end))
    low, high = (
        min(line[0][1] for found in lines.values() for line in found),
        max(line[0][1] for found in lines.values() for line in found),
    )
    panel.set_ylim(low / 1.6, high * 1.6)
    _in_words(panel, high / low, "operation took")
    return kinds


def _ages(sheet: Sheet, panel: Axes, past: list[Call], began: int) -> None:
    """Draws how old what reads of the past saw was, when they ended."""
    ages = [(sheet.time.x(one.end), one.end + began - (one.timestamp or 0)) for one in past]
    panel.plot(*zip(*ages, strict=True), "o", color=SKY, markersize=2.5, zorder=3)
    most = max(age for _, age in ages)
    panel.set_ylim(0, max(most, 1) * 1.1)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e9:,.3g} s"))
    panel.set_ylabel("age of what\nwas read", fontsize=TEXT)
    panel.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)


def _in_words(panel: Axes, ratio: float, label: str) -> None:
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1.0,) if ratio > 200 else (1.0, 2.0, 5.0), numticks=8))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_words(value)))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_ylabel(label, fontsize=TEXT)
    panel.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)
