"""The commit-wait diagram: which transactions it shows, and what it says of them."""

from __future__ import annotations

from pathlib import Path

from sim import run
from sim.trace.read import read_history, read_trace
from sim.view import KINDS, Run
from sim.view.committed import shown


def of(folder: Path, start: int | None = None) -> Run:
    history = list(read_history(folder / "history.jsonl"))
    return Run(list(read_trace(folder / "trace.jsonl")), history, start=start)


def words(told: Run) -> str:
    figure = KINDS["commit-wait"].figure(told)
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return " ".join(text.get_text() for text in found)


def test_of_a_run_in_order_it_shows_a_transaction_over_two_groups(tmp_path: Path) -> None:
    run("spanner/bank", {"seconds": 1.0}, out=tmp_path / "run", plots=False)
    told = of(tmp_path / "run")
    (one,) = shown(told)
    assert [part.role for part in one.parts] == ["coordinator", "participant"]
    first = one.parts[0]
    # All in absolute time: TT.now() held true, the start rule, and s passed before the client knew.
    assert all(low <= moment <= high for part in one.parts for _, moment, low, high in part.intervals)
    assert {name: high for name, _, _, high in first.intervals}["arrived"] < one.timestamp
    assert one.called < first.start < one.timestamp < first.end < one.returned
    assert f"{one.name} of {one.client} in groups" in words(told)
    later = of(tmp_path / "run", start=one.returned)
    assert all(again.parts[0].start >= one.returned for again in shown(later))


def test_of_a_run_that_breaks_external_consistency_it_shows_the_two(tmp_path: Path) -> None:
    summary = run("spanner/clock-bound-violation", out=tmp_path / "run", plots=False)
    told = of(tmp_path / "run")
    before, second = shown(told)
    assert before.returned <= second.called and before.timestamp > second.timestamp
    detail = next(check.detail for check in summary.checks if check.name == "external consistency")
    assert f"{before.name} had ended" in detail and f"{second.name} began" in detail
    said = words(told)
    assert f"s of {before.name}" in said and f"s of {second.name}" in said
    assert "The clock of s2 is outside its bound" in said and "ms too early" in said
