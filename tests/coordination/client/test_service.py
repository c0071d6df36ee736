"""The client on the real service: in the simulated world with crashes, and on real processes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from services.cluster import Cluster
from services.coordination.api import CreateMode, EventType
from services.coordination.client import Client, ConnectionLoss, Watch, retry
from services.coordination.recipes import Lock
from sim.faults import Crash
from tests.coordination.recipes.real import RealRig
from tests.coordination.recipes.stories import play, weather


@pytest.mark.parametrize("seed", range(2))
def test_pipelined_writes_keep_their_order_while_servers_crash(seed: int) -> None:
    """Of each session: what was acknowledged is there, once, in order, and zxids never go back."""

    async def story(rig):
        hosts = [rig.simulation.boot(f"c{number}") for number in range(2)]
        stop = False

        async def write(host):
            async with rig.client(host, timeout=6.0) as client:
                parent = await retry_create(client, f"/{host.name}")
                acknowledged, zxid, number = [], 0, 0
                while not stop:
                    batch = range(number, number + 20)
                    number += 20
                    calls = [
                        client.create(f"{parent}/{item:06d}-", mode=CreateMode.PERSISTENT_SEQUENTIAL)
                        for item in batch
                    ]
                    for call in calls:
                        with suppress(ConnectionLoss):
                            acknowledged.append((await call).rpartition("/")[2])
                    assert client.last_zxid >= zxid
                    zxid = client.last_zxid
                    await asyncio.sleep(0.2)
                await retry(client.sync)
                names = await retry(client.children, parent)
                there = sorted(names, key=lambda name: int(name[-10:]))
                assert set(acknowledged) <= set(there)
                items = [name[:6] for name in there]
                assert items == sorted(set(items))  # none twice, none before one that was sent earlier
                assert acknowledged == [name for name in there if name in dict.fromkeys(acknowledged)]
                return len(acknowledged)

        writing = [asyncio.create_task(write(host)) for host in hosts]
        await play(rig, weather(rig, [host.name for host in hosts]))
        await asyncio.sleep(2)
        stop = True
        assert min(await asyncio.gather(*writing)) > 100

    RealRig(3, seed=seed, interleave=seed % 2 == 1).run(story)


async def retry_create(client, path):
    while True:
        with suppress(ConnectionLoss):
            return await client.create(path)
        if await retry(client.exists, path):
            return path


def test_watches_survive_the_crash_of_the_server_that_had_them() -> None:
    async def story(rig):
        host, writer_host = rig.simulation.boot("c1"), rig.simulation.boot("c2")
        async with rig.client(host, timeout=6.0) as client, rig.client(writer_host, timeout=6.0) as writer:
            await writer.create("/a", b"0")
            for number in range(1, 7):
                await client.sync()
                told = []
                await client.get("/a", watch=Watch(told.append))
                fault = rig.faults.inject(Crash(host=f"zk{number % 3 + 1}"))
                await retry(writer.set, "/a", b"%d" % number)
                while (await retry(client.get, "/a"))[0] != b"%d" % number:
                    await asyncio.sleep(0.01)
                assert [event.type for event in told] == [EventType.DATA_CHANGED]  # before the reply
                rig.faults.lift(fault)
                await asyncio.sleep(2)

    RealRig(3).run(story)


def test_on_real_processes(tmp_path: Path) -> None:
    asyncio.run(on_real_processes(tmp_path / "cluster"))


async def on_real_processes(folder):
    async with Cluster.create(folder) as cluster:
        names = ["zk1", "zk2", "zk3"]
        members = [f"server.{n}={name}:2888:3888:participant" for n, name in enumerate(names, 1)]
        for number, name in enumerate(names, 1):
            parameters = {"server": number, "members": members, "tick": 0.2}
            await cluster.start(name, "services.coordination.server:serve", parameters)
        async with Client(cluster.client("me"), names, timeout=4.0, within=30.0) as client:
            await client.create("/a")
            writes = [client.set("/a", b"%d" % number) for number in range(1000)]
            assert (await asyncio.gather(*writes))[-1].version == 1000
            async with Lock(client, "/lock") as lock:
                for name in names:  # one of them leads, one has the client
                    await cluster.kill(name)
                    assert (await retry(client.get, "/a"))[0] == b"999"
                    await retry(client.set, "/a", b"999")
                    await cluster.restart(name)
                    await asyncio.sleep(1.0)
                assert lock.held
                assert (await retry(client.exists, "/a")).version >= 1003
