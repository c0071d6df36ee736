"""The same file service on real processes, one of which dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.cluster import Cluster
from services.files.api import FileInfo, Range
from services.files.chunkserver import CHUNK_PORT
from services.files.client import FileClient


async def story(folder: Path) -> None:
    cluster = Cluster.create(folder)
    try:
        parameters = {"chunk_bytes": 1 << 20, "replicas": 2, "silence": 2.0}
        await cluster.start("files", "services.files.master:serve", parameters)
        for name, rack in (("c1", "a"), ("c2", "b"), ("c3", "c")):
            beside = {"neighbour": "services.echo:serve", "rack": rack}
            await cluster.start(name, "services.files.beside:serve", beside)
        await cluster.serving(["files"], 30)
        await cluster.serving(["c1", "c2", "c3"], 30, CHUNK_PORT)
        files = FileClient(cluster.client("user"), "files")
        content = bytes(range(256)) * 10_000
        while len((await held_by(files))[0]) < 3:  # until all have found their master
            await files.write("probe", b"x", replicas=3)
        await files.write("out/.temporary/a", content)
        assert await files.commit("out/.temporary/a", "out/part")
        assert not await files.commit("out/.temporary/a", "probe")
        (held,) = await files.locate([Range("out/part", 0, -1)])
        assert sum(held.values()) == 2 * len(content)
        await cluster.kill(next(iter(held)))
        assert await files.read("out/part") == content
        async with asyncio.timeout(30):
            while sum((await files.locate([Range("out/part", 0, -1)]))[0].values()) < 2 * len(content):
                await asyncio.sleep(0.2)
        await cluster.kill("files")
        await cluster.restart("files")
        assert await files.list("out") == [FileInfo("out/part", len(content))]
        assert await files.read("out/part", 1_000_000, 100_000) == content[1_000_000:1_100_000]
    finally:
        await cluster.down()


async def held_by(files: FileClient) -> list[dict[str, int]]:
    if not await files.exists("probe"):
        return [{}]
    return await files.locate([Range("probe", 0, -1)])


def test_a_chunkserver_and_the_master_may_die(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path / "cluster"))
