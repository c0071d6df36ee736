"""The first scenarios: what they show, in both worlds, and that they are the same every time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim import Summary, run

BASICS = ("basics/ping", "basics/clocks", "basics/disk")


@pytest.fixture(scope="session", params=BASICS)
def simulated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return run(request.param, out=tmp_path_factory.mktemp("runs") / "run", plots=True)


def test_it_holds_in_the_simulated_world(simulated: Summary) -> None:
    assert simulated.passed, simulated


def test_its_pictures_are_drawn_and_it_is_told_in_words(simulated: Summary) -> None:
    assert simulated.pictures
    for picture in simulated.pictures:
        assert (Path(simulated.folder) / picture).read_bytes().startswith(b"\x89PNG")
    assert f"{simulated.scenario} (seed 0) took" in simulated.words


def test_it_is_the_same_under_another_hash_seed_and_with_nothing_kept(simulated: Summary) -> None:
    again = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from sim import run; print(run({simulated.scenario!r}).trace_sha256)",
        ],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.strip() == simulated.trace_sha256


def test_another_seed_is_another_run() -> None:
    assert run("basics/ping", seed=1).trace_sha256 != run("basics/ping", seed=2).trace_sha256


def test_interleaving_is_another_run_that_repeats_itself() -> None:
    first, second = (run("basics/disk", seed=3, interleave=True) for _ in range(2))
    assert first.passed, first
    assert first.trace_sha256 == second.trace_sha256 != run("basics/disk", seed=3).trace_sha256


def test_many_disks_crash_in_many_ways() -> None:
    """What was not synced survives on some hosts, on others not: the seed decides, and each ending occurs."""
    details = {check.name: check.detail for check in run("basics/disk", {"hosts": 40}).checks}
    assert "all of them are left" in details["unsynced bytes"]
    assert "none of them are left" in details["unsynced bytes"]
    assert "new file is there" in details["unsynced rename"]
    assert "old file is there" in details["unsynced rename"]


def test_clocks_are_wrong_by_what_was_set() -> None:
    summary = run("basics/clocks", {"skew": -3.0, "drift": -0.2, "jump": 60.0})
    assert summary.passed, summary


@pytest.mark.parametrize("name", BASICS)
def test_it_holds_on_real_processes(name: str, tmp_path: Path) -> None:
    params = {"hosts": 1} if name == "basics/disk" else {}
    summary = run(name, params, world="grpc", out=tmp_path / "run")
    assert summary.passed, summary
    trace = [json.loads(line) for line in (tmp_path / "run" / "trace.jsonl").read_text().splitlines()]
    times = [event["time"] for event in trace]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= summary.virtual_s * 1.5e9
    assert {event["kind"] for event in trace} >= {"message", "host", "fault"}
    assert summary.events == len(trace)
