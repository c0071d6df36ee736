"""Where Apache ZooKeeper 3.8 is at hand: it answers what was recorded, and our server what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.coordination.wire.calls import STEPS, transcript
from tests.coordination.wire.servers import APACHE, MISSING, Servers
from tests.coordination.wire.test_kazoo import EXPECTED

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def test_apache_answers_what_was_recorded(tmp_path: Path) -> None:
    with Servers(tmp_path, 1, APACHE) as servers:
        servers.start()
        servers.serving()
        answers = transcript(servers.ports[1])
    assert list(EXPECTED) == sorted(STEPS)
    assert {name: answers[name] for name in STEPS if answers[name] != EXPECTED[name]} == {}
