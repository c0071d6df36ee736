"""Sessions: opened, kept alive, expired, closed, moved; and servers without a quorum (2.1, 4.4)."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination import api
from services.coordination.api import Code, Create, CreateMode, Exists, GetData, Ping, SetData
from services.coordination.front import SessionOver, Unavailable
from tests.coordination.server.ensemble import run


def test_a_session_is_opened_by_a_transaction_that_every_server_has():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        session = client.connection.session
        await asyncio.sleep(1)
        for server in ensemble.servers.values():
            assert server.tree.sessions[session].password == client.connection.password
        assert (session >> 56) & 0xFF == 2

    run(test, count=3)


def test_ids_and_passwords_differ():
    async def test(ensemble):
        clients = [await ensemble.client(server=n) for n in (1, 2, 1, 2)]
        assert len({client.connection.session for client in clients}) == 4
        assert len({client.connection.password for client in clients}) == 4
        assert all(len(client.connection.password) == 16 for client in clients)

    run(test, count=2, connections_per_address=0)


@pytest.mark.parametrize(("asked", "got"), [(1, 4000), (10_000, 10_000), (10**9, 40_000), (-5, 4000)])
def test_the_time_out_lies_between_2_and_20_ticks(asked, got):
    async def test(ensemble):
        assert (await ensemble.client(timeout=asked)).connection.timeout == got

    run(test, tick=2.0)


def test_a_silent_session_expires_with_its_ephemerals_and_a_touched_one_stays():
    async def test(ensemble):
        silent = await ensemble.client(server=2, timeout=10_000)
        alive = await ensemble.client(server=2, timeout=10_000)
        await silent.ask(Create("/silent", mode=CreateMode.EPHEMERAL))
        await alive.ask(Create("/alive", mode=CreateMode.EPHEMERAL))
        for _ in range(20):
            await asyncio.sleep(1)
            alive.submit(Ping())
            touch(ensemble, 2)
        assert silent.ended == ["the session has expired"]
        assert alive.ended == []
        assert (await alive.ask(Exists("/silent"))).code is Code.NO_NODE
        assert (await alive.ask(Exists("/alive"))).code is Code.OK

    run(test, count=3, tick=1.0)


def touch(ensemble, server):
    """Brings the leader the sessions heard from, as a `Pong` does."""
    from protos import coordination_pb2 as pb

    ensemble.ends[server].send(1, pb.Pong(sessions=ensemble.servers[server].touched()))


def test_a_new_leader_grants_everybody_a_full_time_out():
    async def test(ensemble):
        client = await ensemble.client(server=2, timeout=10_000)
        session = client.connection.session
        await asyncio.sleep(9)
        ensemble.lead(leader=2, epoch=2)
        await asyncio.sleep(9)
        assert session in ensemble.servers[1].tree.sessions
        await asyncio.sleep(4)
        assert session not in ensemble.servers[1].tree.sessions

    run(test, count=2, tick=1.0)


def test_closing_answers_and_then_ends_the_connection_and_the_ephemerals():
    async def test(ensemble):
        client, other = await ensemble.client(), await ensemble.client()
        await client.ask(Create("/a", mode=CreateMode.EPHEMERAL))
        await other.ask(Exists("/a", watch=True))
        await client.ask(api.CloseSession())
        assert client.ended == ["the session is closed"]
        assert [event.type for event in other.events] == [api.EventType.DELETED]
        client.submit(Ping())
        assert len(client.said) == 2

    run(test)


def test_a_closed_session_cannot_go_on():
    async def test(ensemble):
        client = await ensemble.client()
        await client.ask(api.CloseSession())
        with pytest.raises(SessionOver):
            await ensemble.client(1, client.connection.session, client.connection.password)

    run(test)


def test_a_session_moves_and_its_old_connection_ends():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        await client.ask(Create("/a", mode=CreateMode.EPHEMERAL))
        moved = await ensemble.client(3, client.connection.session, client.connection.password)
        await asyncio.sleep(1)
        assert client.ended == ["the session has moved to another server"]
        assert (await moved.ask(Exists("/a"))).code is Code.OK
        assert (await moved.ask(SetData("/a", b"2"))).code is Code.OK

    run(test, count=3)


def test_what_the_old_connection_still_has_on_its_way_is_refused():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        await client.ask(Create("/a"))
        ensemble.ends[1].held = True
        moving = asyncio.ensure_future(
            ensemble.client(3, client.connection.session, client.connection.password)
        )
        await asyncio.sleep(1)
        client.submit(SetData("/a", b"late"))  # behind the move, at the leader
        ensemble.ends[2].held = True
        ensemble.ends[1].let_go()
        moved = await moving
        assert (await moved.ask(GetData("/a"))).result.data == b""
        ensemble.ends[2].let_go()
        assert client.ended == ["the session has moved to another server"]

    run(test, count=3)


def test_a_session_comes_back_to_the_same_server():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        again = await ensemble.client(2, client.connection.session, client.connection.password)
        assert client.ended == ["the session has moved to another server"]
        assert (await again.ask(Create("/a"))).code is Code.OK

    run(test, count=2)


def test_a_session_that_this_server_does_not_know_yet_is_found_by_a_sync():
    async def test(ensemble):
        ensemble.ends[3].held = True
        client = await ensemble.client(server=2)
        moving = asyncio.ensure_future(
            ensemble.client(3, client.connection.session, client.connection.password)
        )
        await asyncio.sleep(1)
        assert not moving.done()
        ensemble.ends[3].let_go()
        moved = await moving
        assert (await moved.ask(Create("/a"))).code is Code.OK

    run(test, count=3)


@pytest.mark.parametrize("password", [b"", b"x" * 16, b"x" * 1000])
def test_a_wrong_password_is_answered_like_an_expired_session_and_disturbs_nobody(password):
    async def test(ensemble):
        client = await ensemble.client(server=2)
        for server in (1, 2, 3):
            with pytest.raises(SessionOver):
                await ensemble.client(server, client.connection.session, password)
        with pytest.raises(SessionOver):
            await ensemble.client(1, 12345, password)
        assert client.ended == []
        assert (await client.ask(Create("/a"))).code is Code.OK

    run(test, count=3)


def test_a_client_that_has_seen_more_than_this_server_is_turned_away():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        ensemble.ends[3].held = True
        reply = await client.ask(Create("/a"))
        with pytest.raises(Unavailable):
            await ensemble.client(3, client.connection.session, client.connection.password, reply.zxid)
        ensemble.ends[3].let_go()
        await ensemble.client(3, client.connection.session, client.connection.password, reply.zxid)

    run(test, count=3)


def test_watches_registered_again_see_what_happened_meanwhile():
    async def test(ensemble):
        client, other = await ensemble.client(server=2), await ensemble.client(server=1)
        await client.ask(Create("/a", b"1"))
        seen = (await client.ask(GetData("/a", watch=True))).zxid
        client.connection.close()
        await other.ask(SetData("/a", b"2"))
        again = await ensemble.client(2, client.connection.session, client.connection.password, seen)
        await again.ask(api.SetWatches(seen, data=("/a",), exist=("/b",)))
        assert [event.path for event in again.events] == ["/a"]
        await other.ask(Create("/b"))
        await asyncio.sleep(1)
        assert [event.path for event in again.events] == ["/a", "/b"]

    run(test, count=2)


def test_watches_end_with_their_connection():
    async def test(ensemble):
        client, other = await ensemble.client(), await ensemble.client()
        await client.ask(Exists("/a", watch=True))
        again = await ensemble.client(1, client.connection.session, client.connection.password)
        await other.ask(Create("/a"))
        await asyncio.sleep(1)
        assert client.events == again.events == []
        assert len(ensemble.servers[1].watches) == 0

    run(test)


def test_watches_are_limited_in_all_and_counted_right():
    async def test(ensemble):
        client, other = await ensemble.client(), await ensemble.client()
        for path in ("/a", "/b", "/b"):
            assert (await client.ask(Exists(path, watch=True))).code is Code.NO_NODE
        assert (await other.ask(api.AddWatch("/a", recursive=True))).code is Code.OK
        for request in (
            Exists("/c", watch=True),
            api.AddWatch("/c"),
            api.MultiRead((GetData("/", watch=True),)),
            api.SetWatches(0, exist=("/c",)),
        ):
            assert (await other.ask(request)).code is Code.THROTTLED
        assert (await other.ask(GetData("/"))).code is Code.OK
        await other.ask(Create("/a"))
        assert (await other.ask(Exists("/c", watch=True))).code is Code.NO_NODE
        client.connection.close()
        other.connection.close()
        assert len(ensemble.servers[1].watches) == 0

    run(test, watches=3)


def test_without_a_quorum_nobody_gets_in():
    async def test(ensemble):
        with pytest.raises(Unavailable):
            await ensemble.client()
        ensemble.lead()
        client = await ensemble.client()
        ensemble.look()
        with pytest.raises(Unavailable):
            await ensemble.client(1, client.connection.session, client.connection.password)

    run(test, lead=False)


def test_who_waits_for_a_session_when_the_leader_is_lost_is_sent_away():
    async def test(ensemble):
        ensemble.ends[1].held = True
        waiting = asyncio.ensure_future(ensemble.client(server=2))
        await asyncio.sleep(1)
        ensemble.look()
        with pytest.raises(Unavailable):
            await waiting
        assert ensemble.servers[2].connections == {}

    run(test, count=2)


def test_who_gives_up_waiting_for_a_session_leaves_nothing_behind():
    async def test(ensemble):
        ensemble.ends[1].held = True
        waiting = asyncio.ensure_future(ensemble.client(server=2, address="1.2.3.4"))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(1)
        ensemble.ends[1].let_go()
        await asyncio.sleep(1)
        assert ensemble.servers[2].connections == {}
        await ensemble.client(server=2, address="1.2.3.4")
        with pytest.raises(Unavailable):
            await ensemble.client(server=2, address="1.2.3.4")

    run(test, count=2, connections_per_address=1)


def test_connections_are_limited_by_address_and_altogether():
    async def test(ensemble):
        one = await ensemble.client(address="1.1.1.1")
        with pytest.raises(Unavailable):
            await ensemble.client(address="1.1.1.1")
        await ensemble.client(address="2.2.2.2")
        with pytest.raises(Unavailable):
            await ensemble.client(address="3.3.3.3")
        one.connection.close()
        await ensemble.client(address="1.1.1.1")

    run(test, connections=2, connections_per_address=1)


def test_read_only_mode_serves_reads_without_a_quorum_and_ends_when_there_is_one():
    async def test(ensemble):
        client = await ensemble.client()
        await client.ask(Create("/a", b"1"))
        ensemble.look()
        with pytest.raises(Unavailable):
            await ensemble.client()
        reader = await ensemble.client(read_only=True)
        assert reader.connection.read_only
        assert (await reader.ask(GetData("/a", watch=True))).result.data == b"1"
        assert (await reader.ask(SetData("/a", b"2"))).code is Code.NOT_READ_ONLY
        assert (await reader.ask(api.Sync())).code is Code.NOT_READ_ONLY
        again = await ensemble.client(
            1, client.connection.session, client.connection.password, read_only=True
        )
        assert again.connection.session == client.connection.session
        ensemble.lead(epoch=2)
        assert reader.ended == again.ended == ["there is a quorum again: not read-only any more"]

    run(test, read_only=True)


def test_a_read_only_client_gets_a_real_session_where_there_is_a_quorum():
    async def test(ensemble):
        client = await ensemble.client(read_only=True)
        assert not client.connection.read_only
        assert (await client.ask(Create("/a"))).code is Code.OK

    run(test, read_only=True)


def test_containers_and_old_znodes_go_by_themselves():
    async def test(ensemble):
        client = await ensemble.client(timeout=100_000)
        await client.ask(Create("/c", mode=CreateMode.CONTAINER))
        await client.ask(Create("/c/x"))
        await client.ask(Create("/t", mode=CreateMode.PERSISTENT_TTL, ttl=5000))
        await client.ask(api.Delete("/c/x"))
        assert (await client.ask(Exists("/c"))).code is Code.OK
        await asyncio.sleep(11)
        assert (await client.ask(Exists("/c"))).code is Code.NO_NODE
        assert (await client.ask(Exists("/t"))).code is Code.NO_NODE

    run(test, tick=10.0, container_interval=10.0)
