"""Random faults, for a few seeds; `python -m tests.spanner.replica.hunt FIRST LAST` takes more."""

from __future__ import annotations

import pytest

from tests.spanner.replica.hunt import Hunt


@pytest.mark.parametrize(("seed", "size"), [(1, 3), (2, 3), (3, 3), (4, 5), (5, 5)])
def test_the_invariants_hold_under_all_faults(seed: int, size: int) -> None:
    hunt = Hunt(seed, size, interleave=bool(seed % 2), length=10.0)
    hunt.run()
    assert sum(len(history.acknowledged) for history in hunt.histories) > 50
