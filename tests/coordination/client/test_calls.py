"""What each call sends and returns, and in which order (2.2, 2.3)."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination import api
from services.coordination.api import Acl, Code, CreateMode, EventType, Permission, SessionState
from services.coordination.client import (
    AuthFailed,
    BadArguments,
    BadVersion,
    Client,
    NodeExists,
    NoNode,
    NotEmpty,
    SessionExpired,
    Throttled,
    TransactionFailed,
    Watch,
)
from tests.coordination.client.rig import Rig


def test_each_call_returns_what_it_is_for() -> None:
    async def story(rig):
        async with rig.client() as client:
            assert await client.create("/a", b"one") == "/a"
            assert await client.create("/a/s-", mode=CreateMode.EPHEMERAL_SEQUENTIAL) == "/a/s-0000000000"
            data, stat = await client.get("/a")
            assert (data, stat.version, stat.num_children) == (b"one", 0, 1)
            assert (await client.set("/a", b"two", 0)).version == 1
            assert (await client.exists("/a")).data_length == 3
            assert await client.exists("/b") is None
            assert await client.children("/a") == ("s-0000000000",)
            assert await client.count("/") == 2
            assert await client.get_ephemerals() == ("/a/s-0000000000",)
            assert (await client.exists("/a/s-0000000000")).ephemeral_owner == client.session
            acl = (Acl(Permission.READ, "world", "anyone"),)
            assert (await client.set_acl("/a", acl)).aversion == 1
            assert (await client.get_acl("/a"))[0] == acl
            await client.add_auth("digest", b"me:secret")
            assert [who.scheme for who in await client.who_am_i()] == ["digest"]
            assert await client.sync() is None
            assert await client.reconfigure(joining=["server.4=zk4:1:2"]) == b"server.4=zk4:1:2"
            assert await client.delete("/a/s-0000000000") is None
            assert (await client.call(api.GetAllChildrenNumber("/"))).count == 1

    Rig().run(story)


def test_an_error_says_what_and_where_by_its_class() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            await client.create("/a/b")
            for call, kind, path in (
                (client.get("/none"), NoNode, "/none"),
                (client.create("/a"), NodeExists, "/a"),
                (client.delete("/a"), NotEmpty, "/a"),
                (client.set("/a", b"", 7), BadVersion, "/a"),
            ):
                with pytest.raises(kind) as caught:
                    await call
                assert caught.value.path == path

    Rig().run(story)


def test_what_cannot_be_meant_is_refused_at_once() -> None:
    async def story(rig):
        async with rig.client() as client:
            for path in ("", "a", "a/b"):
                with pytest.raises(BadArguments):
                    client.get(path)
            with pytest.raises(TypeError, match="data must be bytes, not str"):
                client.create("/a", "text")
        with pytest.raises(ValueError, match="at least one server"):
            Client(rig.main, [])
        with pytest.raises(ValueError, match="timeout"):
            Client(rig.main, ["zk1"], timeout=0)
        for chroot in ("app", "/app/", "/"):
            with pytest.raises(ValueError, match="chroot"):
                Client(rig.main, ["zk1"], chroot=chroot)

    Rig().run(story)


def test_a_thousand_calls_travel_together_and_are_answered_in_order() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            before = len(rig.server.messages)
            answered = []
            calls = []
            for number in range(1000):
                call = client.set("/a", b"%d" % number) if number % 3 else client.get("/a")
                call.add_done_callback(lambda _, number=number: answered.append(number))
                calls.append(call)
            results = await asyncio.gather(*calls)
            assert answered == [*range(1000)]
            assert len(rig.server.messages) - before <= 3
            for number, result in enumerate(results):  # each read sees the write before it
                if number and not number % 3:
                    assert result[0] == b"%d" % (number - 1)

    Rig().run(story)


def test_large_requests_travel_in_messages_of_a_megabyte() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            before = len(rig.server.messages)
            await asyncio.gather(*(client.set("/a", bytes(300_000)) for _ in range(10)))
            assert rig.server.messages[before:] == [3, 3, 3, 1]
            await client.set("/a", bytes(2_000_000))

    Rig().run(story)


def test_a_transaction_is_all_or_nothing_and_says_what_failed() -> None:
    async def story(rig):
        async with rig.client(chroot="") as client:
            transaction = client.transaction()
            transaction.create("/a", b"1")
            transaction.set("/a", b"2")
            transaction.check("/a", 1)
            transaction.create("/a/n-", mode=CreateMode.PERSISTENT_SEQUENTIAL)
            transaction.delete("/a/n-0000000000")
            created, written, *rest = await transaction.commit()
            assert created == "/a" and written.version == 1
            assert rest == [None, "/a/n-0000000000", None]

            transaction = client.transaction()
            transaction.delete("/a")
            transaction.check("/b")
            transaction.create("/c")
            with pytest.raises(TransactionFailed) as caught:
                await transaction.commit()
            assert (caught.value.code, caught.value.path) == (Code.NO_NODE, "/b")
            assert caught.value.codes == (Code.OK, Code.NO_NODE, Code.RUNTIME_INCONSISTENCY)
            assert await client.exists("/a") and not await client.exists("/c")

    Rig().run(story)


def test_paths_are_below_the_chroot_and_seen_without_it() -> None:
    async def story(rig):
        async with rig.client() as plain, rig.client(chroot="/app") as client:
            await plain.create("/app")
            assert await client.create("/a") == "/a"
            changed, born = Watch(), Watch()
            await client.children("/", watch=changed)
            await client.exists("/e", watch=born)
            assert await client.create("/e", mode=CreateMode.EPHEMERAL) == "/e"
            assert (await changed).path == "/"
            assert (await born).path == "/e"
            assert await client.get_ephemerals() == ("/e",)
            transaction = client.transaction()
            transaction.create("/t")
            assert await transaction.commit() == ("/t",)
            watch = await client.add_watch("/", recursive=True)
            await plain.create("/app/x")
            await client.sync()
            assert (await anext(watch)).path == "/x"
            with pytest.raises(NoNode) as caught:
                await client.get("/none")
            assert caught.value.path == "/none"
            assert sorted(await plain.children("/app")) == ["a", "e", "t", "x"]

    Rig().run(story)


def test_a_caller_that_gives_up_leaves_the_session_as_it_is() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            task = asyncio.ensure_future(_await(client.set("/a", b"1")))
            later = client.get("/a")
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await later)[0] == b"1"  # it was on its way, and has happened
            async with asyncio.timeout(1):
                assert (await client.get("/a"))[0] == b"1"
            assert client.state is SessionState.CONNECTED

    Rig().run(story)


async def _await(future):
    return await future


def test_more_calls_than_may_wait_are_refused_and_the_session_lives() -> None:
    async def story(rig):
        async with rig.client(max_pending=10) as client:
            calls = [client.exists("/") for _ in range(12)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [isinstance(result, Throttled) for result in results] == [False] * 10 + [True] * 2
            assert await client.exists("/")
            rig.server.mute = True
            calls = [client.exists("/") for _ in range(10)]
            await asyncio.sleep(1.2)  # a heartbeat finds room nevertheless
            assert [type(request) for _, request, _ in rig.ensemble.log][-1] is api.Ping
            rig.server.mute = False
            await asyncio.gather(*calls, return_exceptions=True)

    Rig().run(story)


def test_wrong_credentials_end_the_client() -> None:
    async def story(rig):
        async with rig.client() as client:
            states = client.states()
            with pytest.raises(AuthFailed):
                await client.add_auth("kerberos", b"x")
            assert client.state is SessionState.AUTH_FAILED
            with pytest.raises(AuthFailed):
                await client.get("/")
            assert [state async for state in states][-1] is SessionState.AUTH_FAILED

    Rig().run(story)


def test_closing_answers_what_was_asked_before_and_takes_ephemerals_along() -> None:
    async def story(rig):
        async with rig.client() as other:
            gone = Watch()
            async with rig.client() as client:
                calls = [client.create(f"/{number}", mode=CreateMode.EPHEMERAL) for number in range(100)]
                await asyncio.sleep(0.1)
                await other.exists("/7", watch=gone)
                calls.append(client.create("/last"))
            assert [await call for call in calls][-1] == "/last"
            assert (await gone).type is EventType.DELETED
            assert await other.children("/") == ("last",)
            assert client.state is SessionState.CLOSED
            with pytest.raises(SessionExpired):
                await client.get("/")
            await client.close()  # a second time does nothing

    Rig().run(story)


def test_an_answer_out_of_order_ends_the_connection_and_not_the_client() -> None:
    """The server's promise is checked, whoever the server is."""

    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            rig.server.spoil = lambda message: message.replace(b"Reply", b"Relpy")
            with pytest.raises(api.CoordinationError) as caught:
                await client.get("/a")
            assert caught.value.code is Code.CONNECTION_LOSS
            rig.server.spoil = None
            assert (await client.get("/a"))[0] == b""

    Rig().run(story)
