"""The witness: each number once, to a member, and never forgotten."""

from __future__ import annotations

import pytest

from protos.log_pb2 import View
from services.primary_backup.witness import may_follow

BOTH = View(number=3, primary="a", backup="b")
ALONE = View(number=3, primary="a")


@pytest.mark.parametrize(
    ("view", "wanted", "may"),
    [
        (BOTH, View(number=4, primary="a"), True),  # the primary drops its backup
        (BOTH, View(number=4, primary="b"), True),  # the backup takes over
        (ALONE, View(number=4, primary="a", backup="b"), True),  # the other has caught up
        (ALONE, View(number=4, primary="a"), True),  # the primary was restarted
        (ALONE, View(number=4, primary="b"), False),  # who is not a member may lack something
        (BOTH, View(number=3, primary="b"), False),  # a number is given once
        (BOTH, View(number=5, primary="b"), False),  # a step is not left out
        (BOTH, View(number=4, primary="a", backup="a"), False),
        (ALONE, View(number=4, primary=""), False),
    ],
)
def test_the_next_view(view, wanted, may):
    assert may_follow(view, wanted) is may
