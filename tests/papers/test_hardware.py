"""The fluid model: time is shared fairly, and no region is pulled twice or forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.papers.disks import share
from scenarios.papers.shuffle import Shuffle

seconds = st.floats(0, 10, allow_nan=False)


@given(st.lists(st.tuples(seconds, seconds, seconds, seconds), min_size=1, max_size=5), st.floats(0.1, 5))
def test_time_is_shared_max_min_fair(columns: list[tuple[float, ...]], budget: float) -> None:
    wanted = np.array(columns).T
    given_ = share(wanted, np.full(len(columns), budget))
    assert (given_ <= wanted + 1e-9).all()
    assert given_.sum(axis=0) == pytest.approx(np.minimum(wanted.sum(axis=0), budget))
    for column in range(len(columns)):
        short = wanted[:, column] - given_[:, column] > 1e-9
        if short.any():  # who gets less than it wants gets no less than anybody
            assert given_[short, column].min() >= given_[:, column].max() - 1e-9


def test_what_is_offered_is_pulled_once() -> None:
    shuffle = Shuffle(3)
    shuffle.offer(0, np.array([5, 7, 0]), 0.0)
    shuffle.ask(np.array([8.0, 0, 0]))
    assert shuffle.serve(np.ones(3)) == pytest.approx([8, 0, 0])
    shuffle.ask(np.array([100.0, 0, 0]))
    assert shuffle.serve(np.ones(3)) == pytest.approx([4, 0, 0], rel=1e-4)
    assert shuffle.waiting[0] == 0


def test_a_source_that_is_busy_is_waited_for() -> None:
    shuffle = Shuffle(2)
    shuffle.offer(0, np.array([10, 10]), 1.0)
    shuffle.ask(np.array([100.0, 0]))
    assert shuffle.asked == pytest.approx([10, 10])
    assert shuffle.serve(np.array([1.0, 0.5]))[0] == pytest.approx(15)
    assert shuffle.pending[0].tolist() == pytest.approx([0, 5])


def test_a_disk_serves_first_who_asked_first() -> None:
    shuffle = Shuffle(2)
    for reduce in (1, 0):
        shuffle.clear(reduce)  # begins
        shuffle.offer(reduce, np.array([10, 0]), 1.0)
    shuffle.ask(np.array([100.0, 100.0]))
    assert shuffle.asked == pytest.approx([20, 0])
    assert shuffle.serve(np.array([0.6, 1.0])) == pytest.approx([2, 10])
    assert shuffle.waiting == pytest.approx([8, 0])


def test_what_is_in_the_page_cache_needs_no_disk() -> None:
    shuffle = Shuffle(2)
    shuffle.offer(0, np.array([4, 4]), 0.5)
    shuffle.ask(np.array([100.0, 0]))
    assert shuffle.serve(np.zeros(2))[0] == pytest.approx(4)
    assert shuffle.cold[0] == pytest.approx(1)


def test_what_a_dead_source_had_is_not_waited_for() -> None:
    shuffle = Shuffle(2)
    shuffle.offer(0, np.array([3, 4]), 0.0)
    shuffle.forsake(0, 1)
    assert shuffle.waiting[0] == 3
