"""Data moved between hosts: a matrix, from whom (rows) to whom (columns), darker for more bytes.

All messages count by their size. When there are many hosts, those whose names differ only in their number are
one row and one column. Hosts that neither sent nor received anything are left out.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm

from protos.trace import Message
from sim.view.colours import GREY, INK
from sim.view.paper import SHADES, Sheet
from sim.view.text import SMALL, TEXT, Measure, amount, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sim.view.run import Run

HOSTS = 60  # one by one
VALUED = 14  # hosts for which cells carry their numbers
SIDE = 6.4  # inches


def moved(run: Run) -> Figure:
    """Draws how many bytes each host has sent to each."""
    grouped = len(run.hosts) > HOSTS
    names = {host: re.sub(r"\d+", "#", host) if grouped else host for host in run.hosts}
    order = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    sums = np.zeros((len(order), len(order)))
    for event in run.events:
        if isinstance(event, Message) and event.time >= run.start and event.sent <= run.end:
            sums[order[names[event.source]], order[names[event.host]]] += event.size
    spoke = np.logical_or(sums.any(axis=0), sums.any(axis=1))
    if spoke.any():
        order = {name: number for name, number in order.items() if spoke[number]}
        sums = sums[np.ix_(spoke, spoke)]
    says = [f"{amount(float(sums.sum()))} in all; rows send, columns receive."]
    if grouped:
        says.append(f"{len(run.hosts):,} hosts: those whose names differ only in numbers (#) are one node.")
    side = min(SIDE, max(1.6, 0.5 * len(order)))
    labels = [shorten(name) for name in order]
    measure = Measure()
    below = max((measure.width(label, TEXT) for label in labels), default=0.0)
    sheet = Sheet(
        run,
        "data moved between hosts",
        says,
        [side],
        labels=[f"from {label}" for label in labels],
        legend=max(0, math.ceil((below - 0.4) / 0.24)),
        timed=False,
        right=1.35,
    )
    panel = sheet.panels[0]
    box = panel.get_position()
    panel.set_position((box.x0, box.y0, min(box.width, 1.35 * side / 12.0), box.height))
    shown = np.ma.masked_less(sums, 1)
    norm = LogNorm(max(1.0, sums.max() / 1e4), max(2.0, sums.max()), clip=True)
    if sums.max() >= 1:
        image = panel.imshow(shown, cmap=SHADES, norm=norm, aspect="auto", interpolation="nearest")
        where = panel.get_position()
        bar = sheet.figure.add_axes((where.x1 + 0.02, where.y0, 0.012, where.height))
        sheet.figure.colorbar(image, cax=bar, format=lambda value, _: amount(value))
        bar.minorticks_off()
        bar.tick_params(labelsize=SMALL)
    step = max(1, math.ceil(0.16 * len(order) / side))
    some = range(0, len(order), step)
    panel.set_yticks(some, labels[::step], fontsize=TEXT)
    panel.set_xticks(some, labels[::step], fontsize=TEXT, rotation=90)
    panel.tick_params(length=0)
    panel.set_ylabel("from", fontsize=TEXT, color=GREY)
    panel.set_title("to", fontsize=TEXT, color=GREY, pad=2)
    if len(order) <= VALUED:
        for (row, column), value in np.ndenumerate(sums):
            if value:
                dark = norm(value) > 0.55
                panel.text(
                    column, row, amount(float(value)), ha="center", va="center", fontsize=SMALL,
                    color="white" if dark else INK,
                )  # fmt: skip
    return sheet.figure
