"""Percentiles are right to within 1 %."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.trace.latency import Durations, in_words


@given(
    st.lists(st.integers(1, 10**15), min_size=1, max_size=300),
    st.integers(1, 9),
    st.sampled_from([0.5, 0.95, 0.99, 1.0]),
)
def test_a_percentile_is_within_one_percent_of_the_exact_one(
    values: list[int], times: int, part: float
) -> None:
    found = Durations()
    values *= times
    for value in values:
        found.add(value)
    exact = sorted(values)[max(1, math.ceil(part * len(values))) - 1]
    assert found.percentile(part) == pytest.approx(exact, rel=0.01)


@given(st.lists(st.integers(0, 10**12)), st.lists(st.integers(0, 10**12)), st.integers(1, 90))
def test_merged_histograms_are_the_histogram_of_all(left: list[int], right: list[int], times: int) -> None:
    left = left * times
    merged, other, together = Durations(), Durations(), Durations()
    for value in left:
        merged.add(value)
        together.add(value)
    for value in right:
        other.add(value)
        together.add(value)
    merged.merge(other)
    assert vars(merged) == vars(together)


def test_few_durations_have_exact_percentiles_and_many_take_little_memory() -> None:
    found = Durations()
    for value in range(1, 101):
        found.add(value * 1_000_003)
    assert found.percentile(0.99) == 99 * 1_000_003
    for value in range(1, 50_000):
        found.add(value)
    assert len(found._exact) + len(found._counts) < 2000


def test_no_durations_have_no_percentile() -> None:
    assert math.isnan(Durations().percentile(0.5))


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 s"),
        (999, "999 ns"),
        (1_500, "1.5 µs"),
        (2_000_000, "2 ms"),
        (61_500_000_000, "61.5 s"),
        (999_700_000, "1 s"),
        (999_400_000_000, "999 s"),
        (3_600_000_000_000, "3,600 s"),
    ],
)
def test_durations_in_words(ns: int, text: str) -> None:
    assert in_words(ns) == text
