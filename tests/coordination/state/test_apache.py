"""What was seen of Apache ZooKeeper 3.8 when both were asked the same, where no paper or manual says it."""

from __future__ import annotations

import pytest

from services.coordination.api import Code, Create, CreateMode, Exists, GetData
from tests.coordination.state.service import Service


@pytest.mark.parametrize(
    "mode", [CreateMode.CONTAINER, CreateMode.PERSISTENT_TTL, CreateMode.PERSISTENT_SEQUENTIAL_TTL]
)
def test_only_an_ephemeral_has_an_owner(mode: CreateMode) -> None:
    service = Service()
    created = service.do(Create("/x", mode=mode, ttl=1000 if mode.has_ttl else 0))
    assert created.result.stat.ephemeral_owner == 0  # type: ignore[union-attr]


def test_a_path_with_a_nul_is_refused_by_exists_and_nowhere_to_others() -> None:
    service = Service()
    assert service.read(Exists("/\0")) is Code.BAD_ARGUMENTS
    assert service.read(GetData("/\0")) is Code.NO_NODE
