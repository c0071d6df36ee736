"""Zab's properties under random schedules: crashes between any steps, cuts, lost writes, reconfigurations.

`python -m tests.coordination.zab.schedules` runs as many as one likes; what they have found has tests of
its own.
"""

from __future__ import annotations

import pytest

from tests.coordination.zab.schedules import run, seeded

PARTS, EACH = 8, 25


@pytest.mark.parametrize("part", range(PARTS))
def test_every_property_holds_under_every_schedule(part: int) -> None:
    for seed in range(part * EACH, (part + 1) * EACH):
        try:
            run(seeded(seed))
        except AssertionError as error:
            error.add_note(f"seed {seed}: python -m tests.coordination.zab.schedules {seed} 1")
            raise


def test_schedules_come_to_all_that_they_are_to_try() -> None:
    """Else they would prove nothing."""
    seen: dict[str, int] = {}
    for seed in range(60):
        ensemble = run(seeded(seed))
        for kind, count in ensemble.counts.items():
            seen[kind] = seen.get(kind, 0) + count
        seen["epochs"] = seen.get("epochs", 0) + len(ensemble.witness.primaries)
    for kind in ("Truncate", "Install", "SendHistory", "SendSnapshot", "Activated", "Hangup", "Lost"):
        assert seen.get(kind, 0) > 5, seen
    assert seen["epochs"] > 100
