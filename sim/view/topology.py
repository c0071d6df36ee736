"""The topology: hosts as nodes, an edge for each pair that exchanged messages, thicker for more bytes.

Links that a fault cut in the window are dashed and crossed. When there are many hosts, those whose
names differ only in their number are drawn as one node.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import networkx as nx
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from protos.trace import Lost, Message
from sim.view.colours import BLUE, ORANGE, RED, SKY
from sim.view.paper import Sheet
from sim.view.text import TEXT, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from sim.trace.faults import Period
    from sim.view.run import Run

NODES = 40  # hosts drawn one by one
AROUND = [  # where else the name of a node may stand, in inches from it
    (1.4 * far * math.cos(turn), far * math.sin(turn))
    for far in (0.25, 0.35, 0.5, 0.65)
    for turn in (math.pi / 6 * step for step in range(12))
]
VALUED = 24  # edges that carry their numbers


def topology(run: Run) -> Figure:
    """Draws which hosts exchanged messages, how much, and which links were cut."""
    grouped = len(run.hosts) > NODES
    groups: dict[str, list[str]] = {}
    for host in run.hosts:
        groups.setdefault(re.sub(r"\d+", "#", host) if grouped else host, []).append(host)
    if len(groups) > NODES:  # no common names: the rest is one node
        rest = [host for name in list(groups)[NODES:] for host in groups[name]]
        groups = {**{name: groups[name] for name in list(groups)[:NODES]}, "others": rest}
    node = {host: name for name, hosts in groups.items() for host in hosts}
    traffic: dict[tuple[str, str], list[int]] = {}
    for event in run.events:
        if isinstance(event, (Message, Lost)) and event.time >= run.start and event.sent <= run.end:
            a, b = sorted((node[event.source], node[event.host]))
            sums = traffic.setdefault((a, b), [0, 0, 0])
            sums[0] += isinstance(event, Message)
            sums[1] += event.size if isinstance(event, Message) else 0
            sums[2] += isinstance(event, Lost)
    cuts = {pair for period in run.faults for pair in _cut(period, run.hosts, node) if pair[0] != pair[1]}
    edges = [pair for pair in traffic if pair[0] != pair[1]]
    says = []
    if grouped:
        says.append(
            f"{len(run.hosts):,} hosts: those whose names differ only in numbers (#) are one node, with how "
            "many they are; traffic within a node is not drawn."
        )
    heaviest = max((traffic[pair][1] for pair in edges), default=0) or 1
    sheet = Sheet(run, "traffic between hosts", says, [6.2], timed=False)
    panel = sheet.panels[0]
    panel.axis("off")
    places = _places(list(groups), edges, {pair: traffic[pair][0] for pair in edges})
    panel.set_xlim(-2.05, 2.05)
    panel.set_ylim(-1.2, 1.2)
    most = 6.5 if len(edges) <= 20 else max(1.2, 6.5 * math.sqrt(20 / len(edges)))  # points
    lines, widths = [], []
    for a, b in edges:
        lines.append([places[a], places[b]])
        widths.append(0.5 + most * math.sqrt(traffic[a, b][1] / heaviest))
    panel.add_collection(
        LineCollection(
            lines, colors=SKY, linewidths=widths, alpha=0.8 if len(edges) <= 40 else 0.55, zorder=1
        )
    )
    drawn_cuts = sorted(cuts & {(a, b) for a, b in edges} or cuts) if len(cuts) <= 200 else []
    if drawn_cuts:
        cut_lines = [[places[a], places[b]] for a, b in drawn_cuts]
        panel.add_collection(LineCollection(cut_lines, colors=RED, linewidths=1.3, linestyles="--", zorder=2))
        middles = [((p[0] + q[0]) / 2, (p[1] + q[1]) / 2) for p, q in cut_lines]
        panel.plot(*zip(*middles, strict=True), "x", color=RED, markersize=8, markeredgewidth=2, zorder=3)
    crashed = {node[host] for host, steps in run.steps.items() if any(one.name == "crash" for one in steps)}
    size = 15 if len(groups) <= 20 else 9
    for colour, names in ((BLUE, [n for n in groups if n not in crashed]), (ORANGE, sorted(crashed))):
        if names:
            at = [places[name] for name in names]
            panel.plot(
                *zip(*at, strict=True),
                "o",
                color=colour,
                markersize=size,
                markeredgecolor="white",
                markeredgewidth=1.5,
                zorder=4,
                clip_on=False,
            )
    labeller = sheet.labeller(panel)
    for place in places.values():
        labeller.reserve(*place, size / 144)  # half the mark, in inches
    for name, hosts in groups.items():
        x, y = places[name]
        text = shorten(name) + (f" ({len(hosts)})" if len(hosts) > 1 else "")
        up = 0.19 if y >= -0.05 else -0.19
        tries = [(0.0, up), (0.0, -up), *AROUND]
        if not any(
            labeller.put(x, y, text, dx=dx, dy=dy, align="center", size=TEXT, inside=True) for dx, dy in tries
        ):
            labeller.put(x, y, text, dy=up, align="center", size=TEXT, inside=True, must=True)
    if len(edges) <= VALUED:
        for a, b in edges:
            count, volume, lost = traffic[a, b]
            text = f"{count:,} msg, {_bytes(volume)}" + (f", {lost:,} lost" if lost else "")
            for part in (0.5, 0.4, 0.6, 0.3, 0.7):  # along the edge, where there is room
                x = places[a][0] + part * (places[b][0] - places[a][0])
                y = places[a][1] + part * (places[b][1] - places[a][1])
                if labeller.put(x, y, text, align="center", colour="#444444", dy=-0.13 if part == 0.5 else 0):
                    break
    handles = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=8),
        Line2D([], [], color=SKY, linewidth=0.5 + most),
        Line2D([], [], color=SKY, linewidth=0.7),
    ]
    names = ["host", f"{_bytes(heaviest)} between two", "less"]
    if crashed:
        handles.append(Line2D([], [], color=ORANGE, marker="o", linestyle="", markersize=8))
        names.append("host that crashed")
    if drawn_cuts:
        handles.append(Line2D([], [], color=RED, linestyle="--", marker="x", markersize=7))
        names.append("cut for a time")
    sheet.legend(handles, names)
    return sheet.figure


def _places(
    nodes: list[str], edges: list[tuple[str, str]], messages: dict[tuple[str, str], int]
) -> dict[str, tuple[float, float]]:
    """Lays the nodes out; the same graph is always laid out the same."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    places = nx.circular_layout(graph)
    if len(nodes) > 2 and 2 * len(edges) < 0.6 * len(nodes) * (len(nodes) - 1):
        # Sparse: whoever talks to many goes to the middle.
        places = nx.spring_layout(graph, pos=places, seed=1, k=2.2 / math.sqrt(len(nodes)), iterations=80)
    if not nodes:
        return {}
    wide = max(max(abs(place[0]) for place in places.values()), 1e-3)
    high = max(max(abs(place[1]) for place in places.values()), 1e-3)
    return {name: (1.75 * float(x) / wide, float(y) / high) for name, (x, y) in places.items()}


def _cut(period: Period, hosts: list[str], node: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yields the pairs of nodes between which a fault lets nothing through."""
    fields = period.fields
    if period.name == "partition":
        groups = fields.get("groups") or []
        for number, group in enumerate(groups):
            for other in groups[number + 1 :]:
                yield from (_pair(a, b, node) for a in group for b in other if a in node and b in node)
    elif period.name == "isolate":
        for alone in period.hosts:
            yield from (_pair(alone, host, node) for host in hosts if alone in node and host != alone)
    elif period.name == "cut":
        source, target = str(fields.get("source", "")), str(fields.get("target", ""))
        if source in node and target in node:
            yield _pair(source, target, node)


def _pair(a: str, b: str, node: dict[str, str]) -> tuple[str, str]:
    first, second = sorted((node[a], node[b]))
    return first, second


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
