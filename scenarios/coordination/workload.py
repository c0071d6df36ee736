"""Clients that do a little of everything, as long as they are let.

Registers that all of them write, read, watch and compare-and-set; sequential znodes; ephemerals; several
changes at once; reads after a sync. Requests come in bursts, so that several are on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from services.coordination import api
from services.coordination.api import CoordinationError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from scenarios.coordination.clients import RecordedClient

QUEUE, MEMBERS, REGISTERS = "/queue", "/members", "/registers"
REOPEN = 0.2  # seconds until a client whose session could not be opened tries again


class Workload:
    """What some clients do.

    Args:
        registers: how many they share.
        burst: how many requests a client has on its way, at most.
        pause: seconds that it thinks between two bursts, on average.
    """

    def __init__(self, registers: int = 4, burst: int = 4, pause: float = 0.05) -> None:
        self._registers = [f"{REGISTERS}/{number}" for number in range(registers)]
        self._burst = burst
        self._pause = pause
        self._written: dict[str, int] = {}

    async def prepare(self, client: RecordedClient) -> None:
        """Makes the znodes that the clients share."""
        for path in (QUEUE, MEMBERS, REGISTERS, *self._registers):
            await client.create(path, f"{client.name} made {path}")

    async def work(self, client: RecordedClient, over: asyncio.Event) -> None:
        """Has a client do it until it is `over`; it opens a new session whenever the last one expired."""
        chance = client.world.client(client.name).rng
        while not over.is_set():
            if client.over and not await self._reopen(client):
                continue
            burst = [self._one(client, chance) for _ in range(chance.randint(1, self._burst))]
            await asyncio.gather(*burst)
            await asyncio.sleep(chance.expovariate(1 / self._pause))

    async def once(self, client: RecordedClient) -> None:
        """Has a client write once, however long it takes (to see that the service works)."""
        while True:
            if client.over and not await self._reopen(client):
                continue
            try:
                await client.set(self._registers[0], self._data(client))
            except CoordinationError:
                await asyncio.sleep(REOPEN)
            else:
                return

    async def read_all(self, client: RecordedClient) -> None:
        """Has a client read all that they share, after a sync."""
        await client.sync()
        await asyncio.gather(*(client.get(path) for path in self._registers))
        await asyncio.gather(client.children(QUEUE), client.children(MEMBERS))

    async def _reopen(self, client: RecordedClient) -> bool:
        try:
            await client.reopen()
        except CoordinationError:
            await asyncio.sleep(REOPEN)
            return False
        return True

    async def _one(self, client: RecordedClient, chance: random.Random) -> None:
        action = chance.choices(*_CHOICES)[0]
        with contextlib.suppress(CoordinationError):  # the history has it
            await action(self, client, chance)

    def _data(self, client: RecordedClient) -> str:
        number = self._written[client.name] = self._written.get(client.name, 0) + 1
        return f"{client.name}-{number}"

    async def _set(self, client: RecordedClient, chance: random.Random) -> None:
        await client.set(chance.choice(self._registers), self._data(client))

    async def _compare_and_set(self, client: RecordedClient, chance: random.Random) -> None:
        path = chance.choice(self._registers)
        _, version = await client.get(path)
        await client.set(path, self._data(client), version)

    async def _get(self, client: RecordedClient, chance: random.Random) -> None:
        watch = client.watch() if chance.random() < 0.3 else None
        await client.get(chance.choice(self._registers), watch)

    async def _synced_get(self, client: RecordedClient, chance: random.Random) -> None:
        path = chance.choice(self._registers)
        await asyncio.gather(client.sync(path), client.get(path))

    async def _enqueue(self, client: RecordedClient, chance: random.Random) -> None:
        await client.create(f"{QUEUE}/n-", self._data(client), sequential=True)

    async def _dequeue(self, client: RecordedClient, chance: random.Random) -> None:
        names = await client.children(QUEUE, client.watch() if chance.random() < 0.3 else None)
        if names:
            await client.delete(f"{QUEUE}/{names[0]}")

    async def _join(self, client: RecordedClient, chance: random.Random) -> None:
        await client.create(f"{MEMBERS}/{client.name}", self._data(client), ephemeral=True)

    async def _part(self, client: RecordedClient, chance: random.Random) -> None:
        await client.delete(f"{MEMBERS}/{client.name}")

    async def _look(self, client: RecordedClient, chance: random.Random) -> None:
        await client.exists(f"{MEMBERS}/{client.name}", client.watch())

    async def _several(self, client: RecordedClient, chance: random.Random) -> None:
        one, two = chance.sample(self._registers, 2)
        _, version = await client.get(one)
        await client.multi(
            api.Check(one, version),
            api.SetData(two, self._data(client).encode()),
            api.SetData(one, self._data(client).encode()),
        )


_SHARES: dict[Callable[..., Awaitable[None]], int] = {
    Workload._set: 25,
    Workload._compare_and_set: 10,
    Workload._get: 20,
    Workload._synced_get: 10,
    Workload._enqueue: 8,
    Workload._dequeue: 8,
    Workload._join: 5,
    Workload._part: 4,
    Workload._look: 5,
    Workload._several: 5,
}
_CHOICES = (list(_SHARES), list(_SHARES.values()))
