"""Random faults, for a few seeds; `python -m tests.coordination.peer.hunt FIRST LAST` takes more."""

from __future__ import annotations

import pytest

from tests.coordination.peer.hunt import Hunt


@pytest.mark.parametrize(("seed", "size", "observers"), [(1, 3, 0), (2, 3, 0), (3, 4, 1), (4, 5, 0)])
def test_what_is_delivered_is_never_lost_nor_differs(seed: int, size: int, observers: int) -> None:
    hunt = Hunt(seed, size, observers, interleave=bool(seed % 2), length=12.0)
    hunt.run()
    assert len(hunt.order) > 100
