from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cluster import Cluster
from tests.real.outside import PROBE, left_over


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running cluster of three probes, a, b and c, shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("real") / "cluster"

    async def up() -> Cluster:
        cluster = Cluster.create(folder)
        for name in "abc":
            await cluster.start(name, PROBE)
        await cluster.serving()
        return cluster

    cluster = asyncio.run(up())
    yield folder
    asyncio.run(cluster.down())
    assert left_over(folder) == []
