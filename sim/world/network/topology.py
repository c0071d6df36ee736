"""Topologies: which switches there are, what the links between them can do, and where hosts attach.

A topology is a `networkx.Graph` (or `DiGraph`) of switches, or of hosts, whose edges carry

- `latency_s`: seconds that the first byte takes, one way (required);
- `bandwidth_Bps`: bytes a second in each direction (without limit when left out);
- `jitter_s`: up to so many seconds more, evenly spread (0);
- `loss`: the share of packets that is lost (0);

and whose attributes say how hosts that are no nodes of it attach: `uplink`, the edge attributes of
the cable between host and switch; `switches`, the nodes that take hosts in turn; and `place`, which
host goes to which switch. The functions below build the usual ones; any graph of one's own will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEN_GIGABIT = 1.25e9  # bytes a second


def lan(
    latency_s: float = 500e-6,
    bandwidth_Bps: float | None = TEN_GIGABIT,
    jitter_s: float = 0.0,
    loss: float = 0.0,
) -> nx.Graph[Any]:
    """Builds one switch with all hosts on it.

    Args:
        latency_s: one way from host to host. A switched LAN takes some 50 µs on the wire, and the two
            kernels and network cards the rest of the default.
        bandwidth_Bps: of each host's cable.
        jitter_s: at most, from host to host.
        loss: share of packets lost between two hosts.

    Raises:
        ValueError: the loss is not between 0 and 1.
    """
    if not 0 <= loss <= 1:
        raise ValueError(f"lan: loss is {loss}, must be between 0 and 1")
    graph = _graph(["switch"], latency_s / 2, bandwidth_Bps, jitter_s / 2, 1 - (1 - loss) ** 0.5)
    graph.add_node("switch")
    return graph


def racks(
    hosts: int | Sequence[Sequence[str]],
    latency_s: float = 500e-6,
    core_latency_s: float = 100e-6,
    bandwidth_Bps: float = TEN_GIGABIT,
    core_bandwidth_Bps: float = 4 * TEN_GIGABIT,
) -> nx.Graph[Any]:
    """Builds racks, each with a switch, joined by a core switch: `rack1`, `rack2`, ..., `core`.

    Args:
        hosts: how many racks (hosts go to them in turn), or the hosts of each.
        latency_s: one way from host to host within a rack.
        core_latency_s: added on the way from one rack to another.
        bandwidth_Bps: of each host's cable.
        core_bandwidth_Bps: of each rack's cable to the core. A rack of 20 hosts with the defaults is
            oversubscribed 5 to 1, which is usual.
    """
    groups: Sequence[Sequence[str]] = [()] * hosts if isinstance(hosts, int) else hosts
    names = [f"rack{number}" for number in range(1, len(groups) + 1)]
    graph = _graph(names, latency_s / 2, bandwidth_Bps, 0.0, 0.0)
    for name, group in zip(names, groups, strict=True):
        graph.add_edge(name, "core", latency_s=core_latency_s / 2, bandwidth_Bps=core_bandwidth_Bps)
        graph.graph["place"].update(dict.fromkeys(group, name))
    return graph


def zones(
    hosts: int | Mapping[str, Sequence[str]],
    latency_s: float = 500e-6,
    between_s: float = 1e-3,
    bandwidth_Bps: float = TEN_GIGABIT,
    between_Bps: float = 10 * TEN_GIGABIT,
) -> nx.Graph[Any]:
    """Builds the availability zones of one region, each a LAN, every two of them joined.

    Args:
        hosts: how many zones (`zone1`, ...; hosts go to them in turn), or the hosts of each by its name.
        latency_s: one way from host to host within a zone.
        between_s: added on the way from one zone to another.
        bandwidth_Bps: of each host's cable.
        between_Bps: of each link between two zones.
    """
    groups = {f"zone{n}": () for n in range(1, hosts + 1)} if isinstance(hosts, int) else hosts
    names = list(groups)
    pairs = {(a, b): between_s for i, a in enumerate(names) for b in names[i + 1 :]}
    graph = wan(pairs, groups, latency_s, bandwidth_Bps, between_Bps)
    graph.add_nodes_from(names)
    return graph


def wan(
    latencies: Mapping[tuple[str, str], float],
    hosts: Mapping[str, Sequence[str]] | None = None,
    latency_s: float = 500e-6,
    bandwidth_Bps: float = TEN_GIGABIT,
    between_Bps: float = TEN_GIGABIT,
    jitter_s: float = 0.0,
    loss: float = 0.0,
) -> nx.Graph[Any]:
    """Builds regions, each a LAN, joined by long links.

    Args:
        latencies: seconds one way from region to region; a pair that is left out goes by the fastest detour.
        hosts: the hosts of each region; others go to the regions in turn.
        latency_s: one way from host to host within a region.
        bandwidth_Bps: of each host's cable.
        between_Bps: of each long link.
        jitter_s: at most, on a long link.
        loss: share of packets lost on a long link.
    """
    regions = list(dict.fromkeys(region for pair in latencies for region in pair))
    regions += [region for region in hosts or {} if region not in regions]
    graph = _graph(regions, latency_s / 2, bandwidth_Bps, 0.0, 0.0)
    graph.add_nodes_from(regions)
    for (a, b), latency in latencies.items():
        graph.add_edge(a, b, latency_s=latency, bandwidth_Bps=between_Bps, jitter_s=jitter_s, loss=loss)
    for region, names in (hosts or {}).items():
        graph.graph["place"].update(dict.fromkeys(names, region))
    return graph


def _graph(
    switches: list[str], latency_s: float, bandwidth: float | None, jitter_s: float, loss: float
) -> nx.Graph[Any]:
    uplink = {"latency_s": latency_s, "bandwidth_Bps": bandwidth, "jitter_s": jitter_s, "loss": loss}
    return nx.Graph(switches=switches, uplink=uplink, place={})


def check(topology: nx.Graph[Any]) -> None:
    """Refuses what is not a topology.

    Raises:
        ValueError: an edge lacks its latency or has a value out of range; a switch that is named is no node.
    """
    attributes = topology.graph
    edges = [(f"the edge from {a} to {b}", edge) for a, b, edge in topology.edges(data=True)]
    if attributes.get("switches"):
        edges.append(("`uplink`", attributes.get("uplink", {})))
    for what, edge in edges:
        if "latency_s" not in edge:
            raise ValueError(f"topology: {what} has no latency_s")
        for name, least, most in _RANGES:
            value = edge.get(name)
            if value is not None and not least <= value <= most:
                raise ValueError(
                    f"topology: {what} has {name} {value}, must be between {least:g} and {most:g}"
                )
    for node in (*attributes.get("switches", ()), *attributes.get("place", {}).values()):
        if node not in topology:
            raise ValueError(f"topology: hosts are to be attached to {node}, but there is no such node")
    if not topology:
        raise ValueError("topology: there are no nodes")


_RANGES = (
    ("latency_s", 0.0, 1e6),
    ("bandwidth_Bps", 1e-3, 1e15),
    ("jitter_s", 0.0, 1e6),
    ("loss", 0.0, 1.0),
)
