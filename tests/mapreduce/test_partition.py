"""Partition functions: pure, the same everywhere, within the range."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mapreduce.partition import TotalOrder, by_hash

keys = st.text() | st.integers(-(2**60), 2**60) | st.binary() | st.tuples(st.text(), st.integers(0, 9))


@given(keys, st.integers(1, 50))
def test_the_partition_of_a_key_depends_on_nothing_but_the_key(key: Any, reduces: int) -> None:
    assert 0 <= by_hash(key, reduces) < reduces
    assert by_hash(key, reduces) == by_hash(key, reduces)


def test_the_hash_is_the_same_in_every_process_and_release() -> None:
    assert [by_hash(word, 100) for word in ("a", "b", "paper")] == [85, 55, 77]
    assert [by_hash(key, 1000) for key in (b"a", 7, ("a", 7), "\udcff")] == [
        by_hash(key, 1000) for key in (b"a", 7, ["a", 7], "\udcff")
    ]


@given(st.lists(st.integers(), min_size=1), st.integers(1, 9))
def test_a_total_order_keeps_the_order_of_keys(sample: list[int], reduces: int) -> None:
    order = TotalOrder().with_cuts(sample, reduces)
    numbers = [order(key, reduces) for key in sorted(sample)]
    assert numbers == sorted(numbers) and set(numbers) <= set(range(reduces))


def test_a_sample_without_equal_keys_is_cut_evenly() -> None:
    order = TotalOrder().with_cuts(range(100), 4)
    assert order.cuts == [25, 50, 75]
    assert [[order(key, 4) for key in range(100)].count(number) for number in range(4)] == [25] * 4


def test_an_empty_sample_sends_all_to_the_first() -> None:
    assert TotalOrder().with_cuts([], 3)("any", 3) == 0


def test_without_a_sample_there_is_no_order() -> None:
    with pytest.raises(AssertionError, match="never taken"):
        TotalOrder()("a", 2)
