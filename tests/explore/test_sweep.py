"""Sweeps: what they count, what they keep, what they survive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from sim.explore import pool
from sim.explore.jobs import Job
from sim.explore.pool import Pool
from sim.explore.sweep import seeds, sweep, table
from sim.scenario.errors import InvalidInput

STORIES = Path(__file__).with_name("stories.py")
TROUBLE = f"{STORIES}:trouble"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_seeds_are_half_open_or_single():
    assert seeds("3:6") == range(3, 6)
    assert seeds("7") == range(7, 8)


@pytest.mark.parametrize("text", ["", "a", "1:", ":2", "5:5", "5:1", "1:2:3", "1.5"])
def test_what_is_no_range_of_seeds_is_refused(text):
    with pytest.raises(InvalidInput, match="--seeds"):
        seeds(text)


def test_a_sweep_counts_every_way_to_end_and_goes_on():
    result = sweep(TROUBLE, range(9), jobs=2)
    assert (result.run, result.passed, result.failed, result.errors) == (9, 6, 1, 2)
    assert result.checks == {"even": [3]}
    by_seed = {failure.seed: failure for failure in result.failures}
    assert list(by_seed) == [3, 5, 7]
    assert by_seed[3].failed == {"even": "three is odd"}
    assert "five is too many" in by_seed[5].error
    assert by_seed[7].error == "its worker process died: killed by SIGKILL"
    assert result.exit_status == 1


def test_failing_runs_are_kept_and_passing_ones_leave_nothing():
    result = sweep(TROUBLE, range(2, 5), jobs=1)
    assert [folder.name for folder in Path("runs/stories/trouble").iterdir()] == ["sim-seed3"]
    assert result.failures[0].folder == "runs/stories/trouble/sim-seed3"
    summary = msgspec.json.decode(Path("runs/stories/trouble/sim-seed3/summary.json").read_bytes())
    assert summary["verdict"] == "fail"


def test_a_sweep_in_which_all_pass_leaves_no_folder():
    assert sweep(TROUBLE, range(3), jobs=1).exit_status == 0
    assert not Path("runs").exists()


def test_everything_is_kept_on_request():
    sweep(TROUBLE, range(2), jobs=1, keep=True, out=Path("here"))
    assert sorted(folder.name for folder in Path("here").iterdir()) == ["sim-seed0", "sim-seed1"]


def test_errors_alone_end_with_three():
    assert sweep(TROUBLE, range(5, 6), jobs=1).exit_status == 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_fail_fast_gives_the_smallest_failing_seed_whatever_the_jobs(jobs):
    result = sweep(TROUBLE, range(100), jobs=jobs, fail_fast=True)
    assert [failure.seed for failure in result.failures] == [3]
    assert result.run == 4
    assert [folder.name for folder in Path("runs/stories/trouble").iterdir()] == ["sim-seed3"]


def test_runs_that_end_at_the_same_moment_may_drop_one_another(monkeypatch):
    with Pool(2) as workers:
        ready = workers._selector.select

        def when_all_are_done(timeout):
            while len(found := ready(timeout)) < len(workers._busy):
                time.sleep(0.01)
            return sorted(found, key=lambda one: workers._busy[one[0].fd].job.seed)

        monkeypatch.setattr(workers._selector, "select", when_all_are_done)
        ended = []
        for outcome in workers.run(
            Job(TROUBLE, {}, "sim", seed, None, False, "", False, None) for seed in (1, 3)
        ):
            ended.append(outcome.seed)
            workers.drop(after=outcome.seed)
    assert ended == [1]


def test_a_run_that_nothing_stops_is_ended_and_the_sweep_goes_on(monkeypatch):
    monkeypatch.setattr(pool, "GRACE_S", -8.0)  # before the run's own watchdog says so
    result = sweep(TROUBLE, range(8, 11), jobs=1, limit_s=10)
    assert (result.passed, result.errors) == (2, 1)
    assert "was ended" in result.failures[0].error


def test_the_table_says_what_failed_and_how_to_go_on():
    words = table(sweep(TROUBLE, range(30, 40), {"modulus": 20}, jobs=2))
    assert "seeds 30:40: 10 run, 0 passed, 10 failed, 0 errors" in words
    assert "small    10  30, 31, 32, 33, 34, 35, ..." in words
    assert "--seed 30 --set modulus=20" in words
    assert "kept:   runs/stories/trouble/sim-seed30" in words


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"jobs": 0}, "--jobs 0"),
        ({"world": "grcp"}, "no world 'grcp'"),
        ({"world": "grpc", "jobs": 2}, "one at a time"),
        ({"world": "grpc", "interleave": True}, "--interleave needs"),
        ({"limit_s": 0}, "needs some time"),
        ({"params": {"modulus": "x"}}, "modulus=x"),
        ({"params": {"module": 1}}, "no parameter 'module'"),
        ({"scenario": "basics/pong"}, "did you mean basics/ping"),
        ({"out": STORIES.parent}, "not an empty folder"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments, problem):
    with pytest.raises(InvalidInput, match=problem):
        sweep(**{"scenario": TROUBLE, "seeds": range(3), **arguments})


def test_workers_are_replaced_from_time_to_time(monkeypatch):
    monkeypatch.setattr(pool, "RUNS", 2)
    assert sweep(TROUBLE, range(10, 13), jobs=1).passed == 3
    assert sweep(TROUBLE, range(10, 13), jobs=2).passed == 3


def test_leaving_the_pool_ends_its_workers():
    with Pool(1) as workers:
        workers.one(Job(TROUBLE, {}, "sim", 0))
        process = workers._idle[0].process
        assert process.poll() is None
    assert process.poll() is not None


def dsim(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", "from sim.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts children in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_a_sweep_is_ended_its_workers_are_gone(how):
    if how == signal.SIGTERM:  # a shell without a terminal has what it runs in the background ignore Ctrl-C
        usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = dsim("sweep", TROUBLE, "--seeds", "9", "--jobs", "1")  # hangs
    if how == signal.SIGTERM:
        signal.signal(signal.SIGINT, usual)
    deadline = time.monotonic() + 20
    while not (children := children_of(process.pid)) or not Path("runs/stories/trouble/sim-seed9").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    if how != signal.SIGKILL:
        assert process.returncode == 130, err
        assert "interrupted: 1 seeds were not run" in out
    deadline = time.monotonic() + 20
    while any(alive(int(child)) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
