"""Recipes in bad weather: what must hold of each whatever happens to servers and links.

A story runs against any ensemble that a rig provides, the fake one or the real one, while a schedule of
faults is played; then everything is healed, and must come to its end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from services.coordination.client import ConnectionLoss, NodeExists, SessionExpired
from services.coordination.recipes import (
    Configuration,
    DoubleBarrier,
    Election,
    Group,
    Lock,
    Queue,
    ReadLock,
    ReadyConfiguration,
    SimpleLock,
    WriteLock,
)
from sim.explore.swarm import swarm

KINDS = ("crash", "pause", "partition", "cut", "isolate", "delay", "loss", "lose-reply")


async def play(rig, schedule):
    """Carries out a schedule of faults; all are lifted at the end."""
    began = asyncio.get_running_loop().time()

    async def one(action):
        await asyncio.sleep(max(0.0, began + action.at - asyncio.get_running_loop().time()))
        with suppress(ValueError):  # strikes a host in no state for it
            number = rig.faults.inject(action.fault)
            if action.lasts is not None:
                await asyncio.sleep(action.lasts)
                rig.faults.lift(number)

    await asyncio.gather(*map(one, schedule))


def weather(rig, clients):
    """Returns a swarm of faults for the rig's servers, and on the links of its clients."""
    return swarm(
        rig.simulation.chance.stream("faults"),
        rig.servers_at_risk(),
        seconds=rig.seconds,
        kinds=KINDS,
        clients=clients,
        intensity=rig.intensity,
        max_down=rig.may_be_down,
    )


class Workers:
    """Clients, each on a host of its own and on a session after the other, that do something until told to
    stop."""

    def __init__(self, rig, count, **how):
        self.rig, self.how = rig, how
        self.hosts = [rig.simulation.boot(f"c{number}") for number in range(count)]
        self.names = [host.name for host in self.hosts]
        self.expired = 0
        self.stop = self.late = False

    async def work(self, number, once):
        """Calls `once(client)` again and again; a session that has expired is followed by another."""
        while not self.stop:
            with suppress(SessionExpired):
                async with self.rig.client(self.hosts[number], **self.how) as client:
                    while not self.stop:
                        await once(client)
            if not self.stop:
                self.expired += 1

    async def through(self, *work, calm=5.0):
        """Plays bad weather while they work, then waits for them in good weather."""
        async with asyncio.timeout(self.rig.seconds + calm + 60), asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
            await play(self.rig, weather(self.rig, self.names))
            await asyncio.sleep(calm / 2)
            self.late = True
            await asyncio.sleep(calm / 2)
            self.stop = True


async def locks(rig, kind=Lock, count=5):
    """At most one holder; grants in the order of the fence; the lock is always to be had in the end."""
    workers = Workers(rig, count)
    holding, fences, late = {}, [], []

    async def once(client):
        async with kind(client, "/locks/l") as lock:
            if lock.held:
                others = [other for other in holding if other.held]
                assert not others, f"{len(others)} others hold it"
                assert not fences or lock.fence > fences[-1]
                fences.append(lock.fence)
                if workers.late:
                    late.append(client.host.name)
                holding[lock] = None
                await asyncio.sleep(client.host.rng.uniform(0, 0.2))
                del holding[lock]

    await workers.through(*(workers.work(number, once) for number in range(count)))
    assert late, "nobody got it when all was well again"
    return len(fences), workers.expired


async def read_write_locks(rig, count=6):
    """One writer or any number of readers."""
    workers = Workers(rig, count)
    reading, writing, granted = {}, {}, []

    async def once(client):
        kind = ReadLock if client.host.rng.random() < 0.7 else WriteLock
        async with kind(client, "/locks/rw") as lock:
            if lock.held:
                assert not any(other.held for other in writing)
                assert kind is ReadLock or not any(other.held for other in reading)
                inside = reading if kind is ReadLock else writing
                inside[lock] = None
                granted.append(kind)
                await asyncio.sleep(client.host.rng.uniform(0, 0.2))
                del inside[lock]

    await workers.through(*(workers.work(number, once) for number in range(count)))
    assert {*granted} == {ReadLock, WriteLock}
    return len(granted), workers.expired


async def elections(rig, count=4):
    """At most one leader, and each later one has a greater epoch."""
    workers = Workers(rig, count)
    leading, epochs = {}, []

    async def once(client):
        async with Election(client, "/leader", client.host.name.encode()) as term:
            if term.held:
                assert not any(other.held for other in leading)
                assert not epochs or term.fence > epochs[-1]
                epochs.append(term.fence)
                leading[term] = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(client.host.rng.uniform(0, 2)):
                        await term.lost.wait()
                del leading[term]

    await workers.through(*(workers.work(number, once) for number in range(count)))
    assert epochs
    return len(epochs), workers.expired


async def barriers(rig, count=5):
    """Nobody in before all have come; nobody out while one is in whose session lives."""
    workers = Workers(rig, count, timeout=6.0)
    come, inside, entered, through, clients = {}, {}, {}, [], {}

    async def one(number):
        turn = 0
        try:
            async with rig.client(workers.hosts[number], timeout=6.0) as client:
                clients[number] = client
                while not workers.stop:
                    path = f"/barriers/{turn}"
                    come.setdefault(turn, {})[number] = None
                    barrier = DoubleBarrier(client, path, count, f"p{number}")
                    await barrier.enter()
                    assert len(come[turn]) == count
                    entered.setdefault(turn, {})[number] = None
                    inside.setdefault(turn, {})[number] = None
                    await asyncio.sleep(client.host.rng.uniform(0, 0.8))
                    del inside[turn][number]
                    await barrier.leave()
                    now = asyncio.get_running_loop().time()
                    alive = [n for n in inside[turn] if now < clients[n].sure_until]
                    assert not alive, f"{number} is out, {alive} are in"
                    yet = [n for n in clients if n not in entered[turn] and now < clients[n].sure_until]
                    assert not yet, f"{number} is out, {yet} have not been in"
                    through.append(turn)
                    turn += 1
        except SessionExpired:
            workers.expired += 1
            give_up()

    tasks = []

    def give_up():
        """Without one of them no further barrier is complete."""
        workers.stop = True
        asyncio.get_running_loop().call_later(60, lambda: [task.cancel() for task in tasks])

    tasks += [asyncio.create_task(one(number)) for number in range(count)]
    await play(rig, weather(rig, workers.names))
    await asyncio.sleep(5)
    if not workers.expired:
        turns = len(through)
        await asyncio.sleep(3)
        assert len(through) > turns, "no progress when all was well again"
    give_up()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return len(through), workers.expired


async def queues(rig, count=2):
    """No element is lost; none comes again after it was acknowledged; each is with one consumer at a time."""
    workers = Workers(rig, 2 * count)
    put, unsure_put, acknowledged, unsure, holding = [], [], {}, [], {}
    numbers = iter(range(1_000_000))

    async def produce(client):
        item = b"%d" % next(numbers)
        try:
            await Queue(client, "/q").put(item)
        except SessionExpired:
            unsure_put.append(item)
            raise
        put.append(item)
        await asyncio.sleep(client.host.rng.uniform(0, 0.5))

    async def consume(client):
        try:
            async with asyncio.timeout(client.host.rng.uniform(0.01, 2)):  # giving up is part of it
                element = await Queue(client, "/q").get()
        except TimeoutError:
            return
        assert element.data not in acknowledged, f"{element.data} has come again"
        if element.held:
            others = holding.setdefault(element.data, {})
            assert not any(other.held for other in others), f"{element.data} is with two"
            others[element] = None
        await asyncio.sleep(client.host.rng.uniform(0, 0.1))
        holding.get(element.data, {}).pop(element, None)
        if client.host.rng.random() < 0.1:
            await element.release()
            return
        try:
            await element.done()
        except SessionExpired:
            unsure.append(element.data)
            raise
        assert element.data not in acknowledged, f"{element.data} was acknowledged twice"
        acknowledged[element.data] = None

    await workers.through(
        *(workers.work(number, produce) for number in range(count)),
        *(workers.work(count + number, consume) for number in range(count)),
    )
    # What is left is consumed in peace.
    async with rig.client(timeout=30.0) as client:
        queue = Queue(client, "/q")
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(8), await queue.get() as element:
                    assert element.data not in acknowledged, f"{element.data} has come again"
                    acknowledged[element.data] = None
    lost = [item for item in put if item not in acknowledged and item not in unsure]
    assert not lost, f"{lost} are lost"
    made_up = [item for item in acknowledged if item not in put and item not in unsure_put]
    assert not made_up
    return len(acknowledged), workers.expired


async def configurations(rig, readers=3):
    """Nobody reads a mixture, nor an older configuration after a newer one; the last one is read at last."""
    workers = Workers(rig, readers + 1, timeout=6.0)
    published, seen = [0], {}

    async def publish(client):
        number = published[-1] + 1
        published.append(number)
        values = {f"v{index}": b"%d" % number for index in range(5 + number % 4)}
        while True:
            try:
                await ReadyConfiguration(client, "/conf").publish(values)
                break
            except ConnectionLoss:
                continue
        await Configuration(client, "/last").put(b"%d" % number)
        await asyncio.sleep(client.host.rng.uniform(0, 0.4))

    async def read(client):
        try:
            async with asyncio.timeout(5):
                values = await ReadyConfiguration(client, "/conf").read()
        except TimeoutError:
            return
        (number,) = {int(value) for value in values.values()}
        assert len(values) == 5 + number % 4
        assert number >= seen.get(client.session, 0)
        seen[client.session] = number
        await asyncio.sleep(client.host.rng.uniform(0, 0.4))

    await workers.through(
        workers.work(0, publish), *(workers.work(1 + number, read) for number in range(readers))
    )
    async with rig.client() as client:
        await client.sync()
        values = (
            await ReadyConfiguration(client, "/conf").read() if await client.exists("/conf/ready") else {}
        )
        assert {*values.values()} <= {b"%d" % published[-1]}
    return len(published), workers.expired


async def groups(rig, count=4):
    """A member is listed from its joining to its leaving; whoever is dead is not for ever."""
    workers = Workers(rig, count)
    checks = []

    async def once(client):
        group = Group(client, "/group")
        async with await group.join("" if client.host.rng.random() < 0.5 else client.host.name) as member:
            for _ in range(3):
                await client.sync()
                listed = await group.members()
                if member.held:
                    assert member.name in listed
                    checks.append(member.name)
                await asyncio.sleep(client.host.rng.uniform(0.1, 0.5))

    async def careful(client):
        with suppress(ConnectionLoss):
            await once(client)

    async def named(client):
        with suppress(NodeExists):  # its own last session has not expired yet
            await careful(client)
            return
        await asyncio.sleep(0.1)

    await workers.through(*(workers.work(number, named) for number in range(count)))
    async with rig.client() as client:
        async with asyncio.timeout(20):
            while await Group(client, "/group").members():
                await asyncio.sleep(0.1)
    assert checks
    return len(checks), workers.expired


STORIES = {
    "lock": locks,
    "simple lock": lambda rig: locks(rig, SimpleLock, 4),
    "read/write lock": read_write_locks,
    "election": elections,
    "double barrier": barriers,
    "queue": queues,
    "configuration": configurations,
    "group": groups,
}
