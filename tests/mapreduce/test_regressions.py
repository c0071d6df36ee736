"""Runs that once went wrong, each with what was wrong."""

from __future__ import annotations

import pytest

from sim import run
from sim.faults import Action, Crash, Isolate, Partition, Pause, Slow

SEEDS = {
    21: "a completion was ignored and confirmed, then a registration on its way named it as under way",
    28: "what a worker had done but not yet told was registered without its bytes: progress fell",
    60: "as 21",
    99: "as 21",
    406: "a record was left out, and the master that died had not written down that it should be",
    444: "a job that a dead master had not made durable was begun anew; workers had been told to forget it",
}

SHRUNK = {
    1090: (
        3,
        "a worker that was given up wrote below the output folder after the job's end, and came back",
        [
            Action(1.0, Crash(host="w2"), 0.4),
            Action(4.0, Crash(host="w3"), 1.5),
            Action(6.0, Partition(groups=[["user", "w2"], ["master", "w1", "w3", "w4"]]), 4.0),
        ],
    ),
    1438: (
        2,
        "the answer to a ping was overtaken by a registration, and took the place of its newer report",
        [
            Action(0.1, Pause(host="w4"), 0.07),
            Action(0.1, Slow(host="w1", cpu=12.0), 0.1),
            Action(0.1, Isolate(host="w4"), 0.06),
            Action(0.2, Partition(groups=[["user", "w1", "w2", "w3", "w4"], ["master"]]), 0.2),
            Action(2.0, Slow(host="w4", cpu=4.0), 0.08),
            Action(4.915, Pause(host="w2"), 0.2),
            Action(5.77, Partition(groups=[["master", "user", "w1", "w2"], ["w3", "w4"]]), 0.93),
        ],
    ),
    1455: (
        2,
        "a registration was overtaken by the answer to a ping, and took the place of its newer report",
        [
            Action(6.0, Partition(groups=[["files", "master", "w1", "w3", "w4"], ["user", "w2"]]), 2.0),
            Action(6.01, Crash(host="w1"), 0.09),
            Action(7.599, Crash(host="master"), 0.1),
            Action(7.6, Partition(groups=[["master", "w3"], ["files", "user", "w1", "w2", "w4"]]), 1.8),
            Action(8.1, Crash(host="master"), 0.3),
        ],
    ),
}
"""Shrunk seeds of the swarm: how many jobs, what was wrong, the faults that are left."""


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_seeds_of_the_swarm(seed: int) -> None:
    summary = run("mapreduce/swarm", seed=seed)
    assert summary.passed, f"{SEEDS[seed]}: {summary}"


@pytest.mark.parametrize("seed", SHRUNK, ids=str)
def test_shrunk_seeds_of_the_swarm(seed: int) -> None:
    jobs, what, schedule = SHRUNK[seed]
    summary = run("mapreduce/swarm", {"jobs": jobs}, seed=seed, schedule=schedule)
    assert summary.passed, f"{what}: {summary}"


def test_replies_to_completions_are_really_lost() -> None:
    """A method named by its last part matched nothing in the simulated world."""
    summary = run("mapreduce/lost-reply")
    ignored = next(check for check in summary.checks if "ignored" in check.name)
    assert ignored.detail == "3 were"
