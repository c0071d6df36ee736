"""Every story about MapReduce holds, in the simulated world; the main ones on real processes too."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import run
from sim.scenario.discover import find
from sim.scenario.errors import InvalidInput

SMALL: dict[str, dict[str, object]] = {
    "word-count": {},
    "worker-crash": {},
    "straggler": {},
    "master-crash": {},
    "network-cut": {
        "workers": 10,
        "cut": 3,
        "seconds": 20.0,
        "reduces": 10,
        "split_bytes": 1500,
        "cost_per_byte": 0.01,
    },
    "slow-disk": {},
    "bad-record": {},
    "lost-reply": {},
    "disk-full": {},
    "skewed-keys": {},
    "elastic": {},
    "nondeterministic": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_it_holds_in_the_simulated_world(name: str) -> None:
    summary = run(f"mapreduce/{name}", SMALL[name])
    assert summary.passed, summary


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_whichever_workers_die(seed: int, interleave: bool) -> None:
    summary = run("mapreduce/worker-crash", seed=seed, interleave=interleave)
    assert summary.passed, summary


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("seed", range(1000, 1004))
def test_whatever_happens(seed: int, interleave: bool) -> None:
    summary = run("mapreduce/swarm", seed=seed, interleave=interleave)
    assert summary.passed, summary


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    traces = []
    for name in ("first", "second"):
        run("mapreduce/swarm", seed=7, out=tmp_path / name)
        traces.append((tmp_path / name / "trace.jsonl").read_bytes())
    assert traces[0] == traces[1]


@pytest.mark.parametrize("name", ["word-count", "worker-crash", "bad-record"])
def test_it_holds_on_real_processes(name: str, tmp_path: Path) -> None:
    summary = run(f"mapreduce/{name}", world="grpc", out=tmp_path / "run")
    assert summary.passed, summary


@pytest.mark.parametrize("name", [*SMALL, "swarm", "standard-library"])
@pytest.mark.parametrize("parameter", ["workers", "reduces", "split_bytes"])
def test_what_makes_no_job_is_refused_before_anything_runs(name: str, parameter: str) -> None:
    if parameter in find(f"mapreduce/{name}").parameters:
        with pytest.raises(InvalidInput, match=f"parameter {parameter}=0: expected"):
            run(f"mapreduce/{name}", {parameter: 0})
