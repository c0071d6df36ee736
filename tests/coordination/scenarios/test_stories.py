"""Stories of `scenarios/coordination`: each ends well, and fails where its protection is turned off."""

from __future__ import annotations

import pytest

from sim.scenario.run import run

STORIES = {
    "follower-crash": {"downtime": 1.0},
    "minority-partition": {"seconds": 2.0},
    "one-way-partition": {"deaf": False, "seconds": 2.5},
    "flapping-link": {"flaps": 2},
    "slow-disk": {"seconds": 1.0},
    "failed-sync": {"seconds": 1.0},
    "torn-log": {"crashes": 3},
    "power-cut": {},
    "session-expiry": {},
    "session-move": {"moves": 2},
    "watch-race": {"changes": 6},
    "hidden-channel": {"calls": 5},
    "lock-herd": {"clients": 8},
    "double-barrier": {},
    "fuzzy-snapshot": {},
    "rolling-restart": {},
    "reconfigure": {},
    "observer": {},
    "stale-leader": {},
}
"""With what makes them shorter, where that is worth it."""

UNPROTECTED = [
    ("follower-crash", {"down": 2, "downtime": 1.0}, "the service goes on"),
    ("minority-partition", {"on_its_side": 3, "seconds": 1.0}, "the majority goes on"),
    ("flapping-link", {"links": 2, "flaps": 1}, "the leader stays"),
    ("slow-disk", {"slow": 2, "seconds": 0.5}, "as fast as the fastest majority"),
    ("session-expiry", {"short": 2.9}, "a short silence is forgiven"),
    ("session-move", {"reaches": 1, "moves": 1}, "no change is missed"),
    ("watch-race", {"how": "look"}, "nobody reads a mixture"),
    ("hidden-channel", {"synced": False, "calls": 3}, "no read after a sync is stale"),
    ("lock-herd", {"second": "simple", "clients": 6}, "the other one wakes the next"),
    ("double-barrier", {"size": 5, "lost": False}, "nobody begins before all are there"),
    ("fuzzy-snapshot", {"megabytes": 0}, "the snapshot shows a state that never was"),
    ("rolling-restart", {"leader": "first"}, "one election"),
    ("stale-leader", {"sync": "leader"}, "no synced read is stale"),
]
"""Story, parameters that take the protection away, the check that finds it."""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_well(name):
    summary = run(f"coordination/{name}", STORIES[name], seed=11)
    assert summary.verdict == "pass", summary


@pytest.mark.parametrize(("name", "parameters", "check"), UNPROTECTED)
def test_without_its_protection_the_check_fails(name, parameters, check):
    summary = run(f"coordination/{name}", parameters, seed=0)
    assert summary.verdict == "fail", summary
    assert check in {one.name for one in summary.checks if not one.ok}


@pytest.mark.parametrize("name", ["one-way-partition", "session-move", "stale-leader"])
def test_in_whatever_order_ready_tasks_run(name):
    summary = run(f"coordination/{name}", {}, seed=5, interleave=True)
    assert summary.verdict == "pass", summary


@pytest.mark.parametrize("name", ["hidden-channel", "lock-herd"])
def test_a_story_ends_well_on_real_processes(name):
    summary = run(f"coordination/{name}", {}, world="grpc")
    assert summary.verdict == "pass", summary
