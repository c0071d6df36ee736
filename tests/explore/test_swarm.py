"""A swarm is a random schedule that keeps its promises whatever the seed."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.explore.swarm import DEFAULT, ON_REQUEST, swarm
from sim.faults import KINDS, Action, read_schedule, write_schedule

HOSTS = ["a", "b", "c"]

seeds = st.integers(0, 2**32)
hosts = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=5, unique=True)
kinds = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, unique=True)


def kind_of(action: Action) -> str:
    return str(action.fault.__struct_config__.tag)


def down(schedule: list[Action], at: float) -> list[str]:
    """The hosts that are crashed or paused at a time, once for each such fault."""
    return [
        action.fault.host
        for action in schedule
        if kind_of(action) in ("crash", "pause") and action.at <= at <= action.at + (action.lasts or 0)
    ]


@given(seed=seeds, hosts=hosts, seconds=st.floats(0.5, 100), intensity=st.floats(0.1, 5))
def test_everything_is_healed_before_the_end(seed, hosts, seconds, intensity):
    for action in swarm(random.Random(seed), hosts, seconds=seconds, intensity=intensity):
        assert 0 <= action.at < seconds
        assert type(action.fault).lasting == (action.lasts is not None)
        assert action.at + (action.lasts or 0) < seconds


@given(seed=seeds)
def test_the_same_seed_gives_the_same_swarm(seed):
    first, second = (swarm(random.Random(seed), HOSTS, seconds=10) for _ in range(2))
    assert first == second
    assert read_schedule(write_schedule(first)) == first


@given(seed=seeds, kinds=kinds)
def test_a_set_of_kinds_gives_the_same_swarm_as_a_list(seed, kinds):
    as_list = swarm(random.Random(seed), HOSTS, seconds=10, kinds=kinds)
    assert as_list == swarm(random.Random(seed), HOSTS, seconds=10, kinds=set(kinds))


@given(seed=seeds, kinds=kinds)
def test_only_kinds_that_were_named_occur(seed, kinds):
    used = {kind_of(action) for action in swarm(random.Random(seed), HOSTS, seconds=20, kinds=kinds)}
    assert used <= set(kinds) | ({"crash"} if "torn-write" in kinds else set())


@given(seed=seeds)
def test_kinds_left_out_do_not_occur(seed):
    used = {kind_of(action) for action in swarm(random.Random(seed), HOSTS, seconds=20, without=["pause"])}
    assert used.isdisjoint({"pause", *ON_REQUEST})


@given(seed=seeds, hosts=hosts, limit=st.integers(1, 3))
def test_no_more_hosts_are_down_than_allowed_and_none_twice(seed, hosts, limit):
    schedule = swarm(random.Random(seed), hosts, seconds=20, intensity=4, max_down=limit)
    for action in schedule:
        struck = down(schedule, action.at)
        assert len(struck) <= limit
        assert len(struck) == len(set(struck))


@given(seed=seeds, hosts=hosts)
def test_clients_are_only_cut_off_or_slowed_on_the_way(seed, hosts):
    for action in swarm(random.Random(seed), hosts, seconds=20, clients=["client"]):
        if "client" in action.fault.hosts():
            assert kind_of(action) in ("partition", "cut", "isolate", "delay", "loss")


@given(seed=seeds)
def test_a_torn_write_comes_with_the_crash_that_tears_it(seed):
    schedule = swarm(random.Random(seed), HOSTS, seconds=10, kinds=["torn-write"])
    crashes = {(action.at, action.fault.host) for action in schedule if kind_of(action) == "crash"}
    assert crashes == {
        (action.at, action.fault.host) for action in schedule if kind_of(action) == "torn-write"
    }


@given(seed=seeds)
def test_no_reply_is_lost_on_a_host_that_is_down(seed):
    kinds = ["lose-reply", "crash", "pause"]
    schedule = swarm(random.Random(seed), HOSTS, seconds=10, kinds=kinds, intensity=5)
    for action in schedule:
        if kind_of(action) == "lose-reply":
            assert action.fault.host not in down(schedule, action.at)


def test_each_kind_has_runs_with_it_and_runs_without_it():
    runs = Counter[str]()
    for seed in range(300):
        runs.update({kind_of(action) for action in swarm(random.Random(seed), HOSTS, seconds=20)})
    assert set(runs) == set(DEFAULT)
    for kind, count in runs.items():
        assert 30 < count < 270, (kind, count)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"kinds": ["crush"]}, "no kind of fault 'crush'"),
        ({"without": ["crush"]}, "no kind of fault 'crush'"),
        ({"kinds": ["crash"], "without": ["crash"]}, "at least one kind"),
        ({"seconds": 0}, "above zero"),
        ({"hosts": []}, "needs hosts"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, problem):
    arguments = {"hosts": HOSTS, "seconds": 10, **arguments}
    with pytest.raises(ValueError, match=problem):
        swarm(random.Random(0), arguments.pop("hosts"), **arguments)
