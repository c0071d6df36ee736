"""Numbers beside the paper's: how a run reports them, and how they are read off the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.papers.mapreduce_sort import FIGURES
from scenarios.papers.overlay import share_time, sort_numbers
from sim import World, run, scenario
from sim.scenario.summary import Measure
from sim.scenario.told import table


@scenario(checks=("there",), plots=("overlay",))
async def measuring(world: World) -> None:
    """Measures."""
    world.measure("speed", 110.0, paper=100.0, unit="MB/s")
    world.measure("found", 3)
    line = {"name": "x", "x": [0, 1, 2], "y": [0, 5, 0]}
    world.note(
        "overlay",
        title="curves",
        low=0,
        high=2,
        panels=[
            {
                "label": "y",
                "low": 0,
                "high": 6,
                "curves": [{**line, "paper": paper} for paper in (True, False)],
            }
        ],
        marks=[{"name": "done", "x": 2, "paper": False}],
    )
    world.check("there", True)


@scenario(checks=("there",))
async def endless(world: World) -> None:
    """Measures what is no number."""
    world.measure("speed", float("nan"))


def test_numbers_are_in_the_summary_and_the_curves_in_a_picture(tmp_path: Path) -> None:
    summary = run(measuring, out=tmp_path / "run", plots=True)
    said = json.loads((tmp_path / "run" / "summary.json").read_bytes())["measures"]
    assert said[0] == {
        "name": "speed",
        "value": 110.0,
        "unit": "MB/s",
        "paper": 100.0,
        "error": pytest.approx(0.1),
    }
    assert said[1] == {"name": "found", "value": 3}
    assert summary.pictures == ["overlay.png"]
    assert (tmp_path / "run" / "overlay.png").stat().st_size > 10_000


def test_a_number_must_be_finite() -> None:
    summary = run(endless)
    assert summary.verdict == "error"
    assert "not a finite number" in summary.error


def test_the_table_shows_both_and_the_error() -> None:
    lines = table([Measure("total", 155, "s", 150, 155 / 150 - 1), Measure("machines", 1746)])
    assert [line.split() for line in lines] == [
        ["here", "paper", "error"],
        ["total,", "s", "155", "150", "+3.3%"],
        ["machines", "1,746"],
    ]


def test_the_papers_numbers_are_read_off_its_figures() -> None:
    numbers = {name: value for name, (value, _) in sort_numbers(FIGURES["a"], None).items()}
    assert numbers["input peak"] == pytest.approx(13_196, rel=1e-3)
    assert numbers["input peak at"] == pytest.approx(54, abs=1)
    assert numbers["shuffle, first hump"] == pytest.approx(5452, rel=1e-3)
    assert numbers["shuffle, second hump peak at"] == pytest.approx(407, abs=1)
    assert numbers["first-wave share of shuffle"] == pytest.approx(43.6, abs=0.3)
    assert numbers["output, first hump peak at"] == pytest.approx(286, abs=1)


@pytest.mark.parametrize(("share", "when"), [(0.5, 79), (0.9, 113)])
def test_times_of_shares_are_those_of_the_digest(share: float, when: float) -> None:
    assert share_time(FIGURES["a"].input, share) == pytest.approx(when, abs=6)
