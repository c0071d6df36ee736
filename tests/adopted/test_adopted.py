"""A service that knows nothing of dsim runs in both worlds, and what retrying does to it shows in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.adopted import till
from sim import run


@pytest.mark.parametrize("world", ["sim", "grpc"])
def test_an_unchanged_service_runs_in_either_world(world: str, tmp_path: Path) -> None:
    assert run("adopted/payments", world=world, out=tmp_path / "run").verdict == "pass"


@pytest.mark.parametrize("world", ["sim", "grpc"])
def test_a_retry_after_a_lost_reply_is_counted_twice_in_either_world(world: str, tmp_path: Path) -> None:
    summary = run("adopted/payments", {"retry": True}, world=world, out=tmp_path / "run")
    failed = [check.name for check in summary.checks if not check.ok]
    assert (summary.verdict, failed) == ("fail", ["no payment counted twice"])


def test_the_service_knows_nothing_of_dsim() -> None:
    source = Path(till.__file__).read_text().split('"""', 2)[2]
    assert not any(word in source for word in ("sim", "Host", "services"))
