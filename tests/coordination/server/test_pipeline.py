"""Requests in their order: FIFO per client, reads after writes, watches before what they watch (2.3, 4.4)."""

from __future__ import annotations

import asyncio

from services.coordination import api
from services.coordination.api import Code, Create, Exists, GetData, SetData
from services.coordination.server.pipeline import Throttle
from tests.coordination.server.ensemble import run


def test_an_update_is_answered_when_it_is_delivered_here():
    async def test(ensemble):
        client = await ensemble.client()
        reply = await client.ask(Create("/a", b"1"))
        assert reply.code is Code.OK
        assert reply.result.path == "/a"
        assert reply.zxid == ensemble.zxid

    run(test)


def test_a_read_waits_for_the_updates_before_it():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        client.submit(Create("/a", b"1"))
        client.submit(GetData("/a"))
        client.submit(SetData("/a", b"2"))
        client.submit(GetData("/a"))
        assert client.said == []
        await asyncio.sleep(1)
        assert [reply.xid for reply in client.replies] == [1, 2, 3, 4]
        assert client.replies[1].result.data == b"1"  # though the second write was on its way
        assert client.replies[3].result.data == b"2"

    run(test, count=3)


def test_a_read_without_updates_before_it_is_answered_at_once():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        ensemble.ends[2].held = True
        client.submit(Exists("/"))
        assert client.replies[0].code is Code.OK

    run(test, count=3)


def test_errors_are_ordered_like_everything_else():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        client.submit(Create("/a"))
        client.submit(Create("/a"))
        client.submit(Create("/b"))
        await asyncio.sleep(1)
        assert [reply.code for reply in client.replies] == [Code.OK, Code.NODE_EXISTS, Code.OK]

    run(test, count=2)


def test_a_watch_fires_before_any_reply_that_shows_the_change():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        await client.ask(Create("/a", b"1"))
        await client.ask(GetData("/a", watch=True))
        other = await ensemble.client(server=1)
        ensemble.ends[2].held = True
        await other.ask(SetData("/a", b"2"))
        assert (await client.ask(GetData("/a"))).result.data == b"1"
        client.submit(Create("/b"))
        client.submit(GetData("/a"))
        ensemble.ends[2].let_go()
        await asyncio.sleep(1)
        kinds = [type(said).__name__ for said in client.said[-3:]]
        assert kinds == ["Event", "Reply", "Reply"]
        assert client.said[-1].result.data == b"2"
        assert client.events[0].type is api.EventType.DATA_CHANGED

    run(test, count=2)


def test_a_watch_on_the_own_write_fires_before_its_reply():
    async def test(ensemble):
        client = await ensemble.client()
        await client.ask(Exists("/a", watch=True))
        await client.ask(Create("/a"))
        assert [type(said).__name__ for said in client.said] == ["Reply", "Event", "Reply"]

    run(test)


def test_what_is_pending_when_the_leader_is_lost_ends_the_connection_without_an_answer():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        ensemble.ends[1].held = True
        client.submit(Create("/a"))
        await asyncio.sleep(1)
        ensemble.look()
        assert client.ended == ["there is no quorum"]
        assert client.said == []
        ensemble.lead()
        await asyncio.sleep(1)
        assert client.said == []

    run(test, count=3)


def test_another_connections_transaction_answers_nothing():
    """The first update of a connection must not be taken for the last one of an earlier connection."""

    async def test(ensemble):
        client = await ensemble.client(server=2)
        for end in ensemble.ends.values():
            end.held = True
        client.submit(Create("/old"))
        ensemble.ends[1].let_go()  # proposed, but server 2 knows nothing of it yet
        client.connection.close()
        again = asyncio.ensure_future(
            ensemble.client(2, client.connection.session, client.connection.password)
        )
        await asyncio.sleep(0)
        ensemble.ends[2].let_go()
        other = await again
        other.submit(Create("/new"))
        await asyncio.sleep(1)
        assert [reply.result.path for reply in other.replies] == ["/new"]

    run(test, count=2)


def test_an_identity_holds_for_the_updates_after_it_though_those_before_it_are_pending():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        acl = (api.Acl(api.Permission.ALL, "auth", ""),)
        client.submit(Create("/a"))
        client.submit(api.Authenticate("digest", b"user:password"))
        client.submit(Create("/b", acl=acl))
        await asyncio.sleep(1)
        assert [reply.code for reply in client.replies] == [Code.OK] * 3
        other = await ensemble.client(server=2)
        assert (await other.ask(GetData("/b"))).code is Code.NO_AUTH

    run(test, count=2)


def test_a_failed_authentication_closes_the_connection_once_it_is_answered():
    async def test(ensemble):
        client = await ensemble.client()
        client.submit(Create("/a"))
        client.submit(api.Authenticate("mystery", b""))
        await asyncio.sleep(1)
        assert [reply.code for reply in client.replies] == [Code.OK, Code.AUTH_FAILED]
        assert client.ended == ["authentication failed"]

    run(test)


def test_opening_a_session_is_not_for_clients():
    async def test(ensemble):
        client = await ensemble.client()
        assert (await client.ask(api.CreateSession(1, b""))).code is Code.BAD_ARGUMENTS

    run(test)


def test_a_door_is_held_back_and_goes_on_when_there_is_room():
    async def test(ensemble):
        client = await ensemble.client(server=2)
        ensemble.ends[1].held = True
        for n in range(3):
            assert not client.connection.full
            client.submit(Create(f"/{n}"))
        assert client.connection.full
        waiting = asyncio.ensure_future(client.connection.room())
        await asyncio.sleep(1)
        assert not waiting.done()
        ensemble.ends[1].let_go()
        await waiting
        assert not client.connection.full

    run(test, count=2, outstanding_per_connection=3)


def test_all_clients_share_the_servers_limit_and_get_their_turns():
    async def test(ensemble):
        clients = [await ensemble.client(server=2) for _ in range(5)]

        async def work(client):
            for n in range(10):
                if client.connection.full:
                    await client.connection.room()
                assert ensemble.servers[2].throttle.outstanding <= 4
                client.submit(Create(f"/{client.connection.session}-{n}"))

        await asyncio.gather(*map(work, clients))
        await asyncio.sleep(1)
        assert [len(client.replies) for client in clients] == [10] * 5
        assert ensemble.servers[2].throttle.outstanding == 0

    run(test, count=2, outstanding=4)


def test_a_client_that_goes_gives_its_room_and_its_turn_to_others():
    async def test(ensemble):
        one, two = await ensemble.client(server=2), await ensemble.client(server=2)
        ensemble.ends[1].held = True
        one.submit(Create("/a"))
        waiting = asyncio.ensure_future(one.connection.room())
        behind = asyncio.ensure_future(two.connection.room())
        await asyncio.sleep(1)
        one.connection.close()
        await asyncio.sleep(1)
        assert waiting.done() and behind.done()

    run(test, count=2, outstanding=1)


def test_a_cancelled_wait_for_room_does_not_lose_the_turn():
    async def test(ensemble):
        one = await ensemble.client(server=2)
        two = await ensemble.client(server=2)
        three = await ensemble.client(server=2)
        ensemble.ends[1].held = True
        one.submit(Create("/a"))
        cancelled = asyncio.ensure_future(two.connection.room())
        waiting = asyncio.ensure_future(three.connection.room())
        await asyncio.sleep(0)
        ensemble.ends[1].held = False
        ensemble.ends[1].move()
        ensemble.ends[2].move()  # the turn is given to the second now
        cancelled.cancel()
        await waiting

    run(test, count=2, outstanding=1)


def test_a_replay_onto_a_fuzzy_snapshot_tells_no_digests_before_its_end():
    notes = []

    async def test(ensemble):
        server = ensemble.servers[1]
        client = await ensemble.client()
        await client.ask(Create("/a"))
        pieces = server.snapshot()
        taken = [next(pieces)]
        for n in range(20):
            await client.ask(SetData("/a", b"%d" % n))
        taken += pieces
        server.host = Noting(notes)
        await server.restore(each(taken))
        for zxid, transaction in ensemble.log:
            server.deliver(zxid, transaction)
        assert [note["zxid"] for note in notes] == [ensemble.zxid]
        assert notes[0]["digest"] == f"{server.tree.digest:016x}"

    run(test, digest_every=1)


class Noting:
    def __init__(self, notes):
        self.notes = notes

    def trace(self, name, **fields):
        if name == "digest":
            self.notes.append(fields)


async def each(pieces):
    for piece in pieces:
        yield piece


def test_nobody_waits_in_line_while_there_is_room():
    """Who had a turn may bring nothing: a client that has no more to ask, whose door waits for it."""

    async def main():
        throttle = Throttle(limit=4)
        throttle.outstanding = 4
        waiting = [asyncio.create_task(throttle.wait()) for _ in range(10)]
        await asyncio.sleep(0)
        throttle.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(task.done() for task in waiting) == 1
        throttle.release(3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert all(task.done() for task in waiting)

    asyncio.run(main())
