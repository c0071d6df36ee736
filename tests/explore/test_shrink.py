"""Shrinking failed runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.explore.shrink import shrink
from sim.explore.sweep import sweep, table
from sim.faults import Crash, Isolate
from sim.scenario.errors import InvalidInput
from sim.scenario.folder import load_schedule, read_summary
from sim.scenario.replay import replay
from sim.scenario.run import run

STORIES = Path(__file__).with_name("stories.py")
FAILING = 5  # a seed with which `two_down` fails


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def failed():
    summary = run(f"{STORIES}:two_down", seed=FAILING, out="failed")
    assert summary.verdict == "fail"
    return Path("failed")


def test_what_matters_is_left_and_said_in_words(failed):
    result = shrink(failed)
    assert [action.fault for action in result.schedule] == [Isolate(host="b"), Crash(host="a")]
    assert result.finished
    assert result.params == {"extra": 1}
    words = result.describe()
    assert f"still fails with 2 actions of {result.before}" in words
    assert "host b is cut off from everybody" in words
    assert "dsim replay failed-shrunk" in words


def test_the_new_folder_holds_the_smallest_run(failed):
    result = shrink(failed)
    folder = Path(result.folder)
    assert folder == Path("failed-shrunk")
    assert read_summary(folder).failed() == ["together"]
    assert load_schedule(folder / "schedule.json") == result.schedule
    assert replay(folder).identical


def test_where_no_faults_are_played_a_parameter_is_made_smaller():
    run(f"{STORIES}:too_many", out="many")
    result = shrink(Path("many"))
    assert result.params == {"rounds": 3}
    assert "'few' still fails (after" in result.describe()
    assert replay(Path(result.folder)).identical


def test_a_sweep_proposes_to_shrink_what_can_be_shrunk():
    assert "shrink: dsim shrink" in table(sweep(f"{STORIES}:too_many", range(1)))
    assert "shrink: dsim shrink" not in table(sweep(f"{STORIES}:trouble", range(3, 4)))


def test_the_same_run_shrinks_to_the_same(failed):
    first, second = shrink(failed), shrink(failed)
    assert (first.schedule, first.runs) == (second.schedule, second.runs)
    assert Path(second.folder) == Path("failed-shrunk-2")


def test_a_budget_ends_the_search_with_what_was_found(failed):
    result = shrink(failed, runs=4)
    assert not result.finished
    assert result.runs == 4
    assert len(result.schedule) < result.before
    assert "the budget ended the search" in result.describe()


def test_a_passed_run_cannot_be_shrunk():
    run(f"{STORIES}:trouble", seed=0, out="passed")
    with pytest.raises(InvalidInput, match="verdict 'pass'"):
        shrink(Path("passed"))


def test_a_run_without_faults_cannot_be_shrunk():
    run(f"{STORIES}:calm", out="calm")
    with pytest.raises(InvalidInput, match="plays no faults"):
        shrink(Path("calm"))


def test_a_failure_that_does_not_come_back_is_said(failed):
    (failed / "schedule.json").write_text("[]")
    with pytest.raises(InvalidInput, match="does not fail again"):
        shrink(failed)
    assert not Path("failed-shrunk").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"check": "apart"}, "'apart' did not fail"),
        ({"runs": 0}, "at least one run"),
        ({"out": STORIES.parent}, "not empty"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(failed, arguments, problem):
    with pytest.raises(InvalidInput, match=problem):
        shrink(failed, **arguments)


def test_what_is_no_run_folder_is_named():
    with pytest.raises(InvalidInput, match="no run folder nowhere"):
        shrink(Path("nowhere"))
