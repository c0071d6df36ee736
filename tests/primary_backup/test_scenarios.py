"""The two scenarios: a sweep finds the mistake, shrinking explains it, and its twin has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.explore.shrink import shrink
from sim.explore.sweep import sweep
from sim.scenario.run import run


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def failure(tmp_path_factory):
    """The first failure that a sweep finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("swept"))
        (failure,) = sweep("basics/lost-write", range(200), fail_fast=True).failures
        failure.folder = str(Path(failure.folder).absolute())
    return failure


def test_a_sweep_finds_the_lost_write_and_shrinking_leaves_what_matters(failure):
    assert "nothing lost" in failure.failed
    assert "was acknowledged at position" in failure.failed["nothing lost"]
    small = shrink(Path(failure.folder), runs=150)
    assert small.check == "nothing lost"
    assert len(small.schedule) <= 3
    assert len(small.schedule) < small.before


@pytest.mark.parametrize("interleave", [False, True])
def test_the_honest_twin_survives_its_swarms(interleave):
    result = sweep("basics/primary-backup", range(8), interleave=interleave)
    assert result.exit_status == 0, result.failures
    assert result.programs == {}


def test_without_the_mistake_the_same_faults_lose_nothing(failure):
    summary = run("basics/lost-write", {"early": False}, seed=failure.seed)
    assert summary.verdict == "pass", summary
