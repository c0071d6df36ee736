"""The life of a session: heartbeats, silence, changing servers, loss, expiry (2.1, 4.4)."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination import api
from services.coordination.api import CreateMode, SessionState
from services.coordination.client import ConnectionLoss, SessionExpired, Watch, retry
from sim.faults import Crash, Cut, Isolate, LoseReply, Pause
from tests.coordination.client.rig import TIMEOUT, Rig

CONNECTED, DISCONNECTED = SessionState.CONNECTED, SessionState.DISCONNECTED


def now():
    return asyncio.get_running_loop().time()


def connected_to(rig):
    """Returns the server of the only session."""
    (name,) = [
        name
        for name, server in rig.servers.items()
        if any(connection.session.connection is connection for connection in server.connections)
    ]
    return name


async def until(holds, within=60.0):
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)


async def reached(client, state):
    """Returns when the client is in a state, however short it is."""
    if client.state is not state:
        future = asyncio.get_running_loop().create_future()
        call_off = client.on_state(lambda new: new is state and not future.done() and future.set_result(None))
        async with asyncio.timeout(60):
            await future
        call_off()


def test_an_idle_client_sends_a_heartbeat_each_third_of_the_time_out() -> None:
    async def story(rig):
        async with rig.client() as client:
            await asyncio.sleep(TIMEOUT * 10)
            pings = [request for _, request, _ in rig.ensemble.log if isinstance(request, api.Ping)]
            assert 29 <= len(pings) <= 30
            before = len(rig.ensemble.log)
            for _ in range(100):
                await client.exists("/")
                await asyncio.sleep(0.1)
            assert not any(isinstance(request, api.Ping) for _, request, _ in rig.ensemble.log[before:])
            assert rig.ensemble.expired == []

    Rig().run(story)


def test_a_client_changes_servers_after_two_thirds_of_the_time_out_in_silence() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/e", mode=CreateMode.EPHEMERAL)
            silent, began = connected_to(rig), now()
            rig.servers[silent].mute = True
            await reached(client, DISCONNECTED)
            assert now() - began == pytest.approx(TIMEOUT * 2 / 3, rel=0.05)
            await client.connected()
            assert await client.exists("/e")
            assert connected_to(rig) != silent
            assert now() - began < TIMEOUT * 0.7
            assert rig.ensemble.expired == []

    Rig(3).run(story)


def test_a_server_that_does_not_answer_costs_a_share_of_the_time_out() -> None:
    async def story(rig):
        async with rig.client() as client:
            away = connected_to(rig)
            others = [name for name in rig.servers if name != away]
            for name in others:
                rig.faults.inject(Isolate(host=name))
            began = now()
            fault = rig.faults.inject(Crash(host=away))
            await asyncio.sleep(0.1)
            rig.faults.lift(fault)
            await client.connected()
            assert now() - began == pytest.approx(2 * TIMEOUT / 3, abs=0.2)

    Rig(3).run(story)


def test_the_session_moves_with_its_password_and_what_it_has_seen() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.add_auth("digest", b"me:secret")
            await client.create("/e", mode=CreateMode.EPHEMERAL)
            session, seen, first = client.session, client.last_zxid, connected_to(rig)
            rig.faults.inject(Crash(host=first))
            await reached(client, DISCONNECTED)
            await client.connected()
            second = connected_to(rig)
            hello = rig.servers[second].hellos[-1]
            assert (hello.session, hello.last_zxid) == (session, seen) and hello.password
            assert client.session == session
            assert (await client.exists("/e")).ephemeral_owner == session
            await client.who_am_i()
            requests = [request for _, request, _ in rig.ensemble.log]
            assert requests.count(api.Authenticate("digest", b"me:secret")) == 2

    Rig(3).run(story)


def test_a_server_that_is_behind_or_has_no_quorum_is_left_for_another() -> None:
    async def story(rig):
        for name in ("zk1", "zk2"):
            rig.servers[name].refuses = True
        for _ in range(5):
            async with rig.client() as client:
                assert await client.exists("/")
                assert connected_to(rig) == "zk3"

    Rig(3).run(story)


def test_clients_spread_over_the_servers() -> None:
    async def story(rig):
        clients = [rig.client() for _ in range(30)]
        for client in clients:
            await client.__aenter__()
        shares = [len(server.connections) for server in rig.servers.values()]
        assert sum(shares) == 30 and min(shares) >= 3
        for client in clients:
            await client.close()

    Rig(3).run(story)


def test_what_was_sent_when_the_connection_broke_is_lost_and_what_waits_is_sent() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            rig.server.mute = True
            lost = [client.set("/a", b"%d" % number) for number in range(10)]
            await asyncio.sleep(0.1)
            fault = rig.faults.inject(Crash(host="zk1"))
            await reached(client, DISCONNECTED)
            waits = [client.set("/a", b"later"), client.get("/a")]
            for call in lost:
                with pytest.raises(ConnectionLoss):
                    await call
            rig.server.mute = False
            await asyncio.sleep(0.1)
            rig.faults.lift(fault)
            stat, (data, _) = await asyncio.gather(*waits)
            assert (data, stat.version) == (b"later", 11)  # all ten had happened: nobody knew
            executed = [r for _, r, _ in rig.ensemble.log if isinstance(r, api.SetData)]
            assert len(executed) == 11  # none of them twice

    Rig().run(story)


def test_a_call_that_nobody_waits_for_any_more_and_that_was_not_sent_is_dropped() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            fault = rig.faults.inject(Crash(host="zk1"))
            await reached(client, DISCONNECTED)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.set("/a", b"given up")
            later = client.set("/a", b"later")
            rig.faults.lift(fault)
            assert (await later).version == 1

    Rig().run(story)


def test_retry_makes_an_idempotent_call_until_it_is_answered() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a", b"there")
            rig.server.mute = True
            call = asyncio.create_task(retry(client.get, "/a"))
            await asyncio.sleep(0.1)
            for connection in rig.server.connections:
                connection.over.set()
            rig.server.mute = False
            assert (await call)[0] == b"there"
            with pytest.raises(api.CoordinationError):
                await retry(client.get, "/none")

    Rig().run(story)


def test_states_are_told_in_order() -> None:
    async def story(rig):
        seen, called = [], []

        async def follow(states):
            async for state in states:
                seen.append(state)  # noqa: PERF401

        client = rig.client()
        client.on_state(called.append)
        following = asyncio.create_task(follow(client.states()))
        async with client:
            for _ in range(2):
                fault = rig.faults.inject(Crash(host="zk1"))
                await reached(client, DISCONNECTED)
                rig.faults.lift(fault)
                await client.connected()
        await following
        assert called == [CONNECTED, DISCONNECTED, CONNECTED, DISCONNECTED, CONNECTED, SessionState.CLOSED]
        assert seen == [DISCONNECTED, *called]
        assert [state async for state in client.states()] == [SessionState.CLOSED]

    Rig().run(story)


def test_an_expired_session_ends_everything_and_the_client_says_so() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/e", mode=CreateMode.EPHEMERAL)
            watch = Watch()
            await client.exists("/e", watch=watch)
            persistent = await client.add_watch("/")
            fault = rig.faults.inject(Isolate(host="main"))
            waits = client.get("/e")
            await asyncio.sleep(TIMEOUT * 0.8)
            later = client.get("/e")  # while there is no connection
            await asyncio.sleep(TIMEOUT)
            rig.faults.lift(fault)
            await reached(client, SessionState.EXPIRED)
            with pytest.raises(ConnectionLoss):
                await waits
            for call in (later, client.get("/e"), client.connected(), watch, anext(persistent)):
                with pytest.raises(SessionExpired):
                    await call
        async with rig.client() as client:
            assert await client.exists("/e") is None

    Rig(3).run(story)


@pytest.mark.parametrize("seed", range(20))
def test_doubt_comes_before_expiry(seed: int) -> None:
    """A client that is cut off knows that its session may be over before the leader can end it."""

    async def story(rig):
        host = rig.simulation.boot("c")
        client = rig.client(host)
        async with client:
            doubts = []
            client.on_doubt(lambda: doubts.append(now()))
            chance = rig.simulation.chance.stream("test")
            await asyncio.sleep(chance.uniform(0, 5))
            rig.faults.inject(
                chance.choice(
                    [
                        Isolate(host="c"),
                        Cut(source=connected_to(rig), target="c", both=False),
                        Cut(source="c", target=connected_to(rig), both=False),
                    ]
                )
            )
            if chance.random() < 0.5:
                await asyncio.sleep(chance.uniform(0, 2))
                rig.faults.inject(Isolate(host="c"))
            await asyncio.sleep(30)
            if rig.ensemble.expired:
                (doubt,) = doubts
                session = rig.ensemble.expired_at[client.session]
                assert doubt <= session
            else:
                assert client.state is CONNECTED

    Rig(3, seed=seed).run(story)


def test_a_session_is_not_in_doubt_while_it_is_heard_of() -> None:
    async def story(rig):
        async with rig.client() as client:
            doubts = []
            call_off = client.on_doubt(lambda: doubts.append(now()))
            for _ in range(5):
                rig.faults.inject(LoseReply(host=connected_to(rig)))
                client.exists("/").add_done_callback(lambda call: call.exception())
                await asyncio.sleep(TIMEOUT)
            assert doubts == []
            call_off()

    Rig(3).run(story)


def test_a_paused_client_finds_its_session_gone() -> None:
    async def story(rig):
        host = rig.simulation.boot("c")
        clients = []

        async def program(host):
            async with rig.client(host) as client:
                clients.append(client)
                await asyncio.sleep(1000)

        del host
        rig.simulation.boot("p", program)
        await until(lambda: clients and clients[0].state is CONNECTED)
        fault = rig.faults.inject(Pause(host="p"))
        await asyncio.sleep(2 * TIMEOUT)
        rig.faults.lift(fault)
        await until(lambda: clients[0].state is SessionState.EXPIRED)

    Rig(3).run(story)


def test_a_first_connection_has_its_time() -> None:
    async def story(rig):
        rig.server.refuses = True
        with pytest.raises(ConnectionLoss):
            async with rig.client(within=2.0):
                pass
        waiting = asyncio.create_task(rig.client().__aenter__())
        await asyncio.sleep(20)
        rig.server.refuses = False
        client = await waiting
        await client.close()

    Rig().run(story)


def test_closing_without_a_server_does_not_take_long() -> None:
    async def story(rig):
        async with rig.client():
            rig.faults.inject(Crash(host="zk1"))
            await asyncio.sleep(1)
            began = now()
        assert now() - began <= TIMEOUT / 3 + 0.1

    Rig().run(story)


def test_a_read_only_client_reads_and_goes_to_a_better_server_when_there_is_one() -> None:
    async def story(rig):
        for name in ("zk1", "zk2"):
            rig.servers[name].refuses = True
        rig.servers["zk3"].read_only = True
        async with rig.client(read_only=True) as client:
            states = client.states()
            assert await anext(states) is SessionState.CONNECTED_READ_ONLY
            assert await client.exists("/")
            changed = Watch()
            await client.children("/", watch=changed)
            await asyncio.sleep(5)
            rig.servers["zk1"].refuses = False
            await reached(client, CONNECTED)
            assert rig.servers["zk1"].connections
            assert rig.servers["zk1"].hellos[-1].session == 0  # the ensemble knew nothing of the first one
            assert [await anext(states) for _ in range(2)] == [DISCONNECTED, CONNECTED]
            await client.create("/a")
            assert (await changed).path == "/"

    Rig(3).run(story)


def test_a_request_that_ends_every_connection_does_not_make_a_storm_of_them() -> None:
    async def story(rig):
        async with rig.client() as client:
            rig.server.spoil = lambda message: b"nonsense"
            calling = asyncio.create_task(retry(client.get, "/"))
            await asyncio.sleep(20)
            assert 10 < len(rig.server.hellos) < 50
            rig.server.spoil = None
            await calling
            await asyncio.sleep(5)
            fault = rig.faults.inject(Crash(host="zk1"))
            await reached(client, DISCONNECTED)
            rig.faults.lift(fault)
            began = now()
            await client.connected()
            assert now() - began < 0.1  # it is found again at once, after a time of peace

    Rig().run(story)
