"""The protocol, one situation at a time, on simulated hosts."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from protos import log_pb2 as pb
from protos import log_pb2_grpc as rpc
from services.primary_backup.client import LogClient
from services.primary_backup.replica import replica
from services.primary_backup.timing import SILENCE
from services.primary_backup.witness import witness
from sim.faults import Crash, Cut, Isolate, LoseReply, Pause, SyncFails
from sim.world.faults import Faults
from sim.world.simulation import Simulation


class Cluster:
    """Two replicas, a witness, a client; and what a test does to them."""

    def __init__(self, early: bool = False):
        self.simulation = Simulation(0, limit_s=120)
        self.faults = Faults(self.simulation)
        self.simulation.boot("witness", witness, {"primary": "a", "backup": "b"})
        for name, partner in (("a", "b"), ("b", "a")):
            self.simulation.boot(name, replica, {"partner": partner, "witness": "witness", "early": early})
        self.host = self.simulation.boot("client")

    def run(self, test):
        async def main():
            client = LogClient(self.host, ["a", "b"], "client")
            await client.append(b"first")
            await self.until(lambda view: view.backup)
            await test(self, client)

        self.simulation.run(main(), name="client")
        assert self.simulation.failures == []

    async def view(self):
        stub = rpc.WitnessStub(self.host.connect("witness"))
        return await stub.Current(pb.Nothing(), timeout=5, wait_for_ready=True)

    async def until(self, holds):
        async with asyncio.timeout(20):
            while not holds(view := await self.view()):
                await asyncio.sleep(0.05)
        return view

    async def ask(self, name, number, data=b"x"):
        """One attempt of a client to append at one replica."""
        request = pb.Request(client="another", request=number, data=data)
        return await rpc.LogStub(self.host.connect(name)).Append(request, timeout=1)

    async def read(self, name):
        return list((await rpc.LogStub(self.host.connect(name)).Read(pb.Nothing(), timeout=1)).data)


def on_a_cluster(test):
    """Runs the test's body in a simulated world."""

    def run():
        Cluster().run(test)

    run.__name__ = test.__name__
    return run


@on_a_cluster
async def test_both_are_members_when_all_is_well(cluster, client):
    view = await cluster.view()
    assert (view.primary, view.backup) == ("a", "b")
    assert await client.append(b"second") == 1
    assert await client.read() == [b"first", b"second"]


@on_a_cluster
async def test_the_backup_refuses_clients_and_says_who_to_ask(cluster, client):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cluster.ask("b", 1)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "ask a" in refused.value.details()


@on_a_cluster
async def test_when_the_primary_dies_the_backup_takes_over_with_everything(cluster, client):
    cluster.faults.inject(Crash(host="a"))
    view = await cluster.until(lambda view: view.primary == "b")
    assert view.backup == ""
    assert await client.read() == [b"first"]
    assert await client.append(b"second") == 1


@on_a_cluster
async def test_who_comes_back_catches_up_and_is_a_member_again(cluster, client):
    crash = cluster.faults.inject(Crash(host="a"))
    await cluster.until(lambda view: view.primary == "b")
    await client.append(b"second")
    cluster.faults.lift(crash)
    await cluster.until(lambda view: view.primary == "b" and view.backup == "a")
    cluster.faults.inject(Crash(host="b"))
    assert await client.read() == [b"first", b"second"]


@on_a_cluster
async def test_a_primary_that_is_cut_off_acknowledges_nothing(cluster, client):
    for other in ("b", "witness"):
        cluster.faults.inject(Cut(source="a", target=other))
    with pytest.raises(grpc.aio.AioRpcError):
        await cluster.ask("a", 1)
    with pytest.raises(grpc.aio.AioRpcError):
        await cluster.read("a")
    await cluster.until(lambda view: view.primary == "b")
    assert await cluster.read("b") == [b"first"]


@on_a_cluster
async def test_what_a_cut_off_primary_wrote_alone_is_dropped(cluster, client):
    cuts = [cluster.faults.inject(Cut(source="a", target=other)) for other in ("b", "witness")]
    with pytest.raises(grpc.aio.AioRpcError):
        await cluster.ask("a", 1, b"alone")
    await cluster.until(lambda view: view.primary == "b")
    await cluster.ask("b", 2, b"together")
    for cut in cuts:
        cluster.faults.lift(cut)
    await cluster.until(lambda view: view.backup == "a")
    cluster.faults.inject(Crash(host="b"))
    await cluster.until(lambda view: view.primary == "a")
    assert await client.read() == [b"first", b"together"]


@on_a_cluster
async def test_a_primary_that_was_paused_answers_no_read_from_the_past(cluster, client):
    pause = cluster.faults.inject(Pause(host="a"))
    await cluster.until(lambda view: view.primary == "b")
    await cluster.ask("b", 1, b"second")
    cluster.faults.lift(pause)
    try:
        assert await cluster.read("a") == [b"first", b"second"]
    except grpc.aio.AioRpcError as refused:
        assert refused.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE)


@on_a_cluster
async def test_a_request_whose_answer_was_lost_is_in_the_log_once(cluster, client):
    cluster.faults.inject(LoseReply(host="a", method="/dsim.log.Log/Append"))
    assert await client.append(b"second") == 1
    assert await client.read() == [b"first", b"second"]


@on_a_cluster
async def test_a_primary_whose_disk_fails_gives_way(cluster, client):
    cluster.faults.inject(SyncFails(host="a"))
    assert await client.append(b"second") == 1
    assert (await cluster.view()).primary == "b"


@on_a_cluster
async def test_without_the_witness_the_pair_goes_on_but_cannot_change(cluster, client):
    crash = cluster.faults.inject(Crash(host="witness"))
    assert await client.append(b"second") == 1
    cluster.faults.inject(Crash(host="a"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5 * SILENCE):
            await client.append(b"third")
    cluster.faults.lift(crash)
    await cluster.until(lambda view: view.primary == "b")
    assert (await client.read())[:2] == [b"first", b"second"]


@on_a_cluster
async def test_after_both_died_the_last_primary_leads_again(cluster, client):
    await client.append(b"second")
    first = cluster.faults.inject(Crash(host="b"))
    await cluster.until(lambda view: view.backup == "")
    await client.append(b"third")
    second = cluster.faults.inject(Crash(host="a"))
    cluster.faults.lift(first)  # b comes back first, without the third record: it must wait
    await asyncio.sleep(5 * SILENCE)
    assert (await cluster.view()).primary == "a"
    cluster.faults.lift(second)
    assert await client.read() == [b"first", b"second", b"third"]


def test_the_mistake_loses_an_acknowledged_record():
    async def lose(cluster, client):
        cluster.faults.inject(Isolate(host="b"))
        await cluster.ask("a", 1, b"early")
        cluster.faults.inject(Crash(host="a"))
        await cluster.heal_except_a()
        await cluster.until(lambda view: view.primary == "b")
        assert await cluster.read("b") == [b"first"]

    class Lossy(Cluster):
        async def heal_except_a(self):
            for number, fault in list(self.faults.active.items()):
                if isinstance(fault, Isolate):
                    self.faults.lift(number)

    Lossy(early=True).run(lose)
