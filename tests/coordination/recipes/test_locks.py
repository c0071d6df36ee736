"""Locks in calm weather (2.4)."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination.recipes import (
    Lock,
    ReadLock,
    SimpleLock,
    WriteLock,
)
from tests.coordination.client.rig import Rig
from tests.coordination.recipes.clients import Clients, settled, started


@pytest.mark.parametrize("kind", [SimpleLock, Lock, WriteLock])
def test_a_lock_has_one_holder_and_its_fence_rises(kind) -> None:
    async def story(rig):
        async with Clients(rig, 6) as clients:
            inside, fences = [], []

            async def work(client):
                for _ in range(5):
                    async with kind(client, "/locks/l") as lock:
                        inside.append(client)
                        assert len(inside) == 1 and lock.held
                        fences.append(lock.fence)
                        await asyncio.sleep(0.01)
                        inside.remove(client)
                    assert not lock.held

            await asyncio.gather(*map(work, clients))
            assert len(fences) == 30 and fences == sorted(set(fences))

    Rig().run(story)


def test_a_lock_object_is_for_one_holder() -> None:
    async def story(rig):
        async with rig.client() as client:
            for lock in (Lock(client, "/l"), SimpleLock(client, "/s")):
                async with lock:
                    with pytest.raises(RuntimeError, match="held by this object"):
                        await lock.acquire()
                await lock.release()  # nothing to give back
                async with lock:  # and again
                    pass

    Rig().run(story)


def test_a_release_wakes_one_with_the_lock_and_everybody_with_the_simple_one() -> None:
    """The herd effect, in wake-ups: n(n-1)/2 against n-1."""

    async def story(rig):
        async with Clients(rig, 10) as clients:
            for kind, expected in ((SimpleLock, 45), (Lock, 9)):
                path = f"/{kind.__name__}"
                first = kind(clients[0], path)
                await first.acquire()
                locks = [kind(client, path) for client in clients[1:]]

                async def work(lock):
                    async with lock:
                        await asyncio.sleep(0.1)

                working = started(*map(work, locks))
                await settled()
                events = len(rig.ensemble.events)
                await first.release()
                await asyncio.gather(*working)
                assert sum(lock.wakeups for lock in locks) == expected
                assert len(rig.ensemble.events) - events == expected

    Rig().run(story)


def test_locks_are_granted_in_the_order_in_which_they_were_asked_for() -> None:
    async def story(rig):
        async with Clients(rig, 8) as clients:
            granted = []

            async def work(number):
                async with Lock(clients[number], "/l"):
                    granted.append(number)
                    await asyncio.sleep(0.05)

            working = []
            for number in range(8):
                working += started(work(number))
                await asyncio.sleep(0.01)
            await asyncio.gather(*working)
            assert granted == [*range(8)]

    Rig().run(story)


@pytest.mark.parametrize("kind", [SimpleLock, Lock])
def test_who_gives_up_waiting_is_out_of_the_way(kind) -> None:
    """At any moment of the acquisition, between any two messages."""

    async def story(rig):
        async with Clients(rig, 3) as (holder, quitter, last):
            for step in range(30):
                async with kind(holder, "/l"):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(step * 0.0005):
                            await kind(quitter, "/l").acquire()
                    waiting = asyncio.create_task(kind(last, "/l").acquire())
                    await settled(0.1)
                async with asyncio.timeout(0.5):
                    await waiting
                await last.close()
                last = await rig.client(last.host).__aenter__()
            await last.close()
            await settled()
            assert not any("lock" in name for name in await holder.children("/"))

    Rig().run(story)


def test_readers_share_and_writers_do_not() -> None:
    async def story(rig):
        async with Clients(rig, 8) as clients:
            readers, writers, most = [], [], 0

            async def work(number, client):
                nonlocal most
                for turn in range(6):
                    reads = (number + turn) % 3
                    async with (ReadLock if reads else WriteLock)(client, "/rw"):
                        inside = readers if reads else writers
                        inside.append(number)
                        most = max(most, len(readers))
                        assert len(writers) + bool(readers) == 1
                        await asyncio.sleep(0.02)
                        inside.remove(number)

            await asyncio.gather(*(work(*pair) for pair in enumerate(clients)))
            assert most > 1

    Rig().run(story)


def test_a_reader_waits_for_the_writer_before_it_and_no_other() -> None:
    """The paper's reader would look for ever at the list that it had; see `read_write_lock`."""

    async def story(rig):
        async with Clients(rig, 5) as (a, b, c, d, e):
            first, second = ReadLock(a, "/rw"), WriteLock(b, "/rw")
            third, fourth, fifth = ReadLock(c, "/rw"), ReadLock(d, "/rw"), WriteLock(e, "/rw")
            await first.acquire()
            waits = []
            for lock in (second, third, fourth, fifth):
                waits += started(lock.acquire())
                await settled(0.1)
            assert [wait.done() for wait in waits] == [False] * 4
            await first.release()
            await settled(0.1)
            assert [wait.done() for wait in waits] == [True, False, False, False]
            await second.release()
            await settled(0.1)
            assert [wait.done() for wait in waits] == [True, True, True, False]
            assert [lock.wakeups for lock in (second, third, fourth, fifth)] == [1, 1, 1, 0]
            await fourth.release()
            await settled(0.1)
            await third.release()
            await settled(0.1)
            assert waits[3].done()

    Rig().run(story)
