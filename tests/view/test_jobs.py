"""Pictures of MapReduce jobs, from notes and spans alone."""

from __future__ import annotations

from itertools import combinations

import pytest

from protos.trace import FaultEvent, HostEvent, Message, Note, Span, TraceEvent
from sim.view import KINDS, Run
from sim.view.executions import executions
from sim.view.text import amount
from tests.view.test_pictures import texts, words

S = 1_000_000_000


def note(at: float, name: str, **fields) -> Note:
    return Note(int(at * S), "master", name, "", {"job": "j", **fields})


def given(at: float, kind: str, number: int, attempt: int, worker: str, **more) -> Note:
    return note(
        at, "assigned", kind=kind, number=number, attempt=attempt, worker=worker, backup=False, **more
    )


def ended(at: float, how: str, kind: str, number: int, attempt: int, worker: str, **more) -> Note:
    return note(at, how, kind=kind, number=number, attempt=attempt, worker=worker, **more)


def span(start: float, end: float, kind: str, number: int, attempt: int, worker: str, outcome: str) -> Span:
    fields = {"job": "j", "number": number, "attempt": attempt, "outcome": outcome}
    return Span(int(end * S), worker, kind, int(start * S), "", True, fields)


def story() -> list[TraceEvent]:
    """Two workers; w2 dies without a word with map 1 and the output of map 0; a backup of map 2 wins."""
    backup = given(4.0, "map", 2, 7, "w1")
    backup.fields["backup"] = True
    return sorted(
        [
            HostEvent(0, "w1", "boot"),
            HostEvent(0, "w2", "boot"),
            note(0.5, "job started", title="t", maps=3, reduces=1),
            given(1.0, "map", 0, 1, "w2"),
            span(1.0, 2.0, "map", 0, 1, "w2", "done"),
            ended(2.0, "completed", "map", 0, 1, "w2", input_bytes=100, output_bytes=50),
            note(2.0, "progress", input_bytes=100, intermediate_bytes=50, shuffled_bytes=0, output_bytes=0),
            given(2.0, "map", 1, 2, "w2"),
            given(1.0, "map", 2, 3, "w1"),
            FaultEvent(3 * S, 1, "crash", "begin", ["w2"]),
            ended(3.5, "died", "map", 1, 2, "w2"),
            note(3.5, "reopened", kind="map", number=0, worker="w2", why="w2 failed"),
            note(4.0, "progress", input_bytes=0, intermediate_bytes=0, shuffled_bytes=0, output_bytes=0),
            backup,
            span(4.0, 5.0, "map", 2, 7, "w1", "done"),
            ended(5.0, "completed", "map", 2, 7, "w1", input_bytes=100, output_bytes=50),
            span(1.0, 5.1, "map", 2, 3, "w1", "withdrawn"),
            ended(5.1, "withdrawn", "map", 2, 3, "w1"),
            given(5.1, "map", 1, 8, "w1"),
            span(5.1, 6.0, "map", 1, 8, "w1", "failed"),
            ended(6.0, "failed", "map", 1, 8, "w1", error="boom"),
            *(e for n, a in [(0, 9), (1, 10)] for e in (
                given(6.0 + n, "map", n, a, "w1"),
                span(6.0 + n, 7.0 + n, "map", n, a, "w1", "done"),
                ended(7.0 + n, "completed", "map", n, a, "w1", input_bytes=100, output_bytes=50),
            )),
            note(8.0, "progress", input_bytes=300, intermediate_bytes=9, shuffled_bytes=100, output_bytes=0),
            given(2.0, "reduce", 0, 5, "w1"),
            span(2.0, 9.0, "reduce", 0, 5, "w1", "done"),
            ended(9.0, "completed", "reduce", 0, 5, "w1", input_bytes=150, output_bytes=30),
            note(9.0, "job finished", state="done", error=""),
            Message(9 * S, "w1", "w2", 8 * S, 1, "/Worker/Fetch", "response", size=5_000_000),
        ],
        key=lambda event: event.time,
    )  # fmt: skip


def drawn(kind: str, events: list[TraceEvent]):
    return KINDS[kind].figure(Run(events, name="lab/job"))


def test_executions_end_as_the_master_says_and_those_of_the_killed_are_not_forgotten() -> None:
    found = {(one.kind, one.number, one.host, one.outcome, one.backup) for one in executions(Run(story()))}
    assert found == {
        ("map", 0, "w2", "completed", False),
        ("map", 1, "w2", "died", False),
        ("map", 2, "w1", "withdrawn", False),
        ("map", 2, "w1", "completed", True),
        ("map", 1, "w1", "failed", False),
        ("map", 0, "w1", "completed", False),
        ("map", 1, "w1", "completed", False),
        ("reduce", 0, "w1", "completed", False),
    }
    (died,) = [one for one in executions(Run(story())) if one.outcome == "died"]
    assert (died.start, died.end) == (2 * S, 3.5 * S)


def test_the_tasks_of_a_job_by_worker() -> None:
    said = words(drawn("tasks", story()))
    for part in (
        "3 map tasks in 7 executions, 1 reduce task in 1 execution, 1 backup task, 1 failed",
        "1 died with their workers",
        "backup task",
        "not needed any more",
        "failed, or died with its worker",
        "crash w2",
    ):
        assert part in said


def test_rates_fall_below_zero_with_what_died_and_the_end_is_counted() -> None:
    figure = drawn("throughput", story())
    assert "In all 300 B input, 150 B shuffle, 30 B output." in words(figure)
    lows = [panel.get_ylim()[0] for panel in figure.axes[1:4]]
    assert lows[0] < 0, "the input of the lost map is taken away"
    assert lows[1] == lows[2] == 0


def test_jobs_of_one_cluster_are_counted_apart_and_the_shortest_too() -> None:
    events = [event for event in story() if not (isinstance(event, Note) and event.name == "progress")]
    for event in events:
        if isinstance(event, Note | Span):
            event.fields["job"] = "short"
    both = sorted(story() + events, key=lambda event: event.time)
    assert "2 jobs: 6 map tasks in 14 executions, 2 reduce tasks in 2 executions" in words(
        drawn("tasks", both)
    )
    assert "In all 600 B input, 300 B shuffle, 60 B output." in words(drawn("throughput", both))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (-1_500, "-1.5 kB"), (2e12, "2 TB"), (1e13, "10 TB")],
)
def test_amounts_of_bytes(count: float, said: str) -> None:
    assert amount(count) == said


def test_data_moved() -> None:
    said = words(drawn("moved", story()))
    assert "5 MB in all" in said
    assert "w1" in said


@pytest.mark.parametrize("kind", ["tasks", "throughput", "moved"])
@pytest.mark.parametrize("hosts", [3, 40, 300])
def test_many_workers_stay_legible(kind: str, hosts: int) -> None:
    events = story()
    for n in range(hosts * 12):
        worker = f"worker{n % hosts}"
        events += [
            given(1 + n % 7, "map", 10 + n, 100 + n, worker),
            span(1 + n % 7, 2 + n % 8, "map", 10 + n, 100 + n, worker, "done"),
        ]
        events.append(
            Message(2 * S, worker, f"worker{n * 7 % hosts}", S, n, "/Worker/Fetch", "response", size=n)
        )
    figure = drawn(kind, events)
    width, height = figure.canvas.get_width_height()
    boxes = [(one.get_text(), one.get_window_extent()) for one in texts(figure)]
    for text, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    for (a, one), (b, other) in combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or down <= 1, f"{a!r} and {b!r} overlap"
