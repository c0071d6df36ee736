"""Spanservers with what is not theirs, and streams whose other end does not behave."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.spanserver import serve
from services.spanner.truetime import master
from sim.world.simulation import Simulation

GROUPS = [{"group": 1, "members": [{"server": "s1", "zone": "z"}]}]
MASTERS = [{"name": "gps1", "zone": "z"}]
PARAMS: dict[str, Any] = {"zone": "z", "masters": MASTERS, "groups": GROUPS}


def universe(**settings: Any) -> tuple[Simulation, Any]:
    """Returns a world with one spanserver, and a host for the test."""
    simulation = Simulation(7, limit_s=600.0)
    simulation.boot("gps1", master.serve, {"kind": "gps", "masters": MASTERS})
    simulation.boot("s1", serve, {**PARAMS, "settings": settings})
    return simulation, simulation.boot("main")


async def leads(stub: Any) -> None:
    while not any(one.term for one in (await stub.Status(pb.StatusRequest(), timeout=1.0)).groups):
        await asyncio.sleep(0.1)


def test_calls_that_are_called_off_before_they_begin_leave_nothing() -> None:
    simulation, main = universe()

    async def story() -> list[int]:
        await asyncio.sleep(1.0)
        async with main.connect("s1") as channel:
            stub = rpc.SpanserverStub(channel)
            await leads(stub)
            stream = stub.Pipeline()
            beat = pb.TransactionRequest(group=1, transaction=pb.Transaction(id="t", age=1))
            calls = [pb.Call(number=5, keep_alive=beat), pb.Call(number=5, cancel=True)]
            await stream.write(pb.Calls(calls=calls))
            await asyncio.sleep(0.1)
            await stream.write(pb.Calls(calls=[pb.Call(number=5, keep_alive=beat)]))  # the number is free
            await stream.done_writing()
            found = [reply async for replies in stream for reply in replies.replies]
            assert not any(reply.status.code for reply in found)
            return [reply.number for reply in found]

    assert simulation.run(story()) == [5]
    assert simulation.failures == []


@pytest.mark.parametrize("how", ["cancel", "stream", "unary"])
def test_a_commit_goes_on_though_nobody_waits_for_it(how: str) -> None:
    """It takes effect, by both doors; only its answer is left out."""
    simulation, main = universe()
    commit = pb.CommitRequest(
        group=1,
        transaction=pb.Transaction(id="t", age=10),
        ownership=pb.Ownership(released=[pb.KeyRange(start=b"a", end=b"b")]),
        placement=True,
    )

    async def story() -> list[pb.Reply]:
        await asyncio.sleep(1.0)
        found = []
        async with main.connect("s1") as channel:
            stub = rpc.SpanserverStub(channel)
            await leads(stub)
            if how == "unary":
                call = stub.Commit(commit)
                await asyncio.sleep(0.002)  # it is in its commit wait, or before
                call.cancel()
            else:
                stream = stub.Pipeline()
                await stream.write(pb.Calls(calls=[pb.Call(number=5, commit=commit)]))
                if how == "cancel":
                    await stream.write(pb.Calls(calls=[pb.Call(number=5, cancel=True)]))
                if how == "stream":
                    await asyncio.sleep(0.002)
                    stream.cancel()
                else:
                    await stream.done_writing()
                    found = [reply async for replies in stream for reply in replies.replies]
            await asyncio.sleep(2.0)
            status = await stub.Status(pb.StatusRequest())
            assert [(one.start, one.end) for one in status.groups[0].owned] == [(b"", b"a"), (b"b", b"\xff")]
        return found

    found = simulation.run(story())
    assert simulation.failures == []
    assert found == []


def test_a_disk_of_another_universe_is_refused_in_a_line() -> None:
    simulation, _ = universe(universe="one")

    async def story() -> None:
        await asyncio.sleep(2.0)
        simulation.machines["s1"].crash()
        await asyncio.sleep(0.1)
        simulation.boot("s1", serve, {**PARAMS, "settings": {"universe": "another"}})
        await asyncio.sleep(2.0)

    simulation.run(story())
    ((name, error),) = simulation.failures
    assert name == "s1"
    assert 'belongs to server s1 of universe "one"' in str(error) and "\n" not in str(error)


def test_a_group_of_the_configuration_that_was_dropped_does_not_come_back_with_a_restart() -> None:
    """It had forgotten its promises, and was given its first ranges once more (swarm on real hosts)."""
    simulation, main = universe()

    async def groups(stub: Any) -> list[int]:
        return [one.group for one in (await stub.Status(pb.StatusRequest(), timeout=1.0)).groups]

    async def story() -> None:
        await asyncio.sleep(1.0)
        async with main.connect("s1") as channel:
            stub = rpc.SpanserverStub(channel)
            await leads(stub)
            assert await groups(stub) == [1]
            await stub.DropReplica(pb.GroupRequest(group=1))
        simulation.machines["s1"].crash()
        simulation.boot("s1", serve, {**PARAMS, "settings": {}})
        await asyncio.sleep(2.0)
        async with main.connect("s1") as channel:
            assert await groups(rpc.SpanserverStub(channel)) == []

    simulation.run(story())
    assert simulation.failures == []


def test_a_torn_log_is_cut_where_it_ends_or_refused_in_a_line() -> None:
    outcomes: dict[str, int] = {}
    for part in range(0, 100, 7):
        simulation, main = universe()
        served = False

        async def story(part: int = part, simulation: Any = simulation, main: Any = main) -> bool:
            await asyncio.sleep(1.0)
            async with main.connect("s1") as channel:
                await leads(rpc.SpanserverStub(channel))
            await asyncio.sleep(1.0)
            machine = simulation.machines["s1"]
            machine.crash()
            file = await simulation.boot("s1").disk.open("log/segment-00000000", "a")
            size = len(await file.read())
            await file.truncate(size * part // 100)
            await file.sync()
            machine.crash()
            simulation.boot("s1", serve, {**PARAMS, "settings": {}})
            async with main.connect("s1") as channel, asyncio.timeout(60.0):
                while not simulation.failures:
                    try:
                        stub = rpc.SpanserverStub(channel)
                        if not (await stub.Status(pb.StatusRequest(), timeout=1.0)).groups:
                            return (
                                False  # that there is a group is lost: it is not made again, without memory
                            )
                        await leads(stub)
                        return True
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.5)
            return False

        served = simulation.run(story())
        for _, error in simulation.failures:
            assert type(error).__name__ == "StorageRefused" and "\n" not in str(error), error
        outcomes["served" if served else "refused"] = outcomes.get("served" if served else "refused", 0) + 1
    assert sum(outcomes.values()) == 15, outcomes
    assert outcomes.get("served"), outcomes
