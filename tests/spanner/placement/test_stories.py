"""Placement at work, in whole universes: the stories hold, and fail where the last step locks nothing."""

from __future__ import annotations

import pytest

from sim import run


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("movedir-under-load", {"moves": 2}),
        ("schema-change", {"changes": 2}),
        ("split-under-load", {"clients": 2}),
    ],
)
def test_they_hold(name: str, parameters: dict[str, object]) -> None:
    told = run(f"spanner/{name}", parameters, seed=2, plots=False)
    assert told.passed, told.checks


def test_a_range_that_is_not_locked_at_its_hand_over_loses_writes() -> None:
    parameters = {"locking": False, "crashes": False}
    told = run("spanner/movedir-under-load", parameters, seed=5, plots=False)
    broken = {check.name for check in told.checks if not check.ok}
    assert "the total stays the same" in broken
    assert "each key has one owner at each timestamp" not in broken
