"""Some of the steps of a commit of two groups, with a crash at each; `tests.spanner.every_step` takes all."""

from __future__ import annotations

import pytest

from tests.spanner.every_step import KINDS, count, tell

STRIDE = 9


@pytest.mark.parametrize(("kind", "first"), [("disk", 2), ("sender", 4), ("receiver", 7)])
def test_a_crash_at_a_step_leaves_both_groups_or_neither(kind: str, first: int) -> None:
    assert kind in KINDS
    steps = count(kind)
    assert steps > 15
    for at in range(first, steps + 1, STRIDE):
        summary = tell(kind, at)
        assert summary.verdict == "pass", (at, summary.error, [one for one in summary.checks if not one.ok])
