"""The whole server in the simulated world: an ensemble, its clients, and what happens to disks."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from services.coordination.api import Code, CoordinationError, CreateMode, SessionState
from services.coordination.client import Client, ConnectionLoss, NoNode, NotReadOnly
from services.coordination.server import serve
from services.coordination.state.acl import digest_id
from sim.faults import Crash, DiskFull, Isolate, Pause, SyncFails
from sim.world.faults import Faults
from sim.world.simulation import Simulation

TICK = 0.2


class World:
    """Servers zk1, zk2, ... and a client's host."""

    def __init__(self, servers=3, observers=0, seed=0, **settings):
        self.simulation = Simulation(seed, limit_s=600)
        self.faults = Faults(self.simulation)
        self.names = [f"zk{n}" for n in range(1, servers + observers + 1)]
        roles = ["participant"] * servers + ["observer"] * observers
        self.members = [
            f"server.{n}={name}:2888:3888:{role}"
            for n, (name, role) in enumerate(zip(self.names, roles, strict=True), 1)
        ]
        for n, name in enumerate(self.names, 1):
            self.boot(name, n, **settings)
        self.host = self.simulation.boot("client")

    def boot(self, name, number, **settings):
        program = {"server": number, "members": self.members, "tick": TICK, **settings}
        self.simulation.boot(name, serve, program)

    def client(self, *servers, **options):
        return Client(self.host, list(servers or self.names), timeout=10 * TICK, within=60, **options)

    async def figures(self, name):
        stub = rpc.CoordinationStub(self.host.connect(name))
        return msgspec.json.decode((await stub.Report(pb.Inquiry(), timeout=1)).json)

    async def leader(self, among=()):
        while True:
            for name in among or self.names:
                try:
                    if (await self.figures(name))["zk_server_state"] == "leader":
                        return name
                except Exception:
                    pass
            await asyncio.sleep(TICK)

    async def follower(self):
        leader = await self.leader()
        name = next(name for name in self.names if name != leader)
        return name, [other for other in self.names if other != name]

    def run(self, test):
        async def main():
            await test(self)

        self.simulation.run(main(), name="client")


def test_an_ensemble_elects_a_leader_and_serves():
    async def test(world):
        async with world.client() as client:
            await client.create("/a", b"1")
            assert (await client.get("/a"))[0] == b"1"
        states = sorted([(await world.figures(name))["zk_server_state"] for name in world.names])
        assert states == ["follower", "follower", "leader", "observer"]

    World(3, observers=1).run(test)


def test_a_single_server_is_an_ensemble():
    async def test(world):
        async with world.client() as client:
            await client.create("/a", b"1")
            await client.sync()

    World(1).run(test)


def test_what_was_acknowledged_survives_a_power_cut_of_all():
    async def test(world):
        async with world.client() as client:
            await asyncio.gather(*(client.create(f"/{n}", b"x" * n) for n in range(200)))
            await client.create("/mine", mode=CreateMode.EPHEMERAL)
        crashes = [world.faults.inject(Crash(host=name)) for name in world.names]
        await asyncio.sleep(1)
        for crash in crashes:
            world.faults.lift(crash)
        async with world.client() as client:
            assert len(await client.children("/")) == 201
            assert (await client.get("/150"))[0] == b"x" * 150
            with pytest.raises(NoNode):
                await client.get("/mine")

    World(3, snap_count=50).run(test)


def test_a_minority_serves_nobody_and_its_clients_find_the_majority():
    async def test(world):
        leader = await world.leader()
        async with world.client(leader) as stuck, world.client() as free:
            await stuck.create("/a")
            world.faults.inject(Isolate(host=leader))
            others = [name for name in world.names if name != leader]
            await world.leader(others)
            with pytest.raises(ConnectionLoss):
                await stuck.set("/a", b"lost")
            await free.set("/a", b"won")

    World(3).run(test)


def test_a_server_that_is_cut_off_serves_reads_to_who_is_content_with_that():
    async def test(world):
        cut, others = await world.follower()
        async with world.client(*others) as client:
            await client.create("/a", b"1")
            await client.sync()
            fault = world.faults.inject(Isolate(host=cut))
            await asyncio.sleep(10)
            world.faults.lift(fault)
            crashes = [world.faults.inject(Crash(host=name)) for name in others]
            async with world.client(cut, read_only=True) as reader:
                assert reader.state is SessionState.CONNECTED_READ_ONLY
                assert (await reader.get("/a"))[0] == b"1"
                with pytest.raises(NotReadOnly):
                    await reader.set("/a", b"2")
            for crash in crashes:
                world.faults.lift(crash)
            await client.set("/a", b"2")

    World(3, read_only=True).run(test)


def test_a_paused_leader_wakes_up_and_follows():
    async def test(world):
        old = await world.leader()
        others = [name for name in world.names if name != old]
        async with world.client(*others) as client:
            await client.create("/a")
            pause = world.faults.inject(Pause(host=old))
            new = await world.leader(others)
            await client.set("/a", b"2")
            world.faults.lift(pause)
            while (await world.figures(old))["zk_server_state"] != "follower":
                await asyncio.sleep(TICK)
            assert (await world.figures(new))["zk_server_state"] == "leader"
        async with world.client(old) as client:
            assert (await client.get("/a"))[0] == b"2"

    World(3).run(test)


@pytest.mark.parametrize("fault", [SyncFails, DiskFull])
def test_a_server_whose_disk_fails_ends_and_says_why(fault):
    async def test(world):
        failing, others = await world.follower()
        async with world.client(*others) as client:
            await client.create("/a")
            world.faults.inject(fault(host=failing))
            await client.set("/a", b"2")
            await asyncio.sleep(5)
            await client.set("/a", b"3")
        (failure,) = world.simulation.failures
        assert failure[0] == failing
        assert type(failure[1]).__name__ == "StorageFailed"

    World(3).run(test)


def test_a_server_that_is_to_try_again_comes_back_when_its_disk_works():
    async def test(world):
        failing, others = await world.follower()
        async with world.client(*others) as client:
            await client.create("/a")
            fault = world.faults.inject(SyncFails(host=failing))
            await client.set("/a", b"2")
            await asyncio.sleep(5)
            world.faults.lift(fault)
            await asyncio.sleep(5)
            figures = [await world.figures(name) for name in (failing, others[0])]
            assert figures[0]["zk_tree_digest"] == figures[1]["zk_tree_digest"]
            assert figures[0]["zk_server_state"] == "follower"
        assert world.simulation.failures == []

    World(3, retry=1.0).run(test)


def test_nonsense_is_refused_in_one_line():
    def refused(**parameters):
        world = World(1)
        world.simulation.boot("zk9", serve, {"server": 1, "members": world.members, **parameters})

        async def test(world):
            await asyncio.sleep(1)

        world.run(test)
        (failure,) = world.simulation.failures
        assert isinstance(failure[1], ValueError)
        return str(failure[1])

    assert refused(server=7).startswith("server 7 is not among the members")
    assert "is not a member such as" in refused(members=["zk1"])
    assert "two members have the same id" in refused(members=["server.1=a:1:2", "server.1=b:1:2"])
    assert "outstandin" in refused(outstandin=3)
    assert "tick" in refused(tick=-1.0)


def test_a_server_joins_and_the_leader_leaves():
    async def test(world):
        joining = "server.4=zk4:2888:3888:participant"
        leader = await world.leader()
        async with world.client(*world.names, "zk4") as client:
            await client.create("/a", b"1")
            await client.add_auth("digest", b"super:secret")
            with pytest.raises(CoordinationError) as refused:
                await client.reconfigure(joining=[f"server.{n}=zk{n}:1:2" for n in (7, 8, 9)])
            assert refused.value.code is Code.NEW_CONFIG_NO_QUORUM
            world.members = [*world.members, joining.replace("participant", "observer")]
            world.boot("zk4", 4, super_digest=SUPER, reconfigure=True)
            text = await until(client.reconfigure, joining=[joining])
            assert b"zk4:2888:3888:participant" in text
            assert (await client.get("/zookeeper/config"))[0] == text
            await until(client.reconfigure, leaving=[world.names.index(leader) + 1])
            await until(client.set, "/a", b"2")
            world.names = [name for name in (*world.names, "zk4") if name != leader]
            assert await world.leader() in world.names
        async with world.client("zk4") as client:
            assert (await client.get("/a"))[0] == b"2"
            assert leader.encode() not in (await client.get("/zookeeper/config"))[0]

    World(3, super_digest=SUPER, reconfigure=True).run(test)


SUPER = digest_id(b"super:secret")


async def until(call, *args, **kwargs):
    """Asks again, until it works."""
    while True:
        try:
            return await call(*args, **kwargs)
        except CoordinationError as exc:
            assert exc.code in (Code.CONNECTION_LOSS, Code.NEW_CONFIG_NO_QUORUM), exc
            await asyncio.sleep(1)
