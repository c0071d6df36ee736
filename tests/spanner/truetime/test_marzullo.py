"""Marzullo's algorithm with a bound on liars: laws, and the case that decides for the bound."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from services.spanner.truetime.marzullo import agree

Intervals = st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 15)), min_size=1, max_size=7).map(
    lambda found: [(low, low + width) for low, width in found]
)


@given(Intervals, st.integers(0, 7))
def test_it_is_the_hull_of_the_points_that_enough_contain(
    intervals: list[tuple[int, int]], liars: int
) -> None:
    """Compared with counting at every point. All ends are whole, so no point between two matters."""
    need = len(intervals) - liars
    points = [
        at for at in range(-25, 40) if sum(low <= at <= high for low, high in intervals) >= need and need > 0
    ]
    found = agree(intervals, liars)
    if not points:
        assert found is None
        return
    assert found is not None
    assert (found.low, found.high) == (points[0], points[-1])
    apart = [
        place for place, (low, high) in enumerate(intervals) if not any(low <= at <= high for at in points)
    ]
    assert list(found.liars) == apart


@given(st.integers(-20, 20), Intervals, Intervals)
def test_whatever_a_minority_says_the_truth_is_inside_and_no_honest_one_is_named(
    truth: int, honest: list[tuple[int, int]], lying: list[tuple[int, int]]
) -> None:
    honest = [(truth - (high - low) // 2, truth + (high - low + 1) // 2) for low, high in honest]
    lying = lying[: max(0, len(honest) - 1)]
    intervals = lying + honest
    found = agree(intervals, (len(intervals) - 1) // 2)
    assert found is not None
    assert found.low <= truth <= found.high
    assert all(place < len(lying) for place in found.liars)


@given(Intervals, st.integers(0, 3), st.integers(-1000, 1000))
def test_it_moves_with_time(intervals: list[tuple[int, int]], liars: int, by: int) -> None:
    found = agree(intervals, liars)
    moved = agree([(low + by, high + by) for low, high in intervals], liars)
    assert moved == (found and (found.low + by, found.high + by, found.liars))


@given(Intervals.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))), st.integers(0, 3))
def test_the_order_of_masters_does_not_matter(
    orders: tuple[list[tuple[int, int]], list[tuple[int, int]]], liars: int
) -> None:
    one, other = (agree(order, liars) for order in orders)
    assert (one and one[:2]) == (other and other[:2])


@given(Intervals, st.integers(0, 6))
def test_to_allow_for_more_liars_never_makes_it_surer(intervals: list[tuple[int, int]], liars: int) -> None:
    assume(liars + 1 < len(intervals))
    found, wider = agree(intervals, liars), agree(intervals, liars + 1)
    if found is not None:
        assert wider is not None
        assert wider.low <= found.low
        assert found.high <= wider.high


def test_the_liar_is_named() -> None:
    assert agree([(0, 10), (60, 61), (5, 15)], 1) == (5, 10, (1,))


def test_two_that_contradict_each_other_are_not_believed() -> None:
    assert agree([(0, 10), (20, 30)], 0) is None


def test_where_all_may_lie_nobody_is_believed() -> None:
    assert agree([(0, 10)], 1) is None
    assert agree([], 0) is None


def test_liars_that_agree_do_not_outvote_a_near_master_with_the_help_of_far_ones() -> None:
    """Two far masters (± 20), a near one (± 1) and two liars: four of the five contain 7, three contain 0."""
    far, near, lie = (-20, 20), (-1, 1), (6, 8)
    found = agree([far, far, near, lie, lie], 2)
    assert found == (-1, 8, ())
