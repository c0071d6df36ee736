"""`sync` (4.4): afterwards this server has what was pending at the leader, and the leader was one."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination.api import Code, Create, GetData, SetData, Sync
from tests.coordination.server.ensemble import run

MODES = pytest.mark.parametrize("mode", ["quorum", "leader"])


@MODES
def test_a_read_after_a_sync_sees_all_that_was_completed_before_it(mode):
    async def test(ensemble):
        writer, reader = await ensemble.client(server=1), await ensemble.client(server=2)
        await writer.ask(Create("/a", b"1"))
        await reader.ask(Sync())
        ensemble.ends[2].held = True
        await writer.ask(SetData("/a", b"2"))
        assert (await reader.ask(GetData("/a"))).result.data == b"1"  # the hidden channel of 2.3
        reader.submit(Sync())
        reader.submit(GetData("/a"))
        ensemble.ends[2].let_go()
        await asyncio.sleep(1)
        assert reader.replies[-1].result.data == b"2"

    run(test, count=3, sync=mode)


@MODES
def test_a_sync_keeps_its_place_among_the_clients_requests(mode):
    async def test(ensemble):
        client = await ensemble.client(server=2)
        for request in (Create("/a"), Sync(), SetData("/a", b"2"), Sync(), GetData("/a")):
            client.submit(request)
        await asyncio.sleep(1)
        assert [reply.xid for reply in client.replies] == [1, 2, 3, 4, 5]
        assert all(reply.code is Code.OK for reply in client.replies)

    run(test, count=2, sync=mode)


@MODES
def test_the_leaders_own_clients_wait_for_its_outstanding_proposals(mode):
    async def test(ensemble):
        client, other = await ensemble.client(), await ensemble.client()
        ensemble.ends[1].held = True
        other.submit(Create("/a", b"1"))
        client.submit(Sync())
        client.submit(GetData("/a"))
        await asyncio.sleep(1)
        assert client.said == []
        ensemble.ends[1].let_go()
        assert client.replies[-1].code is Code.OK

    run(test, sync=mode)


def test_a_quorum_sync_orders_an_empty_transaction_and_many_share_it():
    async def test(ensemble):
        clients = [await ensemble.client(server=2) for _ in range(10)]
        before = ensemble.zxid
        await asyncio.gather(*(client.ask(Sync()) for client in clients))
        assert ensemble.zxid == before + 1

    run(test, count=2)


def test_a_quorum_sync_uses_the_next_request_when_there_is_one():
    async def test(ensemble):
        client, other = await ensemble.client(), await ensemble.client()
        before = ensemble.zxid
        client.submit(Sync())
        other.submit(Create("/a"))
        await asyncio.sleep(1)
        assert len(client.replies) == 1
        assert ensemble.zxid == before + 1

    run(test)


def test_a_leaders_sync_is_no_transaction():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        before = ensemble.zxid
        await client.ask(Sync())
        assert ensemble.zxid == before

    run(test, count=2, sync="leader")


def test_a_deposed_leader_that_does_not_know_it_answers_no_sync():
    async def test(ensemble):
        client = await ensemble.client()
        ensemble.ends[1].held = True  # it proposes, and nothing is committed any more
        client.submit(Sync())
        await asyncio.sleep(100)
        assert client.said == []

    run(test, tick=100.0)
