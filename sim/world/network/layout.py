"""Where hosts are on a topology, and which links lead from one to another.

Routes are computed between the nodes of the topology only, once a node; a host that hangs on a switch
adds its own cable at either end. So a thousand hosts cost no more to route than their switches do.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import networkx as nx

from sim.world.loop import nanoseconds
from sim.world.network.path import Link
from sim.world.network.topology import check

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.world.network.path import Path


class Layout:
    """Hosts on a topology.

    Args:
        topology: see `sim.world.network.topology`.

    Raises:
        ValueError: it is no topology.

    Attributes:
        hosts: each host's node.
    """

    def __init__(self, topology: nx.Graph[Any]) -> None:
        check(topology)
        self.hosts: dict[str, str] = {}
        self._core = topology
        self._turn = 0
        self._links: dict[tuple[str, str], Link] = {}
        self._routes: dict[str, dict[str, list[str]]] = {}

    def attach(self, host: str, at: str | None = None) -> None:
        """Adds a host.

        Args:
            host: its name.
            at: the node it is attached to; None: the node of that name, or where the topology places it,
                or the switches in turn.

        Raises:
            ValueError: there is no such node, or the topology has no switches.
        """
        graph = self._core.graph
        if at is None and host not in self._core:
            at = graph.get("place", {}).get(host)
            if at is None:
                switches = graph.get("switches")
                if not switches:
                    raise ValueError(
                        f"host {host} is no node of the topology, which names no switches for others"
                    )
                at = switches[self._turn % len(switches)]
                self._turn += 1
        elif at is None:
            at = host
        if at not in self._core:
            raise ValueError(f"host {host} cannot be attached to {at}: there is no such node in the topology")
        if at != host and "uplink" not in graph:
            raise ValueError(f"host {host} cannot be attached to {at}: the topology names no `uplink`")
        self.hosts[host] = at

    def observer(self) -> str:
        """Returns where a host goes that only watches: the first switch, and it takes nobody's turn."""
        switches = self._core.graph.get("switches") or list(self._core)
        return str(switches[0])

    def route(self, source: str, target: str) -> tuple[Link, ...]:
        """Returns the links by the least latency: up to the source's switch, between switches, and down.

        Raises:
            KeyError: there is no such host.
            nx.NetworkXNoPath: they are not connected.
        """
        if source == target:
            return ()
        first, last = self.hosts[source], self.hosts[target]
        routes = self._routes.get(first)
        if routes is None:
            routes = nx.single_source_dijkstra_path(self._core, first, weight="latency_s")
            self._routes[first] = routes
        if last not in routes:
            raise nx.NetworkXNoPath(f"no way from {source} to {target}")
        nodes = routes[last]
        nodes = [*([source] if first != source else ()), *nodes, *([target] if last != target else ())]
        return tuple(self._link(a, b) for a, b in itertools.pairwise(nodes))

    def _link(self, a: str, b: str) -> Link:
        found = self._links.get((a, b))
        if found is None:
            edge = self._core.edges[a, b] if self._core.has_edge(a, b) else self._core.graph["uplink"]
            found = self._links[a, b] = Link(
                a,
                b,
                nanoseconds(edge["latency_s"]),
                edge.get("bandwidth_Bps") or math.inf,
                nanoseconds(edge.get("jitter_s", 0.0)),
                edge.get("loss", 0.0),
            )
        return found

    def graph(self, paths: Iterable[Path]) -> nx.DiGraph[Any]:
        """Returns the topology with its hosts, and on each edge the `messages` and `bytes` of these paths."""
        drawn: nx.DiGraph[Any] = nx.DiGraph(self._core)
        for host, node in self.hosts.items():
            if host != node:
                drawn.add_edge(host, node, **self._core.graph["uplink"])
                drawn.add_edge(node, host, **self._core.graph["uplink"])
        for _, _, edge in drawn.edges(data=True):
            edge.update(messages=0, bytes=0)
        for path in paths:
            for link in path.links:
                edge = drawn.edges[link.source, link.target]
                edge["messages"] += path.messages
                edge["bytes"] += path.bytes
        return drawn
