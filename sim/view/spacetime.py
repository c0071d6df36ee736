"""The space-time diagram: hosts are lines, time runs to the right, messages are arrows.

Leslie Lamport drew them so in "Time, Clocks, and the Ordering of Events in a Distributed System"
(CACM 21(7), 1978; there time runs upwards). When there are more messages than arrows can show,
arrows are bundled by pair of hosts and bin of time; when there are too many pairs for that, each
host's line becomes a strip that is darker the more messages the host sent and received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from protos.trace import Log, Lost, Message, Note
from sim.trace.calls import ANSWERS
from sim.trace.latency import in_words
from sim.view.colours import BLUE, GREEN, GREY, INK, RED, SKY
from sim.view.paper import Sheet
from sim.view.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.view.run import Run

ARROWS = 600  # messages drawn one by one
BUNDLES = 480  # bundles of messages drawn one by one
ROWS = 40  # hosts that arrows are drawn between
MARKS = 400  # notes drawn one by one
MARKED = 160  # hosts whose crashes and losses are marked
LABELLED = 60  # messages and notes that are labelled, where there is room
BINS = 240  # bins of time of a strip
STRIPS = 250  # strips; more hosts than that share


def spacetime(run: Run) -> Figure:
    """Draws who sent what to whom, and when."""
    total = run.messages + run.lost
    few_hosts = len(run.hosts) <= ROWS
    if total <= ARROWS and few_hosts:
        return _arrows(run)
    pairs: dict[tuple[str, str], int] = {}
    if few_hosts:
        for event in run.events:
            if isinstance(event, (Message, Lost)):
                pairs[event.source, event.host] = 0
    bins = min(60, BUNDLES // max(1, len(pairs)))
    if few_hosts and bins >= 12:
        return _bundles(run, bins, total)
    return _strips(run, total)


def _arrows(run: Run) -> Figure:
    sheet, panel, rows = _sheet(run, [])
    x = sheet.time.x
    arrows: dict[str, list[tuple[float, int, float, int]]] = {BLUE: [], SKY: [], GREEN: []}
    dots: list[tuple[float, int]] = []
    lost: list[list[tuple[float, float]]] = []
    labels: list[tuple[float, float, str]] = []
    notes: list[tuple[float, int, str]] = []
    for event in run.events:
        if isinstance(event, Message):
            if event.time < run.start or event.sent > run.end:
                continue
            left, right, source, target = x(event.sent), x(event.time), rows[event.source], rows[event.host]
            if source == target:
                dots.append((right, source))
                continue
            arrows[_colour(event)].append((left, source, right, target))
            part = 0.5 / abs(target - source)  # of the way: between the sender's line and the next
            labels.append((left + part * (right - left), source + part * (target - source), _says(event)))
        elif isinstance(event, Lost):
            if run.start <= event.sent <= run.end:
                source, target = rows[event.source], rows[event.host]
                reach = source + 0.4 * (target - source)
                lean = 0.012 * (x(run.end) - x(run.start))
                lost.append([(x(event.sent), source), (x(event.sent) + lean, reach)])
        elif isinstance(event, (Note, Log)) and run.start <= event.time <= run.end:
            notes.append(
                (x(event.time), rows[event.host], event.name if isinstance(event, Note) else event.level)
            )
    for colour, found in arrows.items():
        _draw_arrows(panel, found, colour, 0.014 if run.messages < ARROWS / 4 else 0.008)
    _draw_lost(panel, lost)
    if dots:
        panel.plot(*zip(*dots, strict=True), ".", color=BLUE, markersize=3, zorder=3)
    _draw_notes(panel, [(at, row) for at, row, _ in notes])
    labeller = sheet.labeller(panel)
    for at, row, name in notes[:LABELLED]:
        labeller.put(at, row, shorten(name, 26), dx=-0.03, dy=0.13)
    if len(labels) <= LABELLED:
        for at, level, name in labels:
            labeller.put(at, level, shorten(name, 22), colour=GREY, align="center")
    _legend(sheet, arrows, lost, notes, dots)
    return sheet.figure


def _bundles(run: Run, bins: int, total: int) -> Figure:
    wide = (run.end - run.start) / bins
    bundles: dict[tuple[str, str, int], list[float]] = {}
    lost: dict[tuple[str, str, int], int] = {}
    notes: list[tuple[float, int]] = []
    noted = 0
    sheet, panel, rows = _sheet(
        run,
        [
            f"{total:,} messages, too many for an arrow each: an arrow stands for all from one host to "
            f"another within {in_words(wide)}, thicker for more. A shorter window (--from, --to) shows each."
        ],
    )
    x = sheet.time.x
    for event in run.events:
        if isinstance(event, Message):
            if event.time < run.start or event.sent > run.end or event.source == event.host:
                continue
            key = (
                event.source,
                event.host,
                min(int((max(event.sent, run.start) - run.start) / wide), bins - 1),
            )
            sums = bundles.setdefault(key, [0, 0.0, 0.0])
            sums[0] += 1
            sums[1] += event.sent
            sums[2] += event.time
        elif isinstance(event, Lost):
            if run.start <= event.sent <= run.end:
                key = (event.source, event.host, min(int((event.sent - run.start) / wide), bins - 1))
                lost[key] = lost.get(key, 0) + 1
        elif isinstance(event, Note) and run.start <= event.time <= run.end:
            noted += 1
            if noted <= MARKS:
                notes.append((x(event.time), rows[event.host]))
    pairs = {pair: number for number, pair in enumerate(dict.fromkeys((a, b) for a, b, _ in bundles))}
    aside = {pair: (number / len(pairs) - 0.5) * 0.8 * wide for pair, number in pairs.items()}
    most = max((sums[0] for sums in bundles.values()), default=1)
    steps: dict[float, list[tuple[float, int, float, int]]] = {}
    for (source, target, _), (count, sent, arrived) in bundles.items():
        thick = 0.006 + 0.006 * round(4 * (count / most) ** 0.5)
        shift = aside[source, target]
        steps.setdefault(thick, []).append(
            (x(sent / count + shift), rows[source], x(arrived / count + shift), rows[target])
        )
    for thick, found in sorted(steps.items()):
        _draw_arrows(panel, found, BLUE, thick, alpha=0.35 + 15 * thick)
    lean = 0.012 * (x(run.end) - x(run.start))
    segments = []
    for source, target, number in lost:
        at = x(run.start + (number + 0.5) * wide)
        reach = rows[source] + 0.4 * (rows[target] - rows[source])
        segments.append([(at, float(rows[source])), (at + lean, reach)])
    _draw_lost(panel, segments)
    if noted <= MARKS:
        _draw_notes(panel, notes)
    handles = [
        Line2D([], [], color=BLUE, alpha=0.45, linewidth=0.8),
        Line2D([], [], color=BLUE, alpha=0.8, linewidth=2.2),
    ]
    names = ["1 message", f"{most:,.0f} messages"]
    if segments:
        handles.append(Line2D([], [], color=RED, marker="x", markersize=5))
        names.append(f"lost ({sum(lost.values()):,})")
    if notes and noted <= MARKS:
        handles.append(Line2D([], [], color=INK, marker="d", markersize=5, linestyle=""))
        names.append("note")
    sheet.legend([*handles, *_life_handles(run)[0]], [*names, *_life_handles(run)[1]])
    return sheet.figure


def _strips(run: Run, total: int) -> Figure:
    wide = (run.end - run.start) / BINS
    share = -(-len(run.hosts) // STRIPS)
    number = {host: row // share for row, host in enumerate(run.hosts)}
    counts = np.zeros((-(-len(run.hosts) // share), BINS))
    lost = np.zeros(counts.shape, dtype=bool)
    for event in run.events:
        if isinstance(event, Message):
            if run.start <= event.sent <= run.end:
                counts[number[event.source], min(int((event.sent - run.start) / wide), BINS - 1)] += 1
            if run.start <= event.time <= run.end:
                counts[number[event.host], min(int((event.time - run.start) / wide), BINS - 1)] += 1
        elif isinstance(event, Lost) and run.start <= event.sent <= run.end:
            lost[number[event.source], min(int((event.sent - run.start) / wide), BINS - 1)] = True
    who = "the host" if share == 1 else f"the {share} hosts of the row"
    sheet, panel, rows = _sheet(
        run,
        [
            f"{total:,} messages between {len(run.hosts):,} hosts, too many for arrows: darker means more "
            f"messages sent and received by {who} within {in_words(wide)}."
        ],
        right=1.35,
        lines=False,
    )
    x = sheet.time.x
    sheet.heat(panel, counts, share, f"messages per {in_words(wide)}")
    sheet.shade(panel, sheet.bands(rows), above=True)
    where = np.argwhere(lost)
    handles, names = _life_handles(run)
    if len(rows) > MARKED:
        return sheet.figure
    if len(where):
        at = [x(run.start + (column + 0.5) * wide) for _, column in where]
        panel.plot(at, where[:, 0], "x", color=RED, markersize=3, markeredgewidth=0.8, zorder=3)
        handles.append(Line2D([], [], color=RED, marker="x", markersize=4, linestyle=""))
        names.append("lost")
    sheet.legend(handles, names)
    return sheet.figure


def _sheet(
    run: Run, says: list[str], *, right: float = 0.35, lines: bool = True
) -> tuple[Sheet, Axes, dict[str, int]]:
    count = len(run.hosts)
    per_row = 0.75 if count <= 4 else 0.5 if count <= 12 else 0.3
    height = min(9.0, max(1.6, per_row * count))
    sheet = Sheet(
        run,
        "messages between hosts",
        says,
        [height],
        labels=[shorten(host) for host in run.hosts],
        right=right,
    )
    panel = sheet.panels[0]
    rows = sheet.rows(run.hosts, panel)
    panel.spines["left"].set_visible(False)
    if lines:
        sheet.shade(panel, sheet.bands(rows))
    _draw_lives(run, sheet, panel, rows, lines=lines)
    return sheet, panel, rows


def _draw_lives(run: Run, sheet: Sheet, panel: Axes, rows: dict[str, int], *, lines: bool) -> None:
    x = sheet.time.x
    up, down, paused = [], [], []
    half = 0.12 if lines else 0.5
    for host, row in rows.items():
        for stretch in run.lives[host]:
            left, right = x(stretch.start), x(stretch.end)
            if stretch.state == "down":
                down.append([(left, float(row)), (right, float(row))])
                continue
            up.append([(left, float(row)), (right, float(row))])
            if stretch.state == "paused":
                paused.append(
                    [(left, row - half), (right, row - half), (right, row + half), (left, row + half)]
                )
    if lines:
        panel.add_collection(LineCollection(up, colors=INK, linewidths=1.3, zorder=2), autolim=False)
    panel.add_collection(
        LineCollection(down, colors=GREY, linewidths=0.9, linestyles=(0, (1, 3)), zorder=2), autolim=False
    )
    panel.add_collection(
        PolyCollection(paused, facecolors="none", edgecolors=GREY, hatch="////", linewidths=0.4, zorder=1.9),
        autolim=False,
    )
    for name, mark, colour in (("crash", "X", RED), ("boot", "|", INK), ("restart", "|", INK)):
        at = [(x(s.time), rows[host]) for host in rows for s in run.steps.get(host, []) if s.name == name]
        if at and len(rows) <= MARKED:
            panel.plot(
                *zip(*at, strict=True),
                mark,
                color=colour,
                markersize=7,
                linestyle="",
                zorder=4,
                markeredgewidth=1.2,
                clip_on=False,
            )


def _draw_arrows(
    panel: Axes, arrows: list[tuple[float, int, float, int]], colour: str, thick: float, alpha: float = 0.9
) -> None:
    if arrows:
        left, source, right, target = np.array(arrows, dtype=float).T
        panel.quiver(
            left,
            source,
            right - left,
            target - source,
            angles="xy",
            scale_units="xy",
            scale=1,
            units="inches",
            width=thick,
            headwidth=0.045 / thick + 2,
            headlength=0.08 / thick,
            headaxislength=0.07 / thick,
            minshaft=1,
            color=colour,
            alpha=alpha,
            linewidths=0,
            zorder=3,
        )


def _draw_lost(panel: Axes, segments: list[list[tuple[float, float]]]) -> None:
    if segments:
        panel.add_collection(
            LineCollection(segments, colors=RED, linewidths=0.9, linestyles="--", zorder=3), autolim=False
        )
        ends = [segment[1] for segment in segments]
        panel.plot(*zip(*ends, strict=True), "x", color=RED, markersize=5, zorder=3)


def _draw_notes(panel: Axes, notes: list[tuple[float, int]]) -> None:
    if notes:
        panel.plot(*zip(*notes, strict=True), "d", color=INK, markersize=5, zorder=4, clip_on=False)


def _colour(message: Message) -> str:
    if message.part == "request":
        return BLUE
    return SKY if message.part in ANSWERS else GREEN


def _says(message: Message) -> str:
    name = message.method.rsplit("/", 1)[-1]
    return name if message.part in ("request", "data") else message.code or message.part


def _life_handles(run: Run) -> tuple[list[Line2D | Patch], list[str]]:
    handles: list[Line2D | Patch] = []
    names = []
    states = {stretch.state for life in run.lives.values() for stretch in life}
    if "down" in states:
        handles += [
            Line2D([], [], color=RED, marker="X", markersize=7, linestyle=""),
            Line2D([], [], color=GREY, linestyle=(0, (1, 3))),
        ]
        names += ["crash", "down"]
    if "paused" in states:
        handles.append(Patch(facecolor="none", edgecolor=GREY, hatch="////", linewidth=0.4))
        names.append("paused")
    return handles, names


def _legend(
    sheet: Sheet,
    arrows: dict[str, list[tuple[float, int, float, int]]],
    lost: list[list[tuple[float, float]]],
    notes: list[tuple[float, int, str]],
    dots: list[tuple[float, int]],
) -> None:
    handles: list[Line2D | Patch] = []
    names = []
    for colour, name in ((BLUE, "request"), (SKY, "response"), (GREEN, "other message")):
        if arrows[colour]:
            handles.append(Line2D([], [], color=colour, marker=">", markersize=4))
            names.append(name)
    if lost:
        handles.append(Line2D([], [], color=RED, linestyle="--", marker="x", markersize=5))
        names.append("lost")
    if dots:
        handles.append(Line2D([], [], color=BLUE, linestyle="", marker=".", markersize=4))
        names.append("message to itself")
    if notes:
        handles.append(Line2D([], [], color=INK, linestyle="", marker="d", markersize=5))
        names.append("note")
    more, texts = _life_handles(sheet.run)
    sheet.legend([*handles, *more], [*names, *texts])
