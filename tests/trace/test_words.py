"""A run is told in one paragraph with its numbers, its faults in order, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from protos.history import Operation
from protos.trace import FaultEvent
from sim.trace.read import TraceError
from sim.trace.words import of_run, paragraph
from tests.trace.story import save, tell

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


def test_a_run_is_told() -> None:
    story = tell(servers=3, calls=100)
    summary = {
        "scenario": "lab/story",
        "seed": 7,
        "world": "sim",
        "verdict": "pass",
        "checks": [{"name": "answered", "ok": True}],
    }
    told = paragraph(story.events, story.history, summary)
    assert "\n" not in told
    assert told.startswith("lab/story (seed 7) took 2.48 s of virtual time, with 4 hosts (")
    assert "100 calls: " in told
    assert " INTERNAL and " in told
    assert " without an answer; the median took 3." in told
    assert (
        "At 625 ms server1 crashed and came back after 625 ms, at 750 ms server2 was paused for 250 ms"
        in told
    )
    assert "the clock of server3 jumped. Clients invoked 100 operations: " in told
    assert told.endswith("Verdict: pass; its check held (answered).")


def test_faults_are_told_with_what_they_acted_on() -> None:
    told = paragraph(
        [
            FaultEvent(S, 1, "partition", "begin", ["a", "b", "c"], {"groups": [["a", "b"], ["c"]]}),
            FaultEvent(2 * S, 2, "delay", "begin", ["a", "b"], {"source": "a", "target": "b", "seconds": 1}),
            FaultEvent(3 * S, 1, "partition", "end", ["a", "b", "c"]),
            FaultEvent(4 * S, 3, "moonquake", "once", ["c"]),
        ]
    )
    assert (
        "At 1 s the network split (a, b | c) for 2 s, at 2 s messages a → b were delayed to the end" in told
    )
    assert "at 4 s moonquake of c." in told


def test_many_faults_are_counted() -> None:
    told = paragraph([FaultEvent(n, n, "clock-jump", "once", ["a"]) for n in range(1, 30)])
    assert "and 21 more faults followed." in told


def test_a_violated_check_is_named_with_its_detail() -> None:
    checks = [
        {"name": "acknowledged", "ok": True},
        {"name": "durable", "ok": False, "detail": "write 7 is gone"},
    ]
    told = paragraph([], (), {"verdict": "fail", "checks": checks})
    assert told.endswith("Verdict: fail; violated: durable (write 7 is gone).")


def test_of_an_error_the_last_line_is_told() -> None:
    told = paragraph([], (), {"verdict": "error", "error": "Traceback ...\n  File ...\nValueError: no\n"})
    assert told.endswith("Verdict: error (ValueError: no).")


def test_operations_are_counted_by_outcome() -> None:
    steps: list[tuple[int, Any]] = [
        (1, "invoke"),
        (1, "ok"),
        (1, "invoke"),
        (1, "fail"),
        (2, "invoke"),
        (3, "invoke"),
    ]
    steps.append((2, "info"))
    history = [Operation(who, type, "w", 1, n * S, n) for n, (who, type) in enumerate(steps)]
    told = paragraph([], history)
    assert "4 operations: 1 succeeded, 1 failed and of 2 the outcome is unknown (median 1" in told


def test_an_empty_run_is_told() -> None:
    assert paragraph([]) == "The run took 0 s, with no host that did anything. No fault was injected."


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    folder = save(tell(), tmp_path / "run")
    (folder / "summary.json").write_text("{")
    with pytest.raises(TraceError, match=r"summary\.json: "):
        of_run(folder)
