"""`dsim up coordination`, on real processes: an ensemble serves, loses its leader, and goes on."""

from __future__ import annotations

import asyncio

import msgspec

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from services.cluster import Cluster
from services.coordination.api import CoordinationError
from services.coordination.client import Client
from services.systems import find_system


async def leader(host, names):
    while True:
        for name in names:
            answer = await rpc.CoordinationStub(host.connect(name)).Report(pb.Inquiry(), timeout=5)
            if msgspec.json.decode(answer.json)["zk_server_state"] == "leader":
                return name
        await asyncio.sleep(0.05)


async def again(call, *args):
    while True:
        try:
            return await call(*args)
        except CoordinationError as exc:
            assert exc.code.name == "CONNECTION_LOSS"


def test_three_processes_serve_and_survive_the_death_of_their_leader(tmp_path):
    async def test():
        async with Cluster.create(tmp_path / "cluster") as cluster:
            nodes = find_system("coordination").nodes(3)
            await cluster.start_all((node.name, node.program, node.parameters, node.adopt) for node in nodes)
            names = [node.name for node in nodes]
            await cluster.serving(names)
            host = cluster.client("me")
            async with Client(host, names, timeout=20, within=60) as client:
                await client.create("/a", b"1")
                await asyncio.gather(*(client.set("/a", b"%d" % n) for n in range(500)))
                dead = await leader(host, names)
                await cluster.kill(dead)
                await again(client.set, "/a", b"after")
                await cluster.restart(dead)
                await cluster.serving([dead])
            async with Client(host, [dead], timeout=20, within=60) as client:
                await client.sync()
                assert (await client.get("/a"))[0] == b"after"

    asyncio.run(test())
