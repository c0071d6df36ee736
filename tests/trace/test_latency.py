"""Percentiles are right to within 3 %."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.trace.latency import Durations, in_words


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_three_percent_of_the_exact_one(values: list[int], part: float) -> None:
    found = Durations()
    for value in values:
        found.add(value)
    exact = sorted(values)[max(1, math.ceil(part * len(values))) - 1]
    assert found.percentile(part) == pytest.approx(exact, rel=0.03)


@given(st.lists(st.integers(0, 10**12)), st.lists(st.integers(0, 10**12)))
def test_merged_histograms_are_the_histogram_of_all(left: list[int], right: list[int]) -> None:
    merged, other, together = Durations(), Durations(), Durations()
    for value in left:
        merged.add(value)
        together.add(value)
    for value in right:
        other.add(value)
        together.add(value)
    merged.merge(other)
    assert vars(merged) == vars(together)


def test_no_durations_have_no_percentile() -> None:
    assert math.isnan(Durations().percentile(0.5))


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0 s"), (999, "999 ns"), (1_500, "1.5 µs"), (2_000_000, "2 ms"), (61_500_000_000, "61.5 s")],
)
def test_durations_in_words(ns: int, text: str) -> None:
    assert in_words(ns) == text
