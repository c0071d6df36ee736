"""The stories about TrueTime: what they show, and that each check of theirs can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sim import run
from sim.explore.sweep import sweep

if TYPE_CHECKING:
    from pathlib import Path

    from sim.scenario.summary import Summary

ORDER = {"strict-serializable", "external consistency"}
CONTAINED, NAMED = "TrueTime containment", "the liars are named"
_stories: dict[str, Summary] = {}


def told_by(name: str, **parameters: object) -> Summary:
    """Returns what a story tells; it is run once."""
    key = f"{name} {sorted(parameters.items())}"
    if key not in _stories:
        _stories[key] = run(f"spanner/{name}", parameters, plots=False)
    return _stories[key]


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("time-masters-down", {}),
        ("time-masters-down", {"poll_s": 30.0, "drift": 0.0002, "down_s": 300.0}),
        ("liar-outvoted", {}),
        ("liar-outvoted", {"liars": 2, "lie_s": -0.02}),
        ("clock-bound-violation", {"liars": 2}),
    ],
)
def test_they_hold(name: str, parameters: dict[str, object], seed: int) -> None:
    told = run(f"spanner/{name}", parameters, seed=seed, plots=False)
    assert told.passed, told


@pytest.mark.parametrize(
    ("name", "parameters", "broken", "check", "detail"),
    [
        ("time-masters-down", {"drift": 0}, {CONTAINED}, CONTAINED, "s1 at"),
        ("liar-outvoted", {"liars": 3}, {*ORDER, CONTAINED, NAMED}, CONTAINED, "at worst 49.5"),
        (
            "liar-outvoted",
            {"liars": 3},
            {*ORDER, CONTAINED, NAMED},
            NAMED,
            "was taken for a liar, and is none",
        ),
        ("clock-bound-violation", {}, {*ORDER, CONTAINED}, CONTAINED, "s2 at 0.0"),
        ("clock-bound-violation", {}, {*ORDER, CONTAINED}, "external consistency", "but T3 has timestamp"),
        ("liar-outvoted", {"liars": 1, "lie_s": 0.0001}, {NAMED}, NAMED, "gps1.z1 lied, and nobody said"),
    ],
)
def test_without_what_protects_them_they_do_not(
    name: str, parameters: dict[str, object], broken: set[str], check: str, detail: str
) -> None:
    told = told_by(name, **parameters)
    failed = {check.name for check in told.checks if not check.ok}
    assert broken <= failed <= broken | ORDER  # whether a clock that is wrong is found out is chance
    assert detail in next(one.detail for one in told.checks if one.name == check)


def test_a_sweep_finds_what_the_commit_wait_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = sweep("spanner/no-commit-wait", range(200), fail_fast=True)
    (failure,) = found.failures
    assert failure.failed.keys() == ORDER
    for seed in (failure.seed, failure.seed + 1):
        assert run("spanner/no-commit-wait", {"wait": True}, seed=seed, plots=False).passed
