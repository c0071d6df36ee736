"""The commit-wait diagram: what a transaction of Spanner's did in each group, over absolute time.

A row for the client and one for each group. In a group's row, from the top: how long it held the locks; what
it did or waited for; and the intervals that TT.now() gave its leader, each with a dot at the moment when it
was asked, that is, where absolute time really was. Where the dot lies outside, the clock was outside its ε.
The commit timestamp s is a line through all rows: the start rule puts it above absolute time when the commit
arrives, the commit wait has it passed when the client hears of it.

Two transactions whose timestamps are not in the order of real time are drawn one below the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sim.trace.latency import in_words
from sim.view.colours import BLUE, GREEN, GREY, INK, ORANGE, PALE, PINK, RED, SKY, VIOLET
from sim.view.committed import Committed, Part, shown
from sim.view.paper import Sheet, blank
from sim.view.text import SMALL, TEXT, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.view.run import Run
    from sim.view.text import Labeller

CLIENT, GROUP, GAP = 0.42, 1.02, 0.18  # heights of rows, and between transactions, in inches
PARTS = 6  # rows of groups of one transaction; more are named
ASKED = {"arrived": "at arrival", "assigned": "for the timestamp", "released": "at release"}
STAMPS = (GREEN, VIOLET)
LOCKS, PAXOS, VOTES, WAIT = GREY, BLUE, SKY, ORANGE
WHAT = "transactions in absolute time"


def commit_wait(run: Run) -> Figure:
    """Draws the most telling transaction of the window, or the two that break external consistency."""
    drawn = shown(run)
    if not drawn:
        return blank(run, WHAT, "No transaction was committed in this window.")
    start, end = _extent(drawn)
    labels, heights = _rows(drawn)
    sheet = Sheet(
        run.within(start, end),
        WHAT if len(drawn) > 1 else "commit wait",
        _says(drawn),
        [sum(heights)],
        labels=[line for label in labels for line in label.split("\n")],
        legend=2,
    )
    panel = sheet.panels[0]
    panel.set_ylim(sum(heights), 0)
    tops = [sum(heights[:place]) for place in range(len(heights))]
    panel.set_yticks(
        [top + height / 2 for top, height in zip(tops, heights, strict=True) if height > GAP],
        [label for label, height in zip(labels, heights, strict=True) if height > GAP],
    )
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel(f"absolute {sheet.time.label}, since the run began", fontsize=TEXT)
    panel.grid(axis="x", color="#EEEEEE", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)
    _Diagram(sheet, panel).draw(drawn, dict(enumerate(tops)))
    return sheet.figure


def _extent(drawn: list[Committed]) -> tuple[int, int]:
    """Returns the window: all there is of them, without what lies far off (reads, old prepare timestamps)."""
    ends = [one.returned for one in drawn]
    starts = [one.called for one in drawn if not one.parts]
    for one in drawn:
        for part in one.parts:
            starts.append(part.start)
            ends.append(part.end)
            starts += [low for _, _, low, _ in part.intervals]
            ends += [high for _, _, _, high in part.intervals]
        starts.append(one.timestamp)
        ends.append(one.timestamp)
    low, high = min(starts), max(ends)
    low = max(min([low, *(one.called for one in drawn)]), low - (high - low) // 2)
    margin = (high - low) // 30 + 1
    return low - margin, high + 5 * margin  # room for the last labels


def _rows(drawn: list[Committed]) -> tuple[list[str], list[float]]:
    labels: list[str] = []
    heights: list[float] = []
    for one in drawn:
        if labels:
            labels.append("")
            heights.append(GAP)
        labels.append(
            f"{one.name}: client {shorten(one.client, 20)}" if one.client else f"{one.name}: client"
        )
        heights.append(CLIENT)
        for part in one.parts[:PARTS]:
            role = "one group alone" if part.role == "alone" else part.role
            labels.append(f"group {part.group}\n{role}\nleader {shorten(part.host, 20)}")
            heights.append(GROUP)
    return labels, heights


def _says(drawn: list[Committed]) -> list[str]:
    says = []
    for one in drawn:
        who = f" of {one.client}" if one.client else ""
        if not one.parts:
            says.append(f"{one.name}{who} only read, at timestamp {_ms(one.timestamp)}.")
            continue
        first = one.parts[0]
        names = [str(part.group) for part in one.parts]
        where = f"groups {', '.join(names[:-1])} and {names[-1]}" if names[1:] else f"group {names[0]}"
        if len(one.parts) > PARTS:
            where += f" ({PARTS} of them are drawn)"
        if first.waited:
            wait = f"the commit wait took {in_words(first.waited)} more"
        elif first.end < one.timestamp:
            wait = "s had not passed, and nobody waited for it"
        else:
            wait = "nothing was left to wait"
        says.append(f"{one.name}{who} in {where}: s = {_ms(one.timestamp)}; when Paxos was through, {wait}.")
    if len(drawn) > 1:
        before, second = drawn[:2]
        gap = second.called - before.returned
        when = (
            f"began {in_words(gap)} after {before.name} had ended" if gap else f"began as {before.name} ended"
        )
        smaller = in_words(before.timestamp - second.timestamp)
        says.append(
            f"{second.name} {when}, and its timestamp is {smaller} smaller: external consistency is broken."
        )
    wrong = dict.fromkeys(
        part.host for one in drawn for part in one.parts if any(map(_outside, part.intervals))
    )
    if wrong:
        says.append(
            f"The clock of {', '.join(wrong)} is outside its bound: absolute time is not in its intervals."
        )
    return says


def _ms(ns: int) -> str:
    return f"{ns / 1e6:,.3f} ms"


def _outside(interval: tuple[str, int, int, int]) -> bool:
    _, moment, low, high = interval
    return not low <= moment <= high


class _Diagram:
    """What is drawn into the panel, kind by kind; heights in inches from the top of the panel."""

    def __init__(self, sheet: Sheet, panel: Axes) -> None:
        self._sheet = sheet
        self._x = sheet.time.x
        self._panel = panel
        self._label: Labeller = sheet.labeller(panel)
        self._bars: dict[str, list[Any]] = {}
        self._lines: dict[str, list[Any]] = {}
        self._dots: dict[str, list[tuple[float, float]]] = {}
        self._texts: list[tuple[float, float, float, str, str]] = []
        self._kinds: dict[str, Any] = {}
        self._gaps: list[Any] = []  # between a wrong interval and absolute time
        self._stamps: list[float] = []
        self._bottom = panel.get_ylim()[0]

    def draw(self, drawn: list[Committed], tops: dict[int, float]) -> None:
        """Draws the transactions, whose rows begin at `tops`."""
        row = 0
        for place, one in enumerate(drawn):
            if place:
                self._rule(tops[row] + GAP / 2)
                row += 1
            self._client(one, tops[row])
            rows = [tops[row + 1 + number] for number in range(len(one.parts[:PARTS]))]
            for part, top in zip(one.parts, rows, strict=False):
                self._part(part, top)
            self._arrows(one, tops[row], rows)
            row += 1 + len(rows)
        for place, one in enumerate(drawn):
            self._stamp(one, STAMPS[place], drawn, place)
        self._finish()
        self._legend(drawn)

    def _client(self, one: Committed, top: float) -> None:
        if one.client:
            self._bar(INK, one.called, one.returned, top + 0.15, top + 0.27)
            left = max(one.called, self._sheet.run.start)
            self._say(
                left, top + 0.21, f"{one.name}, {in_words(one.returned - one.called)}", "white", left=0.04
            )

    def _part(self, part: Part, top: float) -> None:
        locked = part.at("locked")
        if locked is not None:
            self._bar(LOCKS, locked, part.end, top + 0.1, top + 0.17)
            self._kinds["locks held"] = LOCKS
        prepared, proposed, chosen = (part.at(step) for step in ("prepared", "proposed", "chosen"))
        low, high = top + 0.22, top + 0.44
        if part.role == "participant":
            told = part.at("told")
            self._step(PAXOS, proposed, prepared, low, high, "Paxos: prepare", "Paxos round")
            self._step(VOTES, prepared, told, low, high, "waits for outcome", "waits for other groups")
            self._step(PAXOS, told, part.end, low, high, "Paxos: outcome", "Paxos round")
            self._prepare_stamp(part, (low + high) / 2)
        else:
            if part.role == "coordinator":
                self._step(VOTES, locked, prepared, low, high, "waits for votes", "waits for other groups")
            self._step(PAXOS, proposed, chosen, low, high, "Paxos: commit", "Paxos round")
            if chosen is not None and part.waited:
                self._step(WAIT, chosen, chosen + part.waited, low, high, "commit wait", "commit wait")
        for number, interval in enumerate(part.intervals):
            self._interval(interval, top + 0.55 + 0.16 * number)

    def _interval(self, interval: tuple[str, int, int, int], y: float) -> None:
        name, moment, low, high = interval
        colour = RED if _outside(interval) else INK
        left, right = self._x(low), self._x(high)
        lines = self._lines.setdefault(colour, [])
        lines.append([(left, y), (right, y)])
        lines += [[(edge, y - 0.045), (edge, y + 0.045)] for edge in (left, right)]
        self._dots.setdefault(colour, []).append((self._x(moment), y))
        text = f"TT.now() {ASKED[name]}"
        if _outside(interval):
            off = max(low - moment, moment - high)
            text += f": {in_words(off)} too {'late' if moment < low else 'early'}"
            self._gaps.append([(right if moment > high else left, y), (self._x(moment), y)])
        self._texts.append((left, right, y, text, colour))
        self._label.reserve(self._x(moment), y, 0.04)

    def _prepare_stamp(self, part: Part, y: float) -> None:
        start = self._sheet.run.start
        early = part.timestamp < start
        scale = self._sheet.width / (self._sheet.run.end - start)
        at = self._x(start + 0.08 / scale if early else part.timestamp)
        marker = "<" if early else "D"
        self._panel.plot([at], [y], marker, color=PINK, markersize=6, zorder=6, clip_on=False)
        self._kinds["prepare timestamp"] = Line2D([], [], color=PINK, marker="D", linestyle="", markersize=5)
        if early:
            before = in_words(part.start - part.timestamp)
            self._texts.append((at, at, y, f"{before} before it came", PINK))

    def _stamp(self, one: Committed, colour: str, drawn: list[Committed], place: int) -> None:
        at = self._x(one.timestamp)
        self._panel.plot([at, at], [0, self._bottom], "--", color=colour, linewidth=1.3, zorder=3)
        name = "s" if len(drawn) == 1 else f"s of {one.name}"
        self._label.keep_off(at, self._bottom)
        self._stamps.append(at)
        left_of = min(other.timestamp for other in drawn) == one.timestamp and len(drawn) > 1
        self._label.put(
            at, 0.0, name, dx=-0.5 if left_of else 0.03, dy=-0.07, colour=colour, size=TEXT, must=True
        )
        style = Line2D([], [], color=colour, linestyle="--")
        self._kinds["commit timestamp s" if len(drawn) == 1 else f"commit timestamp of {one.name}"] = style

    def _arrows(self, one: Committed, client: float, rows: list[float]) -> None:
        """Draws who waited for whom: the last vote, the outcome, the client's answer."""
        parts = one.parts[: len(rows)]
        if not parts:
            return
        first, voters = parts[0], list(zip(parts[1:], rows[1:], strict=True))
        votes = [(at, top) for part, top in voters if (at := part.at("prepared")) is not None]
        all_ = first.at("prepared")
        if votes and all_ is not None:
            at, top = max(votes)
            self._arrow(at, top + 0.22, all_, rows[0] + 0.44)
        for part, top in voters:
            if (told := part.at("told")) is not None:
                self._arrow(first.end, rows[0] + 0.44, told, top + 0.22)
        if one.client:
            self._arrow(first.end, rows[0] + 0.22, one.returned, client + 0.27)

    def _arrow(self, start: int, low: float, end: int, high: float) -> None:
        self._panel.annotate(
            "",
            (self._x(end), high),
            (self._x(start), low),
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
            zorder=4,
        )

    def _step(
        self,
        colour: str,
        start: int | None,
        end: int | None,
        low: float,
        high: float,
        name: str,
        kind: str,
    ) -> None:
        if start is None or end is None:
            return
        self._bar(colour, start, end, low, high)
        self._kinds.setdefault(kind, colour)
        self._say(
            start, (low + high) / 2, name, INK if colour in (SKY, ORANGE) else "white", left=0.04, end=end
        )

    def _bar(self, colour: str, start: int, end: int, low: float, high: float) -> None:
        left, right = self._x(start), self._x(end)
        self._bars.setdefault(colour, []).append([(left, low), (right, low), (right, high), (left, high)])

    def _say(
        self, start: int, y: float, text: str, colour: str, *, left: float = 0.0, end: int | None = None
    ) -> None:
        """Writes into a bar, where the text fits."""
        run = self._sheet.run
        scale = self._sheet.width / (run.end - run.start)
        room = ((end if end is not None else run.end) - start) * scale
        if self._sheet.text_width(text, SMALL) + 2 * left < room:
            self._panel.text(
                self._x(start + left / scale),
                y,
                text,
                fontsize=SMALL,
                color=colour,
                va="center_baseline",
                zorder=6,
                clip_on=True,
            )

    def _rule(self, y: float) -> None:
        self._panel.axhline(y, color=PALE, linewidth=1.0, zorder=1)

    def _finish(self) -> None:
        for colour, bars in self._bars.items():
            self._panel.add_collection(
                PolyCollection(bars, facecolors=colour, edgecolors="white", linewidths=0.4, zorder=4),
                autolim=False,
            )
        for colour, lines in self._lines.items():
            self._panel.add_collection(
                LineCollection(lines, colors=colour, linewidths=1.2, zorder=4), autolim=False
            )
        gaps = LineCollection(self._gaps, colors=RED, linewidths=0.9, linestyles="dotted", zorder=3)
        self._panel.add_collection(gaps, autolim=False)
        for colour, dots in self._dots.items():
            self._panel.plot(*zip(*dots, strict=True), "o", color=colour, markersize=4.5, zorder=6)
        for left, right, y, text, colour in self._texts:
            wide = self._sheet.text_width(text, SMALL) + 0.13
            places = [(right, 0.09), (left, -wide), *((at, 0.06) for at in self._stamps if at > right)]
            if not any(self._label.put(at, y, text, dx=dx, colour=colour) for at, dx in places):
                self._label.put(right, y, text, dx=0.09, colour=colour, must=True)

    def _legend(self, drawn: list[Committed]) -> None:
        dot: dict[str, Any] = {"marker": "o", "markersize": 4.5, "linewidth": 1.2}
        intervals = [interval for one in drawn for part in one.parts for interval in part.intervals]
        if not all(map(_outside, intervals)):
            self._kinds["TT.now(); dot: absolute time"] = Line2D([], [], color=INK, **dot)
        if any(map(_outside, intervals)):
            self._kinds["TT.now(), wrong; dot: absolute time"] = Line2D([], [], color=RED, **dot)
        self._sheet.legend(
            [Patch(color=one) if isinstance(one, str) else one for one in self._kinds.values()],
            list(self._kinds),
            rows=2,
        )
