"""The picture of Spanner's groups: who led them, and what is left of a lease whose leader died."""

from __future__ import annotations

from pathlib import Path

from sim import run
from sim.trace.read import read_history, read_trace
from sim.view import KINDS, Run
from sim.view.led import led


def of(folder: Path) -> Run:
    return Run(list(read_trace(folder / "trace.jsonl")), list(read_history(folder / "history.jsonl")))


def words(told: Run) -> str:
    figure = KINDS["groups"].figure(told)
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    return " ".join(text.get_text() for text in texts)


def test_a_lease_outlives_its_leader_and_only_then_another_leads(tmp_path: Path) -> None:
    run(
        "spanner/leader-crash",
        {"lease": 1.0, "downtime": 0.5, "clients": 2},
        out=tmp_path / "run",
        plots=False,
    )
    told = of(tmp_path / "run")
    found = led(told)
    first, second = found.reigns[1][:2]
    (crash,) = [fault for fault in told.faults if fault.name == "crash"]
    assert (first.host, first.stopped) == (crash.hosts[0], crash.start)
    assert first.stopped < first.end <= second.start  # what is known of its end is never too much
    assert second.host != first.host and second.start - first.end < 500_000_000
    assert not any(first.stopped < at < second.start for at in found.commits[1])
    said = words(told)
    assert "rest of a lease" in said and f"led by {first.host}" in said and "read-write transaction" in said


def test_of_reads_of_the_past_it_says_how_old_they_were(tmp_path: Path) -> None:
    run("spanner/stale-reads", {"staleness": 0.5, "clients": 1}, out=tmp_path / "run", plots=False)
    told = of(tmp_path / "run")
    figure = KINDS["groups"].figure(told)
    (ages,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("age of")]
    oldest = max(float(age) for line in ages.lines for age in line.get_ydata())
    assert 0.5e9 <= oldest < 0.52e9


def test_moves_are_named_by_their_groups(tmp_path: Path) -> None:
    run(
        "spanner/movedir-under-load",
        {"moves": 1, "clients": 1, "crashes": False},
        out=tmp_path / "run",
        plots=False,
    )
    told = of(tmp_path / "run")
    moves = led(told).moves
    assert moves and all(start < end for start, end, _ in moves)
    assert moves[0][2] in words(told)


def test_of_what_is_no_spanner_it_says_so(tmp_path: Path) -> None:
    run("basics/ping", out=tmp_path / "run", plots=False)
    assert "No group had a leader" in words(of(tmp_path / "run"))
