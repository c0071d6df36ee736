"""Curves of a run over those of a paper's figure, panel below panel.

They come from one note that the scenario writes when it knows them:
`world.note("overlay", title=..., panels=[...], marks=[...])`. A panel has a `label`, its vertical limits
`low` and `high`, and `curves`: each a `name`, `x`, `y`, and `paper`: whether it is the paper's; with `points`
each point is marked, with `apart` they are bars side by side; its `shades`, each with `begin`, `end` and
`name`, are times in which something held.
A mark has a `name`, `x` and `paper`: a moment, such as the end of the job. The horizontal axis is the
paper's, which need not begin when the run does; `ticks` are places on it with names: [[1, "reads"], ...].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from protos.trace import Note
from sim.view.colours import BLUE, GREY
from sim.view.colours import RED as PAPER
from sim.view.paper import Sheet, blank
from sim.view.run import OVERLAY
from sim.view.text import SMALL, TEXT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sim.view.run import Run

HEIGHT = 1.9  # inches of a panel
BAR = 0.3  # wide


def overlay(run: Run) -> Figure:
    """Draws the curves that the scenario has noted last."""
    noted = [event for event in run.events if isinstance(event, Note) and event.name == OVERLAY]
    if not noted:
        return blank(run, "curves over a paper's", 'No curve was noted: world.note("overlay", ...).')
    said = noted[-1].fields
    panels = said["panels"]
    labels = [f"{panel['high']:,}" for panel in panels]
    sheet = Sheet(
        run, said["title"], said.get("says", []), [HEIGHT] * len(panels), labels=labels, timed=False
    )
    marks = said.get("marks", [])
    for axes, panel in zip(sheet.panels, panels, strict=True):
        _draw(axes, panel, marks, low=said["low"], high=said["high"], last=axes is sheet.panels[-1])
    if ticks := said.get("ticks"):
        for axes in sheet.panels:
            axes.set_xticks([x for x, _ in ticks], [str(name) for _, name in ticks])
    sheet.panels[-1].set_xlabel(said.get("axis", "seconds"), fontsize=TEXT)
    sheet.legend(
        [Line2D([], [], color=PAPER, linewidth=1.4), Line2D([], [], color=BLUE, linewidth=1.4)],
        ["the paper", "this run"],
    )
    return sheet.figure


def _draw(
    axes: Any, panel: dict[str, Any], marks: list[dict[str, Any]], *, low: float, high: float, last: bool
) -> None:
    axes.set_xlim(low, high)
    axes.set_ylim(panel["low"], panel["high"])
    axes.set_ylabel(panel["label"], fontsize=TEXT)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelbottom=last)
    axes.yaxis.set_major_formatter("{x:,.10g}")
    for curve in panel["curves"]:
        colour = PAPER if curve["paper"] else BLUE
        if panel.get("apart"):
            bars = axes.bar(
                [x + (-BAR / 2 if curve["paper"] else BAR / 2) for x in curve["x"]],
                curve["y"],
                BAR,
                color=colour,
                zorder=2,
            )
            axes.bar_label(bars, fmt="{:.3g}", fontsize=SMALL, padding=1)
            continue
        axes.plot(
            curve["x"],
            curve["y"],
            color=colour,
            linewidth=1.4,
            marker="o" if panel.get("points") else "",
            markersize=3.5,
            zorder=2 if curve["paper"] else 3,
        )
    for shade in panel.get("shades", ()):
        axes.axvspan(shade["begin"], shade["end"], color=GREY, alpha=0.25, linewidth=0, zorder=0)
        axes.annotate(
            shade["name"],
            (shade["begin"], panel["high"]),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=SMALL,
        )
    rightmost = max((mark["x"] for mark in marks), default=0.0)
    for mark in marks:
        colour = PAPER if mark["paper"] else BLUE
        outside = mark["x"] == rightmost  # on the other side of its line, so that two never lie on each other
        axes.axvline(mark["x"], color=colour, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        if panel.get("names"):
            axes.annotate(
                mark["name"],
                (mark["x"], panel["high"]),
                xytext=(3 if outside else -3, -2),
                textcoords="offset points",
                ha="left" if outside else "right",
                va="top",
                fontsize=SMALL,
                color=colour,
                rotation=90,
            )
