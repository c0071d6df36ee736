"""Topologies, and connections over them: what arrives when, in which order, and what does not."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.network import BULK, Endpoint, Impairment, lan, racks, wan, zones
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MS = 1e-3


class Net:
    """A simulation seen from its network: hosts without programs, and connections that record what comes."""

    def __init__(self, topology: nx.Graph[Any] | None = None, *, hosts: str = "a b", seed: int = 0) -> None:
        self.simulation = Simulation(seed, topology=topology)
        self.network = self.simulation.network
        for name in hosts.split():
            self.simulation.boot(name)
        self.arrived: list[tuple[Any, float]] = []
        self.broken: list[tuple[str, str, float]] = []
        self.lost: list[tuple[Any, str]] = []
        self.accepted: list[Endpoint] = []

    def run(self, story: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return self.simulation.run(story())

    def now(self) -> float:
        return self.simulation.now() / 1e9

    def watch(self, endpoint: Endpoint) -> Endpoint:
        name = endpoint.process.name
        endpoint.on_broken = lambda why: self.broken.append((name, why, self.now()))
        endpoint.on_lost = lambda why, args: self.lost.append((args[0], why))
        return endpoint

    def listen(self, host: str, port: int = 1) -> None:
        process = self.simulation.machines[host].host.process
        self.network.listen(process, port, lambda end: self.accepted.append(self.watch(end)))

    async def dial(self, source: str, target: str, port: int = 1) -> Endpoint | str:
        decided = asyncio.get_running_loop().create_future()
        process = self.simulation.machines[source].host.process
        self.network.dial(process, target, port, lambda end, why: decided.set_result(end or why))
        found = await decided
        return self.watch(found) if isinstance(found, Endpoint) else found

    async def connect(self, source: str = "a", target: str = "b") -> Endpoint:
        if (target, 1) not in self.network._listeners:
            self.listen(target)
        found = await self.dial(source, target)
        assert isinstance(found, Endpoint)
        return found

    def send(self, endpoint: Endpoint, what: Any, size: int = 0) -> None:
        endpoint.send(size, lambda w: self.arrived.append((w, self.now())), what)

    def what(self) -> list[Any]:
        return [what for what, _ in self.arrived]


# Topologies


def one_way(net: Net, source: str, target: str) -> float:
    return net.network.path(source, target).latency / 1e9


def test_a_lan_is_half_a_millisecond_across() -> None:
    net = Net()
    assert one_way(net, "a", "b") == pytest.approx(0.5 * MS)
    assert one_way(net, "a", "a") == pytest.approx(0.025 * MS)


def test_racks_take_hosts_in_turn_and_the_core_costs_extra() -> None:
    net = Net(racks(2, latency_s=1 * MS, core_latency_s=5 * MS), hosts="a b c")
    assert net.network.hosts == {"a": "rack1", "b": "rack2", "c": "rack1"}
    assert one_way(net, "a", "c") == pytest.approx(1 * MS)
    assert one_way(net, "a", "b") == pytest.approx(6 * MS)


def test_hosts_can_be_placed_by_name() -> None:
    net = Net(zones({"x": ["b"], "y": ["a", "c"]}, between_s=2 * MS, latency_s=1 * MS), hosts="a b c")
    assert net.network.hosts == {"a": "y", "b": "x", "c": "y"}
    assert one_way(net, "a", "b") == pytest.approx(3 * MS)


def test_a_wan_goes_by_the_fastest_detour() -> None:
    topology = wan({("eu", "us"): 0.04, ("us", "ap"): 0.08, ("eu", "ap"): 0.2}, latency_s=0.0)
    net = Net(topology, hosts="a b c")
    assert net.network.hosts == {"a": "eu", "b": "us", "c": "ap"}
    assert one_way(net, "a", "c") == pytest.approx(0.12)


def test_any_graph_will_do_and_one_way_links_too() -> None:
    topology = nx.DiGraph()
    topology.add_edge("a", "b", latency_s=0.001)
    topology.add_edge("b", "r", latency_s=0.010)
    topology.add_edge("r", "a", latency_s=0.010)
    net = Net(topology)
    assert one_way(net, "a", "b") == pytest.approx(0.001)
    assert one_way(net, "b", "a") == pytest.approx(0.020)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**32))
def test_routes_have_the_least_latency(size: int, seed: int) -> None:
    topology = nx.gnp_random_graph(size, 0.5, seed=seed)
    topology = nx.relabel_nodes(topology, {number: f"h{number}" for number in range(size)})
    for number, (a, b) in enumerate(sorted(topology.edges)):
        topology.edges[a, b]["latency_s"] = 1 + (number * 7919 + seed) % 13
    net = Net(topology, hosts=" ".join(sorted(topology)))
    for source in topology:
        best = nx.single_source_dijkstra_path_length(topology, source, weight="latency_s")
        for target, expected in best.items():
            if target != source:
                assert one_way(net, source, target) == expected


def edge(**attributes: Any) -> nx.Graph[Any]:
    return nx.Graph([("x", "y", attributes)])


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (edge(), "the edge from x to y has no latency_s"),
        (edge(latency_s=-1.0), r"the edge from x to y has latency_s -1\.0, must be between 0 and"),
        (edge(latency_s=0.1, bandwidth_Bps=0.0), r"bandwidth_Bps 0\.0, must be"),
        (nx.Graph(switches=["s"], uplink={"latency_s": 1.0, "loss": 2.0}), r"uplink.* has loss 2\.0"),
        (nx.Graph(), "there are no nodes"),
        (nx.Graph(switches=["s"], uplink={"latency_s": 1.0}), "there is no such node"),
    ],
)
def test_what_is_no_topology_is_refused(topology: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(topology=topology)
    with pytest.raises(ValueError, match="loss is 2"):
        lan(loss=2)


def test_the_topology_is_chosen_before_the_first_host() -> None:
    simulation = Simulation()
    simulation.network.use(racks(2))
    simulation.add_host("a")
    with pytest.raises(ValueError, match="before the first host"):
        simulation.network.use(lan())


@pytest.mark.parametrize(
    ("topology", "at", "message"),
    [
        (lan(), "nowhere", "cannot be attached to nowhere"),
        (nx.Graph([("x", "y", {"latency_s": 1.0})]), None, "names no switches"),
        (nx.Graph([("x", "y", {"latency_s": 1.0})]), "x", "names no `uplink`"),
    ],
)
def test_a_host_without_a_place_is_refused(topology: Any, at: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(topology=topology).add_host("a", at=at)


def test_traffic_is_counted_on_every_link() -> None:
    net = Net(racks(2), hosts="a b")

    async def story() -> None:
        end = await net.connect()
        for _ in range(3):
            net.send(end, "x", 1000)
        await asyncio.sleep(1)

    net.run(story)
    graph = net.network.graph()
    for a, b in (("a", "rack1"), ("rack1", "core"), ("core", "rack2"), ("rack2", "b")):
        assert graph.edges[a, b]["bytes"] == 3000
        assert graph.edges[b, a]["bytes"] == 0


# Time


def test_small_messages_queue_for_the_bandwidth() -> None:
    net = Net(lan(latency_s=0.0, bandwidth_Bps=1000.0))

    async def story() -> None:
        end = await net.connect()
        for number in range(3):
            net.send(end, number, 500)  # half a second a link, and there are two
        await asyncio.sleep(10)

    net.run(story)
    assert [(what, pytest.approx(at)) for what, at in net.arrived] == [(0, 1.0), (1, 1.5), (2, 2.0)]


def test_a_far_sender_does_not_hold_up_a_near_one() -> None:
    topology = wan({("far", "near"): 1.0}, {"far": ["f"], "near": ["a", "b"]}, latency_s=0.0)
    net = Net(topology, hosts="a b f")

    async def story() -> None:
        far, near = await net.connect("f", "b"), await net.connect("a", "b")
        started = net.now()
        net.send(far, "far", 60_000)
        net.send(near, "near", 100)
        await asyncio.sleep(3)
        assert net.arrived[0] == ("near", pytest.approx(started, abs=MS))
        assert net.arrived[1] == ("far", pytest.approx(started + 1, abs=MS))

    net.run(story)


def test_bulk_messages_share_the_link_as_flows() -> None:
    net = Net(lan(latency_s=0.0, bandwidth_Bps=1e6), hosts="a b c")

    async def story() -> None:
        first, second = await net.connect("a", "c"), await net.connect("b", "c")
        net.send(first, "first", 1_000_000)
        net.send(second, "second", 500_000)
        net.send(second, "after second", 10)
        await asyncio.sleep(10)

    net.run(story)
    assert net.what() == ["second", "after second", "first"]
    assert [at for _, at in net.arrived] == [pytest.approx(t, abs=1e-4) for t in (1.0, 1.0, 1.5)]


def test_a_modelled_transfer_takes_bandwidth_and_carries_nothing() -> None:
    net = Net(lan(latency_s=0.2, bandwidth_Bps=1e6))

    async def story() -> float:
        started = net.now()
        await net.network.transfer("a", "b", 3_000_000)
        return net.now() - started

    assert net.run(story) == pytest.approx(3.2)


def test_a_modelled_transfer_fails_with_its_hosts() -> None:
    net = Net(lan(bandwidth_Bps=1e6), hosts="a b c")

    async def story() -> None:
        for victim in ("b", "a"):
            moving = asyncio.create_task(net.network.transfer("a", "b", 10_000_000))
            await asyncio.sleep(1)
            net.simulation.machines[victim].crash()
            with pytest.raises(ConnectionError, match="transfer from a to b"):
                await moving
            net.simulation.machines[victim].restart()
        net.simulation.machines["c"].crash()
        with pytest.raises(ConnectionError, match="c is down"):
            await net.network.transfer("a", "c", 1)

    net.run(story)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200_000), st.floats(0, 0.02)), min_size=1, max_size=25),
    st.integers(0, 2**32),
)
def test_order_holds_on_a_connection_whatever_the_sizes_jitter_and_losses(
    messages: list[tuple[int, float]], seed: int
) -> None:
    net = Net(lan(latency_s=MS, bandwidth_Bps=1e6, jitter_s=0.05, loss=0.2), seed=seed)

    async def story() -> None:
        end = await net.connect()
        for number, (size, pause) in enumerate(messages):
            net.send(end, number, size)
            await asyncio.sleep(pause)
        await asyncio.sleep(2000)

    net.run(story)
    assert net.what() == list(range(len(messages)))


def test_losses_are_seen_as_retransmission_delays() -> None:
    net = Net(lan(loss=0.3))

    async def story() -> None:
        end = await net.connect()
        for _ in range(300):
            net.send(end, net.now())
            await asyncio.sleep(100)

    net.run(story)
    delays = [at - sent for sent, at in net.arrived]
    # On top of the round trip: 200 ms, and twice as much for each further loss.
    classes = [0, 0.201, 0.603, 1.407, 3.015, 6.231]
    rounded = [min(classes, key=lambda c: abs(c - delay)) for delay in delays]
    assert all(abs(c - d) < 0.02 * (c + 0.1) for c, d in zip(rounded, delays, strict=True))
    assert rounded.count(0) / 300 == pytest.approx(0.7, abs=0.08)
    assert rounded.count(0.201) / 300 == pytest.approx(0.21, abs=0.08)


def test_losses_slow_a_flow_down_as_tcp_does() -> None:
    def duration(loss: float) -> float:
        net = Net(lan(latency_s=0.05, loss=loss))

        async def story() -> float:
            started = net.now()
            await net.network.transfer("a", "b", 10_000_000)
            return net.now() - started

        return float(net.run(story))

    # Mathis: a segment of 1460 bytes a round trip of 100 ms, times sqrt(1.5 / loss).
    assert duration(0.01) == pytest.approx(10_000_000 / (14_600 * math.sqrt(150)), rel=0.02)
    assert duration(0.0) < 0.1


# Connecting


def test_connecting_takes_a_round_trip() -> None:
    net = Net(lan(latency_s=0.1))

    async def story() -> float:
        await net.connect()
        return net.now()

    assert net.run(story) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(
    ("target", "down", "why"),
    [
        ("nobody", False, "no host is named nobody"),
        ("b", False, "connection refused"),
        ("b", True, "refused"),
    ],
)
def test_what_cannot_be_reached_says_why(target: str, down: bool, why: str) -> None:
    net = Net(lan(latency_s=0.1))

    async def story() -> None:
        if down:
            net.listen("b")
            net.simulation.machines["b"].crash()
        found = await net.dial("a", target)
        assert isinstance(found, str)
        assert why in found
        assert net.now() == pytest.approx(0.2 if target == "b" else 0.0, abs=1e-6)

    net.run(story)


def test_a_port_has_one_listener_at_a_time() -> None:
    net = Net()

    async def story() -> None:
        net.listen("b")
        with pytest.raises(OSError, match="port 1 of b is in use"):
            net.listen("b")
        net.simulation.machines["b"].crash()
        net.simulation.machines["b"].restart()
        net.listen("b")

    net.run(story)


def test_connecting_across_a_cut_is_tried_again_at_1_3_7_seconds_and_given_up() -> None:
    net = Net()

    async def story() -> None:
        net.listen("b")
        net.network.cut("b", "a")
        net.simulation.loop.call_later(5, net.network.heal, "b", "a")
        assert isinstance(await net.dial("a", "b"), Endpoint)
        assert net.now() == pytest.approx(7.001, abs=1e-4)
        net.network.cut("a", "b")
        assert await net.dial("a", "b") == "connection timed out"
        assert net.now() == pytest.approx(7.001 + 127, abs=1e-4)

    net.run(story)


def test_an_attempt_can_be_called_off() -> None:
    net = Net()

    async def story() -> None:
        net.listen("b")
        process = net.simulation.machines["a"].host.process
        decided: list[Any] = []
        net.network.dial(process, "b", 1, lambda *what: decided.append(what)).cancel()
        late = net.network.dial(process, "b", 1, lambda *what: decided.append(what))
        await asyncio.sleep(0.0006)  # the SYN has arrived
        late.cancel()
        await asyncio.sleep(1)
        assert decided == []
        assert [(host, why) for host, why, _ in net.broken] == [("b", "connection reset by peer")]

    net.run(story)


# Ends


def test_a_close_arrives_after_all_that_was_sent() -> None:
    net = Net(lan(bandwidth_Bps=1e6))

    async def story() -> None:
        end = await net.connect()
        net.send(end, "bulk", BULK * 2)
        net.send(end, "small", 10)
        end.close()
        await asyncio.sleep(10)
        assert net.what() == ["bulk", "small"]
        assert [(host, why) for host, why, _ in net.broken] == [("b", "closed by peer")]
        assert not net.accepted[0].open

    net.run(story)


def test_what_a_closed_end_still_has_to_send_hangs_at_a_cut_and_dies_in_a_crash() -> None:
    net = Net(lan(bandwidth_Bps=1e6))

    async def story() -> None:
        end = await net.connect()
        net.send(end, "bulk", 10**6)
        end.close()
        net.network.cut("a", "b")
        await asyncio.sleep(2)
        assert net.what() == []
        net.network.heal("a", "b")
        await asyncio.sleep(3)
        assert net.what() == ["bulk"]
        assert end not in net.network._endpoints[end.process]
        again = await net.connect()
        net.send(again, "more bulk", 10**6)
        again.close()
        net.simulation.machines["a"].crash()
        await asyncio.sleep(10)
        assert net.what() == ["bulk"]
        assert net.lost == [("more bulk", "the sender crashed")]

    net.run(story)


def test_a_crash_resets_the_peer_at_once_and_takes_what_waited() -> None:
    net = Net(lan(bandwidth_Bps=1e6))

    async def story() -> None:
        end = await net.connect()
        other = net.accepted[0]
        net.send(other, "to the dead", 10)
        net.send(end, "under way", 10)
        net.send(end, "bulk", 10**7)
        net.simulation.machines["a"].crash()
        started = net.now()
        await asyncio.sleep(10)
        assert net.what() == ["under way"]
        assert net.broken == [("b", "connection reset by peer", pytest.approx(started, abs=MS))]
        assert net.lost == [("bulk", "the sender crashed"), ("to the dead", "the receiver was gone")]

    net.run(story)


def test_an_abort_drops_what_waits() -> None:
    net = Net(lan(bandwidth_Bps=1e6))

    async def story() -> None:
        end = await net.connect()
        net.send(end, "bulk", 10**7)
        end.abort()
        await asyncio.sleep(20)
        assert net.what() == []
        assert net.lost == [("bulk", "connection aborted")]
        assert [(host, why) for host, why, _ in net.broken] == [("b", "connection reset by peer")]

    net.run(story)


def test_the_end_of_the_run_says_what_never_arrived() -> None:
    net = Net(lan(latency_s=1.0, bandwidth_Bps=1e6))

    async def story() -> None:
        end = await net.connect()
        net.send(end, "flying", 10)
        net.send(end, "bulk", 10**7)

    net.run(story)
    assert net.lost == [("flying", "the run ended"), ("bulk", "the run ended")]


# Cuts


def test_a_connection_hangs_across_a_cut_and_goes_on_with_tcps_backoff() -> None:
    net = Net()

    async def story() -> None:
        end = await net.connect()
        net.send(end, "in flight")
        await asyncio.sleep(0.0001)
        net.network.cut("a", "b")
        cut_at = net.now()
        net.send(end, "meanwhile")
        await asyncio.sleep(2)
        assert net.arrived == []
        net.network.heal("a", "b")
        await asyncio.sleep(10)
        # Tries at 0.2, 0.6, 1.4 and 3 s after the first, plus a round trip a try.
        assert net.arrived == [
            ("in flight", pytest.approx(cut_at + 3.0, abs=0.02)),
            ("meanwhile", pytest.approx(cut_at + 3.0, abs=0.02)),
        ]
        assert net.lost == net.broken == []

    net.run(story)


def test_a_cut_holds_in_its_direction_only() -> None:
    net = Net()

    async def story() -> None:
        end = await net.connect()
        net.network.cut("a", "b")
        net.send(end, "there")
        net.send(net.accepted[0], "back")
        await asyncio.sleep(1)
        assert net.what() == ["back"]

    net.run(story)


def test_a_flow_stops_at_a_cut_and_goes_on_from_there() -> None:
    net = Net(lan(latency_s=0.0, bandwidth_Bps=1e6))

    async def story() -> None:
        end = await net.connect()
        started = net.now()
        net.send(end, "bulk", 2_000_000)
        net.send(end, "after", 1)
        await asyncio.sleep(1)
        net.network.cut("a", "b")
        await asyncio.sleep(0.5)
        net.network.heal("a", "b")
        await asyncio.sleep(5)
        # One second done; cut at 1 s; tries at 1.2 and 1.6 s; one second to go.
        assert net.what() == ["bulk", "after"]
        assert net.arrived[0][1] - started == pytest.approx(2.6, abs=0.01)

    net.run(story)


def test_a_connection_across_a_lasting_cut_is_given_up_after_a_quarter_of_an_hour() -> None:
    net = Net()

    async def story() -> None:
        end = await net.connect()
        net.network.cut("a", "b")
        net.send(end, "never")
        await asyncio.sleep(3000)
        assert net.lost == [("never", "connection timed out")]
        ((host, why, at),) = net.broken
        assert (host, why) == ("a", "connection timed out")
        assert at == pytest.approx(924.6, rel=0.05)

    net.run(story)


def test_a_crash_behind_a_cut_leaves_a_half_open_connection_until_something_is_sent() -> None:
    net = Net()

    async def story() -> None:
        end = await net.connect()
        net.network.cut("b", "a")
        net.simulation.machines["b"].crash()
        net.network.heal("b", "a")
        await asyncio.sleep(1000)
        assert end.open
        assert net.broken == []
        net.send(end, "hello?")
        await asyncio.sleep(1)
        assert net.lost == [("hello?", "the receiver was gone")]
        assert [(host, why) for host, why, _ in net.broken] == [("a", "connection reset by peer")]

    net.run(story)


def test_loopback_works_in_isolation() -> None:
    net = Net()

    async def story() -> None:
        net.network.impair(Impairment(lambda a, b: True, blocks=True))
        end = await net.connect("a", "a")
        net.send(end, "me")
        await asyncio.sleep(0.01)
        assert net.what() == ["me"]

    net.run(story)


def test_a_paused_receiver_still_has_a_kernel() -> None:
    net = Net()

    async def story() -> None:
        net.listen("b")
        net.simulation.machines["b"].pause()
        assert isinstance(await net.dial("a", "b"), Endpoint)

    net.run(story)


CUTS = st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=6)


@settings(max_examples=40, deadline=None)
@given(CUTS, st.lists(st.tuples(st.integers(0, 150_000), st.floats(0, 0.5)), max_size=12), st.integers(0, 99))
def test_after_every_cut_has_healed_everything_arrives_once_and_in_order(
    cuts: list[tuple[float, bool]], messages: list[tuple[int, float]], seed: int
) -> None:
    net = Net(lan(bandwidth_Bps=1e6, jitter_s=0.01, loss=0.05), seed=seed)

    async def story() -> None:
        end = await net.connect()
        loop = net.simulation.loop
        for at, begin in cuts:
            loop.call_later(at, net.network.cut if begin else net.network.heal, "a", "b")
        loop.call_later(6, net.network.heal, "a", "b")
        for number, (size, pause) in enumerate(messages):
            net.send(end, number, size)
            await asyncio.sleep(pause)
        await asyncio.sleep(3000)
        assert end.open

    net.run(story)
    assert net.what() == list(range(len(messages)))
    assert net.lost == []
