"""The job of `mapreduce/worker-crash` comes out right, whichever workers die, in either world."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import run


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_holds_in_the_simulated_world(seed: int, interleave: bool) -> None:
    summary = run("mapreduce/worker-crash", seed=seed, interleave=interleave)
    assert summary.passed, summary


def test_it_holds_with_two_workers_left_of_five() -> None:
    """Two die, one is slow and cannot be reached by another."""
    summary = run("mapreduce/worker-crash", {"workers": 5, "reduces": 1}, seed=1)
    assert summary.passed, summary


@pytest.mark.parametrize("scenario", ["mapreduce/worker-crash", "mapreduce/standard-library"])
def test_it_holds_on_real_processes_of_which_one_is_killed(scenario: str, tmp_path: Path) -> None:
    summary = run(scenario, world="grpc", out=tmp_path / "run")
    assert summary.passed, summary
    assert summary.faults, "somebody was killed"
