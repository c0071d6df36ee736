"""Pictures of anomalies: nothing overlaps, nothing leaves the sheet, and all that makes an edge is there."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sim.check.operations import calls
from sim.check.transactions.findings import Anomaly
from sim.check.transactions.timestamps import look
from sim.view.cycles import FRAME, RING, draw, figure
from tests.check.transactions.stories import in_turn, judged, together


def ring(length: int, name: str = "key") -> list[str]:
    return [f"r {name}{n} [], append {name}{(n + 1) % length} 1" for n in range(length)]


STORIES = {
    "two": together(*ring(2)),
    "three": together(*ring(3)),
    "four": together("w x 1", "w y 1", "r x 1, r y -", "r x -, r y 1"),
    "nine": together(*ring(9)),
    "too many": together(*ring(RING + 5)),
    "long names": together(*ring(5, "accounts/of-a-customer-with-a-long-name/and-more-of-it-")),
    "many operations": together(
        ", ".join(["r x []", *[f"append z{n} {n}" for n in range(20)], "append y 1"]), "r y [], append x 1"
    ),
    "no cycle": together(("append x 1", "fail"), "r x [1]", "r y [7]"),
    "long words": together(
        "append x 1", f"r x [{' '.join(map(str, range(10_000_000, 10_000_040)))}]", "r x [1]", "r x [9]"
    ),
    "real time": in_turn("append x 1", "r x []", "append y 1"),
    "many kinds": together(
        *ring(3),
        *("append x 1, append w 1", "append x 2, append w 2", "r x [1 2], r w [2 1]"),
        *("append a 1, r b [2]", "append b 2, r a [1]"),
        *("r c [], append c 1", "r c [], append c 2"),
        "r d [8]",
    ),
}


STAMPED = in_turn(
    ("w x 1", "ok", 1_700_000_000_123_456_789), ("r x 1, w y 1", "ok", 1_700_000_000_123_456_700)
)


def anomalies(name: str) -> list[Anomaly]:
    for index, event in enumerate(STORIES[name]):
        event.time = index
    return judged(STORIES[name]).anomalies


def test_timestamps_that_disagree_with_real_time_are_marked():
    ((_, replayed, _), (name, order, _)) = look(calls(STAMPED))
    assert replayed is not None
    assert order is not None
    made = figure(
        [Anomaly(name, 1, True, order.transactions, [order.words], order.cycle)], "Not external-consistency"
    )
    _check(made)
    texts = [text.get_text() for text in made.axes[0].texts]
    assert "timestamp 1700000000123456789" in texts
    assert texts.count("2") == 4  # on the arrow, at the two timestamps, at the sentence


@pytest.mark.parametrize("name", STORIES)
def test_no_text_lies_on_another_and_none_leaves_the_sheet(name):
    _check(figure(anomalies(name), f"Not serializable: {name}"))


def _check(made: Figure) -> None:
    made.draw_without_rendering()
    (axes,) = made.axes
    boxes = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    width, height = made.bbox.width, made.bbox.height
    frames = [patch.get_window_extent() for patch in axes.patches if patch.get_linewidth() == FRAME]
    for text, box in boxes:
        for frame in frames:
            if frame.contains(box.x0, box.y0):
                assert box.x1 <= frame.x1, text
                assert box.y1 <= frame.y1, text
        assert box.x0 >= 0, text
        assert box.x1 <= width, text
        assert box.y0 >= 0, text
        assert box.y1 <= height, text
    for (text, box), (other, taken) in combinations(boxes, 2):
        apart = box.x1 <= taken.x0 or taken.x1 <= box.x0 or box.y1 <= taken.y0 + 1 or taken.y1 <= box.y0 + 1
        assert apart, f"{text!r} lies on {other!r}"


def test_each_edge_is_drawn_with_its_key_and_reason_and_the_operations_that_make_it():
    (anomaly,) = anomalies("two")
    (axes,) = figure([anomaly], "Not serializable").axes
    texts = [text.get_text() for text in axes.texts]
    assert {"rw key0", "rw key1"} <= set(texts)
    assert {"r key0 = []", "append key1 1", "r key1 = []", "append key0 1"} <= set(texts)
    assert set(anomaly.words) <= set(texts)
    assert (texts.count("1"), texts.count("2")) == (4, 4)  # on the arrow, at two operations, at the sentence


def test_what_is_not_drawn_is_named():
    texts = [text.get_text() for text in figure(anomalies("many kinds"), "Not serializable").axes[0].texts]
    assert texts[-1].startswith("Not drawn: ")


def test_the_same_anomalies_give_the_same_bytes(tmp_path: Path):
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        draw(anomalies("four"), "Not serializable", path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
