"""Watches: one-shot, before the state that they tell of, registered again; what is lost and what is not (2.1,
2.3)."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination.api import CreateMode, EventType, SessionState, WatchKind
from services.coordination.client import EventsLost, NoNode, NoWatcher, Watch
from sim.faults import Crash
from tests.coordination.client.rig import Rig
from tests.coordination.client.test_session import reached

CREATED, DELETED = EventType.CREATED, EventType.DELETED
DATA, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED


def test_a_watch_fires_once_and_only_another_read_arms_it_again() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            watch = Watch()
            await client.get("/a", watch=watch)
            assert not watch.fired
            for _ in range(5):
                await client.set("/a", b"x")
            event = await watch
            assert (event.type, event.path) == (DATA, "/a")
            assert len(rig.ensemble.events) == 1
            assert await watch == event  # as often as one likes

    Rig().run(story)


def test_each_read_watches_for_what_apache_says() -> None:
    """Created: exists. Deleted: all three. Changed: exists, getData. ChildrenChanged: getChildren."""

    async def story(rig):
        async with rig.client() as client:

            async def seen(before, read, change):
                await before()
                watch = Watch()
                await read(watch)
                await change()
                await client.sync()
                kind = (await watch).type if watch.fired else None
                for path in ("/n/c", "/n"):
                    if await client.exists(path):
                        await client.delete(path)
                return kind

            async def nothing():
                pass

            async def there():
                await client.create("/n")

            def exists(watch):
                return client.exists("/n", watch=watch)

            def get(watch):
                return client.get("/n", watch=watch)

            def children(watch):
                return client.children("/n", watch=watch)

            async def change():
                await client.set("/n", b"2")

            async def bear():
                await client.create("/n/c")

            async def delete():
                await client.delete("/n")

            assert await seen(nothing, exists, there) is CREATED
            assert [await seen(there, read, delete) for read in (exists, get, children)] == [DELETED] * 3
            assert [await seen(there, read, change) for read in (exists, get, children)] == [DATA, DATA, None]
            assert [await seen(there, read, bear) for read in (exists, get, children)] == [
                None,
                None,
                CHILDREN,
            ]

    Rig().run(story)


@pytest.mark.parametrize("interleave", [False, True])
def test_the_event_comes_before_any_answer_that_shows_the_change(interleave: bool) -> None:
    async def story(rig):
        async with rig.client() as reader, rig.client() as writer:
            await writer.create("/a", b"0")
            for number in range(1, 50):
                told = []
                watch = Watch(told.append)
                data, _ = await reader.get("/a", watch=watch)
                change = writer.set("/a", b"%d" % number)
                while (await reader.get("/a"))[0] == data:
                    pass
                assert watch.fired and [event.type for event in told] == [DATA]
                await change

    Rig(interleave=interleave).run(story)


def test_a_read_that_fails_leaves_no_watch_and_says_so_to_who_awaits_it() -> None:
    async def story(rig):
        async with rig.client() as client:
            watch = Watch()
            with pytest.raises(NoNode):
                await client.get("/none", watch=watch)
            with pytest.raises(NoNode):
                await watch
            assert not watch.fired

    Rig().run(story)


def test_two_watches_at_one_node_hear_of_one_event_and_one_watch_of_two_reads_once() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            told = []
            one, two = Watch(told.append), Watch(told.append)
            await client.get("/a", watch=one)
            await client.exists("/a", watch=one)
            await client.children("/a", watch=one)
            await client.get("/a", watch=two)
            await client.delete("/a")
            assert await one == await two
            assert len(told) == 2

    Rig().run(story)


def test_who_gives_up_waiting_may_wait_again() -> None:
    async def story(rig):
        async with rig.client() as client:
            watch = Watch()
            await client.exists("/a", watch=watch)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await watch
            await client.create("/a")
            assert (await watch).type is CREATED

    Rig().run(story)


def test_a_callback_that_fails_is_reported_and_harms_nobody() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")

            def fail(event):
                raise RuntimeError("mine")

            other = Watch()
            await client.get("/a", watch=Watch(fail))
            await client.get("/a", watch=other)
            await client.set("/a", b"")
            assert other.fired and client.state is SessionState.CONNECTED
        assert [str(what["exception"]) for what in rig.errors] == ["mine"]
        rig.errors.clear()

    Rig().run(story)


def test_watches_are_registered_again_and_fire_for_what_was_missed() -> None:
    async def story(rig):
        host = rig.simulation.boot("c")
        async with rig.client(timeout=30) as writer, rig.client(host, timeout=30) as client:
            for path in ("/changed", "/deleted", "/parent", "/same", "/emptied"):
                await writer.create(path)
            names = ("changed", "deleted", "born", "parent", "same", "emptied", "absent")
            watches = {name: Watch() for name in names}
            await client.get("/changed", watch=watches["changed"])
            await client.get("/deleted", watch=watches["deleted"])
            await client.exists("/born", watch=watches["born"])
            await client.children("/parent", watch=watches["parent"])
            await client.get("/same", watch=watches["same"])
            await client.children("/emptied", watch=watches["emptied"])
            await client.exists("/absent", watch=watches["absent"])
            persistent = await client.add_watch("/same")
            recursive = await client.add_watch("/parent", recursive=True)
            for connection in rig.ensemble.sessions[client.session].connection, None:
                if connection:
                    for name in rig.servers:
                        rig.servers[name].refuses = True
                    connection.over.set()
            await reached(client, SessionState.DISCONNECTED)
            await writer.set("/changed", b"2")
            await writer.delete("/deleted")
            await writer.create("/born")
            await writer.create("/parent/child")
            await writer.delete("/emptied")
            # Created and deleted meanwhile: the one case that is lost.
            await writer.create("/absent")
            await writer.delete("/absent")
            for server in rig.servers.values():
                server.refuses = False
            await client.connected()
            await client.sync()
            kinds = {name: (await watch).type for name, watch in watches.items() if watch.fired}
            assert kinds == {
                "changed": DATA, "deleted": DELETED, "born": CREATED, "parent": CHILDREN, "emptied": DELETED
            }  # fmt: skip
            await writer.set("/same", b"2")
            await writer.create("/parent/second")
            await writer.create("/absent")
            assert (await watches["same"]).type is (await anext(persistent)).type is DATA
            assert (await anext(recursive)).path == "/parent/second"
            assert (await watches["absent"]).type is CREATED

    Rig(2).run(story)


def test_very_many_watches_are_registered_in_several_messages() -> None:
    async def story(rig):
        async with rig.client(timeout=30) as client:
            watches = [Watch() for _ in range(5000)]
            long = "x" * 100
            await asyncio.gather(
                *(client.exists(f"/{long}{number}", watch=watch) for number, watch in enumerate(watches))
            )
            fault = rig.faults.inject(Crash(host="zk1"))
            await reached(client, SessionState.DISCONNECTED)
            rig.faults.lift(fault)
            await client.create(f"/{long}4999")
            assert (await watches[4999]).type is CREATED
            registrations = [r for _, r, _ in rig.ensemble.log if type(r).__name__ == "SetWatches"]
            assert len(registrations) > 3

    Rig().run(story)


def test_iterating_watches_sees_every_last_state() -> None:
    """Each event precedes a read that misses nothing, though several changes may be one event."""

    async def story(rig):
        async with rig.client() as reader, rig.client() as writer:
            seen, kinds = [], []

            async def follow():
                async for event in reader.watch("/a"):
                    kinds.append(event.type)
                    if await reader.exists("/a"):
                        seen.append((await reader.get("/a"))[0])
                        if seen[-1] == b"199":
                            return

            following = asyncio.create_task(follow())
            await asyncio.sleep(0.1)
            await writer.create("/a")
            chance = rig.simulation.chance.stream("test")
            for number in range(200):
                writer.set("/a", b"%d" % number)
                if chance.random() < 0.2:
                    await asyncio.sleep(chance.uniform(0, 0.01))
            async with asyncio.timeout(10):
                await following
            assert kinds[:2] == [EventType.NONE, CREATED] and set(kinds[2:]) == {DATA}
            assert len(kinds) < 150

    Rig().run(story)


def test_iterating_over_children_ends_with_their_parent() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            kinds = []

            async def follow():
                async for event in client.watch("/a", children=True):
                    kinds.append(event.type)  # noqa: PERF401

            following = asyncio.create_task(follow())
            await asyncio.sleep(0.1)
            await client.create("/a/b")
            await asyncio.sleep(0.1)
            await client.delete("/a/b")
            await asyncio.sleep(0.1)
            await client.delete("/a")
            with pytest.raises(NoNode):
                await following
            assert kinds == [EventType.NONE, CHILDREN, CHILDREN]

    Rig().run(story)


def test_an_iterator_that_is_left_leaves_nothing_behind() -> None:
    async def story(rig):
        async with rig.client() as client:
            for _ in range(10):
                events = client.watch("/a")
                await anext(events)
                await events.aclose()
            assert [*client._watches.registrations(0)] == []

    Rig().run(story)


def test_persistent_watches_see_every_change_and_recursive_ones_the_whole_subtree() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            persistent = await client.add_watch("/a")
            recursive = await client.add_watch("/a", recursive=True)
            await client.set("/a", b"1")
            await client.create("/a/b")
            await client.set("/a/b", b"1")
            await client.delete("/a/b")
            await client.delete("/a")

            async def kinds(watch, count):
                return [((event := await anext(watch)).type, event.path) for _ in range(count)]

            assert await kinds(persistent, 4) == [
                (DATA, "/a"), (CHILDREN, "/a"), (CHILDREN, "/a"), (DELETED, "/a")
            ]  # fmt: skip
            assert await kinds(recursive, 5) == [
                (DATA, "/a"), (CREATED, "/a/b"), (DATA, "/a/b"), (DELETED, "/a/b"), (DELETED, "/a")
            ]  # fmt: skip
            await client.remove_watch(persistent)
            with pytest.raises(StopAsyncIteration):
                await anext(persistent)
            await client.create("/a")
            assert await kinds(recursive, 1) == [(CREATED, "/a")]

    Rig().run(story)


def test_a_reader_that_lags_costs_bounded_memory_and_is_told() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            watch = await client.add_watch("/a", limit=10)
            for number in range(100):
                await client.set("/a", b"%d" % number)
            zxids = [(await anext(watch)).zxid for _ in range(10)]
            assert zxids == [*range(zxids[0], zxids[0] + 10)]
            with pytest.raises(EventsLost):
                await anext(watch)
            await client.set("/a", b"")
            assert (await anext(watch)).zxid == client.last_zxid

    Rig().run(story)


def test_removed_watches_say_so() -> None:
    async def story(rig):
        async with rig.client() as client:
            await client.create("/a")
            data, child = Watch(), Watch()
            await client.get("/a", watch=data)
            await client.children("/a", watch=child)
            persistent = await client.add_watch("/a")
            await client.remove_watches("/a", WatchKind.DATA)
            assert (await data).type is EventType.DATA_WATCH_REMOVED
            assert not child.fired
            await client.remove_watches("/a")
            assert (await child).type is EventType.CHILD_WATCH_REMOVED
            assert [event.type async for event in persistent] == [EventType.PERSISTENT_WATCH_REMOVED]
            with pytest.raises(NoWatcher):
                await client.remove_watches("/a")
            await client.set("/a", b"")
            assert rig.ensemble.events == []

    Rig().run(story)


def test_an_ephemeral_goes_with_its_session_and_its_watchers_hear_of_it() -> None:
    async def story(rig):
        async with rig.client() as watcher:
            gone = Watch()
            host = rig.simulation.boot("c")
            client = await rig.client(host).__aenter__()
            await client.create("/e", mode=CreateMode.EPHEMERAL)
            await watcher.exists("/e", watch=gone)
            began = asyncio.get_running_loop().time()
            rig.faults.inject(Crash(host="c"))
            assert (await gone).type is DELETED
            assert asyncio.get_running_loop().time() - began >= 2.0

    Rig().run(story)
