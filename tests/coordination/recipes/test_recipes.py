"""Each recipe in calm weather (2.4)."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination.client import NodeExists, NoNode
from services.coordination.recipes import (
    Configuration,
    DoubleBarrier,
    Election,
    Group,
    Queue,
    ReadyConfiguration,
    Rendezvous,
)
from services.coordination.recipes.election import leader, leaders
from tests.coordination.client.rig import Rig
from tests.coordination.recipes.clients import Clients, settled, started


def test_configuration_is_followed_to_its_last_value() -> None:
    async def story(rig):
        async with Clients(rig, 2) as (writer, reader):
            seen = []

            async def follow():
                async for value in Configuration(reader, "/app/config").follow():
                    seen.append(value)  # noqa: PERF401

            following = asyncio.create_task(follow())
            await settled()
            assert seen == []
            for number in range(50):
                await Configuration(writer, "/app/config").put(b"%d" % number)
            await settled()
            assert seen[-1] == b"49"
            assert seen == sorted(seen, key=int)
            following.cancel()

    Rig().run(story)


def test_updates_of_a_configuration_do_not_overwrite_each_other() -> None:
    async def story(rig):
        async with Clients(rig, 5) as clients:
            await Configuration(clients[0], "/count").put(b"0")

            async def add(client):
                for _ in range(20):
                    await Configuration(client, "/count").update(lambda data: b"%d" % (int(data) + 1))

            await asyncio.gather(*map(add, clients))
            assert (await clients[0].get("/count"))[0] == b"100"

    Rig().run(story)


@pytest.mark.parametrize("interleave", [False, True])
def test_nobody_reads_a_mixture_of_two_configurations(interleave: bool) -> None:
    async def story(rig):
        async with Clients(rig, 3) as (writer, *readers):
            seen = []

            async def read(client):
                while True:
                    values = await ReadyConfiguration(client, "/conf").read()
                    numbers = {int(value) for value in values.values()}
                    assert len(numbers) == 1 and len(values) == 10 + numbers.pop() % 3
                    seen.append(values)

            reading = started(*map(read, readers))
            for number in range(60):
                values = {f"v{index}": b"%d" % number for index in range(10 + number % 3)}
                await ReadyConfiguration(writer, "/conf").publish(values)
                await asyncio.sleep(0.003)
            await settled(0.1)
            assert len(seen) > 50
            assert not any(task.done() for task in reading)
            for task in reading:
                task.cancel()
            follower = ReadyConfiguration(readers[0], "/conf").follow()
            assert (await anext(follower))["v0"] == b"59"
            with pytest.raises(ValueError, match="ready"):
                await ReadyConfiguration(writer, "/conf").publish({"ready": b""})

    Rig(interleave=interleave).run(story)


def test_those_who_meet_find_each_other_whoever_comes_first() -> None:
    async def story(rig):
        async with Clients(rig, 3) as (starter, master, worker):
            early = asyncio.create_task(Rendezvous(worker, "/jobs/1").meet())
            await settled()
            await Rendezvous(starter, "/jobs/1").open(ephemeral=True)
            await settled()
            assert not early.done()
            with pytest.raises(ValueError, match="empty"):
                await Rendezvous(master, "/jobs/1").fill(b"")
            await Rendezvous(master, "/jobs/1").fill(b"master:1234")
            assert await early == b"master:1234" == await Rendezvous(worker, "/jobs/1").meet()
            over = asyncio.create_task(Rendezvous(worker, "/jobs/1").closed())
            await settled()
            assert not over.done()
            await starter.close()
            await over
            with pytest.raises(NoNode):
                await Rendezvous(master, "/jobs/1").fill(b"x")

    Rig().run(story)


def test_a_group_lists_who_is_there() -> None:
    async def story(rig):
        async with Clients(rig, 3) as (one, two, watcher):
            seen = []

            async def follow():
                async for names in Group(watcher, "/group").follow():
                    seen.append(names)  # noqa: PERF401

            following = asyncio.create_task(follow())
            member = await Group(one, "/group").join("one", b"address")
            with pytest.raises(NodeExists):
                await Group(two, "/group").join("one")
            async with await Group(two, "/group").join() as other:
                members = await Group(watcher, "/group").members()
                assert members == {"one": b"address", other.name: b""}
                assert member.held and other.held
            await settled()
            assert seen[-1] == ("one",)
            await one.close()
            await settled()
            assert seen[0] == seen[-1] == ()
            assert member.lost.is_set() and not member.held
            assert await Group(watcher, "/nobody").members() == {}
            following.cancel()

    Rig().run(story)


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_at_a_double_barrier_all_begin_together_and_end_together(size: int) -> None:
    async def story(rig):
        async with Clients(rig, size) as clients:
            come, gone = set(), set()
            wakeups = 0

            async def work(number, client):
                nonlocal wakeups
                chance = client.host.rng
                await asyncio.sleep(chance.uniform(0, 1))
                barrier = DoubleBarrier(client, "/barriers/b", size, f"p{number}")
                come.add(number)
                await barrier.enter()
                assert len(come) == size
                await asyncio.sleep(chance.uniform(0, 1))
                gone.add(number)
                await barrier.leave()
                assert len(gone) == size
                wakeups += barrier.wakeups

            await asyncio.gather(*(work(*pair) for pair in enumerate(clients)))
            assert await clients[0].children("/barriers/b") == ("ready",)
            assert wakeups <= 3 * size  # on average: one to begin, one to end, the last one's

    Rig().run(story)


def test_names_at_a_barrier_are_unique() -> None:
    async def story(rig):
        async with Clients(rig, 2) as (one, two):
            first = asyncio.create_task(DoubleBarrier(one, "/b", 2, "p").enter())
            await settled()
            with pytest.raises(NodeExists):
                await DoubleBarrier(two, "/b", 2, "p").enter()
            await DoubleBarrier(two, "/b", 2).enter()
            await first
            for name in ("ready", "a/b"):
                with pytest.raises(ValueError, match="name"):
                    DoubleBarrier(one, "/b", 2, name)

    Rig().run(story)


def test_who_fails_between_the_barriers_does_not_keep_the_others() -> None:
    async def story(rig):
        async with Clients(rig, 3) as clients:

            async def work(number, client):
                async with DoubleBarrier(client, "/b", 3):
                    if number == 1:
                        raise RuntimeError("mine")

            results = await asyncio.gather(
                *(work(*pair) for pair in enumerate(clients)), return_exceptions=True
            )
            assert [type(result) for result in results] == [type(None), RuntimeError, type(None)]

    Rig().run(story)


def test_a_queue_gives_each_element_to_one_consumer_in_order() -> None:
    async def story(rig):
        async with Clients(rig, 6) as (*producers, one, two, three):
            taken = []

            async def produce(number, client):
                for item in range(20):
                    await Queue(client, "/q").put(b"%d %d" % (number, item))

            async def consume(client):
                queue = Queue(client, "/q")
                while True:
                    async with await queue.get() as element:
                        taken.append(element.data)
                        await asyncio.sleep(client.host.rng.uniform(0, 0.01))

            consuming = started(*map(consume, (one, two, three)))
            await asyncio.gather(*(produce(*pair) for pair in enumerate(producers)))
            await settled()
            assert len(taken) == len(set(taken)) == 60
            for number in range(3):
                of_one = [item for item in taken if item.startswith(b"%d " % number)]
                assert of_one == [b"%d %d" % (number, item) for item in range(20)]
            assert await one.count("/q") == 3  # nothing is left but the three folders
            for task in consuming:
                task.cancel()

    Rig().run(story)


def test_an_element_that_is_given_back_comes_again_before_the_others() -> None:
    async def story(rig):
        async with Clients(rig, 2) as (one, two):
            for item in (b"a", b"b"):
                await Queue(one, "/q").put(item)
            element = await Queue(one, "/q").get()
            with pytest.raises(RuntimeError):
                async with element:
                    raise RuntimeError("cannot")
            async with await Queue(two, "/q").get() as again:
                assert again.data == element.data == b"a"
                assert again.fence > element.fence

    Rig().run(story)


def test_an_election_has_one_leader_that_the_others_know() -> None:
    async def story(rig):
        async with Clients(rig, 4) as (a, b, c, watcher):
            seen = []

            async def follow():
                async for name in leaders(watcher, "/leader"):
                    seen.append(name)  # noqa: PERF401

            following = asyncio.create_task(follow())
            await settled(0.1)
            assert await leader(watcher, "/nothing") is None is await leader(watcher, "/leader")
            terms = [Election(client, "/leader", name) for client, name in ((a, b"a"), (b, b"b"), (c, b"c"))]
            running = []
            for term in terms:
                running += started(term.acquire())
                await settled(0.1)
            assert await leader(watcher, "/leader") == b"a"
            await a.close()  # with the session goes the leader
            await settled(0.1)
            assert terms[0].lost.is_set() and terms[1].held and not running[2].done()
            await terms[1].release()
            await settled(0.1)
            assert terms[2].held and terms[2].fence > terms[1].fence > terms[0].fence
            await terms[2].release()
            await settled(0.1)
            assert seen == [None, b"a", b"b", b"c", None]
            following.cancel()

    Rig().run(story)
