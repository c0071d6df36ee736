"""What the file service promises, under crashes, torn writes, rot, full disks, cuts and lost replies."""

from __future__ import annotations

import pytest

from tests.files.hunt import Hunt


# 80: a replica that was removed and made again between two heartbeats was both new and gone
@pytest.mark.parametrize("seed", [0, 1, 2, 80])
def test_nothing_is_lost_mixed_up_or_left_behind(seed: int) -> None:
    hunt = Hunt(seed, interleave=bool(seed % 2))
    hunt.run()
    assert hunt.answers > 100
    assert hunt.failures < hunt.answers
