"""Each answer lost, one at a time: a recipe does what it says all the same, and leaves nothing behind.

A short story of each recipe is told again and again; the n-th time, the connection breaks at the n-th request
that any client sends, once it was executed, or before.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from services.coordination.client import retry
from services.coordination.recipes import (
    Configuration,
    DoubleBarrier,
    Group,
    Lock,
    Queue,
    ReadLock,
    Rendezvous,
    SimpleLock,
)
from tests.coordination.client.rig import Rig

MOST = 200  # requests of a story


async def two_holders(kind, one, two):
    first, second = kind(one, "/l"), kind(two, "/l")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.1)
    assert first.held and not waiting.done()
    await first.release()
    await waiting
    assert second.held and second.fence > first.fence
    await second.release()


async def simple_lock(one, two):
    await two_holders(SimpleLock, one, two)


async def lock(one, two):
    await two_holders(Lock, one, two)


async def readers(one, two):
    async with ReadLock(one, "/l") as first, ReadLock(two, "/l") as second:
        assert first.held and second.held


async def given_up(one, two):
    async with Lock(one, "/l"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await Lock(two, "/l").acquire()
    async with Lock(one, "/l"):
        pass
    await asyncio.sleep(0.2)


async def barrier(one, two):
    async def through(client, name):
        async with DoubleBarrier(client, "/b", 2, name):
            pass

    await asyncio.gather(through(one, "one"), through(two, "two"))


async def queue(one, two):
    for item in (b"a", b"b", b"c"):
        await Queue(one, "/q").put(item)
    taken = []
    for client in (two, one, two):
        async with await Queue(client, "/q").get() as element:
            assert element.held
            taken.append(element.data)
    assert taken == [b"a", b"b", b"c"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await Queue(one, "/q").get()
    await asyncio.sleep(0.2)


async def claims(one, two):
    """An element that is given back goes to the one who waits, and to nobody else."""
    await Queue(one, "/q").put(b"a")
    element = await Queue(one, "/q").get()
    waiting = asyncio.create_task(Queue(two, "/q").get())
    await asyncio.sleep(0.1)
    await element.release()
    again = await waiting
    assert again.held and again.data == b"a"
    await again.done()
    await asyncio.sleep(0.2)


async def group(one, two):
    async with await Group(one, "/g").join("one", b"1"), await Group(two, "/g").join() as other:
        await retry(one.sync)
        assert await Group(one, "/g").members() == {"one": b"1", other.name: b""}


async def meeting(one, two):
    met = asyncio.create_task(Rendezvous(two, "/r").meet())
    await Rendezvous(one, "/r").open(ephemeral=True)
    await Rendezvous(one, "/r").fill(b"here")
    assert await met == b"here"
    await Configuration(one, "/c").put(b"1")
    follower = Configuration(two, "/c").follow()
    assert await anext(follower) == b"1"
    coming = asyncio.ensure_future(anext(follower))
    await Configuration(one, "/c").put(b"2")
    assert await coming == b"2"


LEFT = {"/", "/l", "/b", "/b/ready", "/q", "/q/elements", "/q/claims", "/q/marks", "/g", "/c"}
STORIES = [simple_lock, lock, readers, given_up, barrier, queue, claims, group, meeting]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("told", STORIES)
def test_every_lost_answer_and_every_lost_request(told, after: bool) -> None:
    for number in range(1, MOST):
        rig = Rig(2)
        rig.ensemble.breaks_at, rig.ensemble.breaks_after = number, after
        left = rig.run(partial(tell, told))
        assert left <= LEFT, f"{left - LEFT} stay when request {number} breaks the connection"
        if rig.ensemble.taken < number:
            return
    raise AssertionError(f"a story of more than {MOST} requests")


async def tell(told, rig):
    """Returns the znodes that are left when a story has been told."""
    hosts = [rig.simulation.boot(name) for name in ("c1", "c2")]
    one, two = [await rig.client(host).__aenter__() for host in hosts]
    async with asyncio.timeout(20):
        await told(one, two)
    await asyncio.sleep(0.1)
    left = {path for path, node in rig.ensemble.nodes.items() if not node.owner or told is not meeting}
    await one.close()
    await two.close()
    return left
