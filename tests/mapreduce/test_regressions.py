"""Runs that once went wrong, each with what was wrong."""

from __future__ import annotations

import pytest

from sim import run

SEEDS = {
    21: "a completion was ignored and confirmed, then a registration on its way named it as under way",
    28: "what a worker had done but not yet told was registered without its bytes: progress fell",
    60: "as 21",
    99: "as 21",
    406: "a record was left out, and the master that died had not written down that it should be",
    444: "a job that a dead master had not made durable was begun anew; workers had been told to forget it",
}


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_seeds_of_the_swarm(seed: int) -> None:
    summary = run("mapreduce/swarm", seed=seed)
    assert summary.passed, f"{SEEDS[seed]}: {summary}"


def test_replies_to_completions_are_really_lost() -> None:
    """A method named by its last part matched nothing in the simulated world."""
    summary = run("mapreduce/lost-reply")
    ignored = next(check for check in summary.checks if "ignored" in check.name)
    assert ignored.detail == "3 were"
