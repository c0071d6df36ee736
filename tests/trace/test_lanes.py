"""Spans in one lane are apart or nested, whatever the spans."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sim.trace import lanes
from sim.trace.lanes import Lanes

Spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda one: (one[0], one[0] + one[1])), max_size=60
).map(lambda spans: sorted(spans, key=lambda span: span[1]))


@given(Spans)
def test_spans_of_a_lane_are_apart_or_nested(spans: list[tuple[int, int]]) -> None:
    found = Lanes(nest=True)
    placed: dict[int, list[tuple[int, int]]] = {}
    for start, end in spans:
        placed.setdefault(found.place(start, end), []).append((start, end))
    for lane in placed.values():
        for number, (a, b) in enumerate(lane):
            for c, d in lane[number + 1 :]:
                apart = b <= c or d <= a
                nested = (c <= a and b <= d) or (a <= c and d <= b)
                assert apart or nested
                if a == c and b != d:
                    assert a in (b, d), "which of them encloses the other would depend on the reader"


@given(Spans)
def test_spans_of_a_lane_without_nesting_are_apart(spans: list[tuple[int, int]]) -> None:
    found = Lanes(nest=False)
    placed: dict[int, list[tuple[int, int]]] = {}
    for start, end in spans:
        placed.setdefault(found.place(start, end), []).append((start, end))
    for lane in placed.values():
        for (_, end), (start, _) in pairwise(lane):
            assert end <= start


def test_what_fits_into_one_lane_gets_one_lane() -> None:
    found = Lanes(nest=True)
    assert [found.place(*span) for span in [(1, 3), (4, 5), (0, 9), (10, 12)]] == [0, 0, 0, 0]


def test_memory_does_not_grow_with_the_number_of_spans() -> None:
    found = Lanes(nest=True)
    for at in range(0, 20 * lanes.MEMORY, 2):
        assert found.place(at, at + 1) == 0
    assert len(found._lanes[0].outermost) <= lanes.MEMORY
    assert found.place(0, 20 * lanes.MEMORY) == 1  # it would enclose spans that are forgotten
