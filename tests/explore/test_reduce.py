"""Delta debugging finds a smallest part that fails; simplifying keeps it failing."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.explore.reduce import ddmin, rounder, significant, simplify
from sim.explore.swarm import swarm
from sim.faults import Action, Crash, Delay, Partition

seeds = st.integers(0, 2**32)


def ends(action: Action) -> float:
    assert action.lasts is not None
    return action.at + action.lasts


@given(size=st.integers(1, 60), guilty=st.sets(st.integers(0, 59), max_size=4))
def test_ddmin_finds_exactly_the_guilty(size, guilty):
    guilty = {item for item in guilty if item < size}
    assert ddmin(range(size), lambda part: guilty <= set(part)) == sorted(guilty)


@given(items=st.lists(st.integers(0, 9), min_size=1, max_size=30), limit=st.integers(0, 20))
def test_what_ddmin_returns_fails_and_no_item_can_go(items, limit):
    def fails(part: list[int]) -> bool:
        return sum(part) >= limit

    if not fails(items):
        return
    small = ddmin(items, fails)
    assert fails(small)
    for i in range(len(small)):
        assert not fails(small[:i] + small[i + 1 :])


def test_ddmin_needs_few_trials():
    trials = 0

    def fails(part: list[int]) -> bool:
        nonlocal trials
        trials += 1
        return 17 in part and 80 in part

    assert ddmin(range(100), fails) == [17, 80]
    assert trials < 60


@settings(max_examples=30)
@given(seed=seeds)
def test_simplifying_keeps_the_failure_and_the_number_of_actions(seed):
    schedule = swarm(random.Random(seed), ["a", "b", "c"], seconds=10)

    def fails(candidate: list[Action]) -> bool:
        return sum(action.lasts or 0 for action in candidate) >= min(
            1.0, sum(action.lasts or 0 for action in schedule)
        )

    small = simplify(schedule, fails)
    assert fails(small)
    assert len(small) == len(schedule)


def test_durations_shrink_and_times_become_round():
    schedule = [Action(3.1415, Crash(host="a"), lasts=4.3219)]
    small = simplify(
        schedule, lambda candidate: candidate[0].at <= 3.5 <= candidate[0].at + candidate[0].lasts
    )
    assert small == [Action(3.0, Crash(host="a"), lasts=0.5)]


def test_groups_become_small_and_jitter_goes():
    schedule = [
        Action(1.0, Partition(groups=[["a", "c", "d"], ["b", "e"]]), lasts=1.0),
        Action(2.0, Delay(source="a", target="b", seconds=0.123, jitter=0.05), lasts=1.0),
    ]

    def fails(candidate: list[Action]) -> bool:
        (left, right), delay = candidate[0].fault.groups, candidate[1].fault
        return "a" in left and "b" in right and delay.seconds > 0.05

    small = simplify(schedule, fails)
    assert small[0].fault == Partition(groups=[["a"], ["b"]])
    assert small[1].fault == Delay(source="a", target="b", seconds=0.1)


@given(value=st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-6))
@example(95.0)
@example(999999.5)
def test_each_rounder_number_is_near_and_takes_fewer_digits(value):
    digits = [significant(simpler) for simpler in rounder(value)]
    assert digits == sorted(digits)
    assert all(fewer < significant(value) for fewer in digits)
    for simpler in rounder(value):
        assert abs(simpler - value) <= abs(value) / 2
        assert simpler * value > 0


def test_rounder_numbers_come_once_and_roundest_first():
    assert list(rounder(95.0)) == [100.0]
    assert list(rounder(999999.5)) == [1000000.0]
    assert list(rounder(-123.45)) == [-100.0, -120.0, -123.0, -123.5]
    assert list(rounder(20.0)) == []


def test_zeros_at_the_ends_are_not_significant():
    assert [significant(value) for value in (100.0, -95.0, 0.05, 10.5, 1e-7, 0.0)] == [1, 2, 1, 3, 1, 0]
