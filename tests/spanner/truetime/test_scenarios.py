"""The stories about TrueTime: what they show, and that each check of theirs can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sim import run
from sim.explore.sweep import sweep

if TYPE_CHECKING:
    from pathlib import Path

ORDER = {"strict-serializable", "external consistency"}


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
    ("name", "parameters", "broken", "detail"),
    [
        ("time-masters-down", {"drift": 0}, {"TrueTime containment"}, "s1 at"),
        (
            "liar-outvoted",
            {"liars": 3},
            {*ORDER, "TrueTime containment", "the liars are named"},
            "at worst 49.5",
        ),
        ("clock-bound-violation", {}, {*ORDER, "TrueTime containment"}, "s2 at 0.0"),
        ("liar-outvoted", {"liars": 1, "lie_s": 0.0001}, {"the liars are named"}, ""),
    ],
)
def test_without_what_protects_them_they_do_not(
    name: str, parameters: dict[str, object], broken: set[str], detail: str
) -> None:
    told = run(f"spanner/{name}", parameters, plots=False)
    assert {check.name for check in told.checks if not check.ok} >= broken
    assert any(detail in check.detail for check in told.checks if not check.ok)


def test_a_sweep_finds_what_the_commit_wait_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = sweep("spanner/no-commit-wait", range(200), fail_fast=True)
    (failure,) = found.failures
    assert failure.failed.keys() == ORDER
    for seed in (failure.seed, failure.seed + 1):
        assert run("spanner/no-commit-wait", {"wait": True}, seed=seed, plots=False).passed
