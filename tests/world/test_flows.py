"""Bulk transfers share links max-min fairly, and finish when that says they do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.loop import VirtualTime
from sim.world.network.flows import Flow, Flows, fair_rates
from sim.world.network.path import Link


def link(bandwidth: float) -> Link:
    return Link("a", "b", 0, bandwidth, 0, 0.0)


def nothing() -> None:
    pass


def water_filling(flows: list[Flow]) -> list[float]:
    """The definition, slowly: raise all rates a little together, until each meets a full link or its cap."""
    capacity = {one: one.bandwidth for flow in flows for one in flow.links}
    rates = [0.0] * len(flows)
    growing = set(range(len(flows)))
    while growing:
        step = min(
            [
                left / sum(1 for i in growing if one in flows[i].links)
                for one, left in capacity.items()
                if any(one in flows[i].links for i in growing)
            ]
            + [flows[i].cap - rates[i] for i in growing]
        )
        for i in growing:
            rates[i] += step
            for one in flows[i].links:
                capacity[one] -= step
        growing -= {
            i
            for i in growing
            if rates[i] >= flows[i].cap * (1 - 1e-9)
            or any(capacity[one] <= 1e-9 * one.bandwidth for one in flows[i].links)
        }
    return rates


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rates_are_those_of_water_filling(data: st.DataObject) -> None:
    links = [link(b) for b in data.draw(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=6))]
    crossed = st.lists(st.sampled_from(links), min_size=1, max_size=4, unique_by=id)
    caps = st.one_of(st.just(math.inf), st.floats(0.1, 1e9))
    flows = [
        Flow(data.draw(crossed), 1.0, data.draw(caps), nothing) for _ in range(data.draw(st.integers(1, 12)))
    ]
    fair_rates(flows)
    assert [flow.rate for flow in flows] == pytest.approx(water_filling(flows), rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_rate_can_grow_without_another_as_small_shrinking(data: st.DataObject) -> None:
    """The definition of max-min fairness: each flow crosses a full link on which none is faster."""
    links = [link(b) for b in data.draw(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=8))]
    crossed = st.lists(st.sampled_from(links), min_size=1, max_size=4, unique_by=id)
    flows = [
        Flow(chosen, 1.0, math.inf, nothing)
        for chosen in data.draw(st.lists(crossed, min_size=1, max_size=20))
    ]
    fair_rates(flows)
    load = {one: sum(flow.rate for flow in flows if one in flow.links) for one in links}
    for one in links:
        assert load[one] <= one.bandwidth * (1 + 1e-9)
    for flow in flows:
        assert any(
            load[one] >= one.bandwidth * (1 - 1e-9)
            and flow.rate >= max(other.rate for other in flows if one in other.links) * (1 - 1e-9)
            for one in flow.links
        )


def finish_times(starts: list[tuple[float, float, list[Link]]]) -> list[float]:
    """Returns when flows (start in seconds, size, links) end."""
    env = VirtualTime()
    flows = Flows(env)
    ends = [math.nan] * len(starts)

    def ended(number: int) -> None:
        ends[number] = env.now / 1e9

    def starter(number: int, at: float, size: float, links: list[Link]):  # type: ignore[no-untyped-def]
        yield env.timeout(round(at * 1e9))
        flows.start(links, size, math.inf, lambda: ended(number))

    for number, (at, size, links) in enumerate(starts):
        env.process(starter(number, at, size, links))
    env.run()
    assert len(flows) == 0
    return ends


def test_one_flow_takes_its_size_over_the_bandwidth() -> None:
    assert finish_times([(0.0, 1000.0, [link(100.0)])]) == [10.0]


def test_a_flow_that_joins_halves_the_rate_and_one_that_leaves_gives_it_back() -> None:
    shared = link(100.0)
    # Alone for 2 s (200 bytes), then half each: the second needs 4 s for its 200 bytes, the first
    # has 1000 - 200 - 200 = 600 left then, alone again.
    assert finish_times([(0.0, 1000.0, [shared]), (2.0, 200.0, [shared])]) == pytest.approx([12.0, 6.0])


def test_a_flow_held_up_elsewhere_leaves_its_share_to_others() -> None:
    shared, narrow = link(100.0), link(10.0)
    assert finish_times([(0.0, 100.0, [shared, narrow]), (0.0, 900.0, [shared])]) == pytest.approx([10, 10])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(1.0, 1e6)), min_size=1, max_size=10))
def test_a_link_works_at_full_speed_while_there_is_work(transfers: list[tuple[float, float]]) -> None:
    shared = link(1e5)
    ends = finish_times([(at, size, [shared]) for at, size in transfers])
    free = 0.0
    for at, size in sorted(transfers):
        free = max(free, at) + size / 1e5
    assert max(ends) == pytest.approx(free, abs=1e-6)


def test_small_messages_see_what_flows_leave_over_but_never_less_than_a_share() -> None:
    env = VirtualTime()
    flows = Flows(env)
    shared, narrow = link(1000.0), link(100.0)
    flows.start([shared, narrow], 1e9, math.inf, nothing)
    env.run(until=1)
    assert shared.ns_per_byte == pytest.approx(1e9 / 900.0)
    assert narrow.ns_per_byte == pytest.approx(1e9 / 50.0)
    flow = flows.start([shared], 1e9, math.inf, nothing)
    env.run(until=2)
    assert shared.ns_per_byte == pytest.approx(1e9 / (1000.0 / 3))
    flows.stop(flow)
    env.run(until=3)
    assert shared.ns_per_byte == pytest.approx(1e9 / 900.0)


def test_a_flow_that_is_stopped_says_what_was_left() -> None:
    env = VirtualTime()
    flows = Flows(env)
    flow = flows.start([link(100.0)], 1000.0, math.inf, nothing)
    env.run(until=4 * 10**9)
    assert flows.stop(flow) == pytest.approx(600.0)
    assert len(flows) == 0
