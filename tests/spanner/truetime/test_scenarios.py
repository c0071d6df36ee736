"""The stories about TrueTime: what they show, and that each check of theirs can fail."""

from __future__ import annotations

import pytest

from sim import run


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("time-masters-down", {}),
        ("time-masters-down", {"poll_s": 30.0, "drift": 0.0002, "down_s": 300.0}),
        ("liar-outvoted", {}),
        ("liar-outvoted", {"liars": 2, "lie_s": -0.02}),
    ],
)
def test_they_hold(name: str, parameters: dict[str, object], seed: int) -> None:
    told = run(f"spanner/{name}", parameters, seed=seed, plots=False)
    assert told.passed, told


@pytest.mark.parametrize(
    ("name", "parameters", "broken", "detail"),
    [
        ("time-masters-down", {"drift": 0}, {"TrueTime containment"}, "host1.zone"),
        ("liar-outvoted", {"liars": 3}, {"TrueTime containment", "the liars are named"}, "at worst 49.5"),
        ("liar-outvoted", {"liars": 1, "lie_s": 0.0001}, {"the liars are named"}, ""),
    ],
)
def test_without_what_protects_them_they_do_not(
    name: str, parameters: dict[str, object], broken: set[str], detail: str
) -> None:
    told = run(f"spanner/{name}", parameters, plots=False)
    assert {check.name for check in told.checks if not check.ok} == broken
    assert detail in next(check.detail for check in told.checks if not check.ok)
