"""The clients of 5.1: standalone reads and writes of 4 KB, each of a row in a directory drawn by chance.

Their machines cost nothing: they are no part of the experiment. A client writes a row of its own, so that
no two wait for the same lock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scenarios.papers.spanner.calibration import VALUE
from scenarios.papers.spanner.universe import COLUMNS, TABLE
from services.spanner.client import SpannerError, keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scenarios.papers.spanner.universe import PaperUniverse
    from services.spanner.client import Database
    from sim import World

MACHINES = 5  # of clients, in each zone
DRAIN_S = 0.5  # after a test, until servers have done what was asked of them


class Client:
    """One client.

    Args:
        universe: what it uses.
        database: as its machine has it.
        number: of the client: its row in each directory.
        at: the timestamp of snapshot reads.
    """

    def __init__(self, universe: PaperUniverse, database: Database, number: int, at: int) -> None:
        self._database = database
        self._directories = universe.directories
        self._chance = universe.world.stream("load")
        self._number = number
        self._at = at
        self._value = bytes(VALUE)

    async def write(self) -> None:
        """Writes a row: a transaction without reads."""
        async with self._database.batch() as batch:
            batch.insert_or_update(TABLE, COLUMNS, [(self._any(), self._number, self._value)])

    async def strong(self) -> None:
        """Reads a row: a read-only transaction."""
        await self._database.snapshot().read(TABLE, COLUMNS, keys([self._any(), 0]))

    async def snapshot(self) -> None:
        """Reads a row at a timestamp, near by."""
        await self._database.snapshot(read_timestamp=self._at).read(TABLE, COLUMNS, keys([self._any(), 0]))

    async def warm(self, directory: int) -> None:
        """Reads and writes a directory: connections, leases and locations are there afterwards."""
        async with self._database.batch() as batch:
            batch.insert_or_update(TABLE, COLUMNS, [(directory, self._number, self._value)])
        await self._database.snapshot().read(TABLE, COLUMNS, keys([directory, 0]))
        await self._database.snapshot(read_timestamp=self._at).read(TABLE, COLUMNS, keys([directory, 0]))

    async def look(self, directory: int) -> None:
        """Reads of a directory: who leads it is known afterwards."""
        await self._database.snapshot().read(TABLE, COLUMNS, keys([directory, 0]))

    def _any(self) -> int:
        return self._chance.randrange(self._directories)


class Load:
    """All clients together.

    Args:
        world: a simulated one.
        universe: what they use, loaded.
        count: how many there are for each zone.
        at: the timestamp of snapshot reads.
        pace: what they ask a second at most, all together; 0: as much as is answered.

    Attributes:
        clients: they.
        done: operations that succeeded.
        failed: those that did not.
    """

    def __init__(self, world: World, universe: PaperUniverse, count: int, at: int, pace: float = 0.0) -> None:
        self._world = world
        self._universe = universe
        self.done = self.failed = 0
        self.clients = []
        number = 0
        for zone in dict.fromkeys(universe.zones.values()):
            machines = [
                universe.database(f"{universe.prefix}{zone}-c{machine}", zone=zone)
                for machine in range(min(MACHINES, count))
            ]
            for place in range(count):
                number += 1
                self.clients.append(Client(universe, machines[place % len(machines)], number, at))
        self._pause = len(self.clients) / pace if pace else 0.0

    async def warm(self, what: Callable[[Client, int], Awaitable[None]] | None = None) -> None:
        """One round, so that clients know where everything is (5.1), and leases are taken.

        Args:
            what: done to each group from each machine; reads and writes when not given.
        """
        firsts = [self._universe.directories_of(group)[0] for group in self._universe.groups]
        for client in self.clients[:: max(1, len(self.clients) // (MACHINES * 5))]:
            await asyncio.gather(*((what or Client.warm)(client, first) for first in firsts))

    async def latencies(self, what: Callable[[Client], Awaitable[None]], count: int) -> list[float]:
        """Has one client do something so many times, one after the other; returns the seconds of each."""
        client, took = self.clients[0], []
        for _ in range(count):
            begin = self._world.now()
            await what(client)
            took.append(self._world.now() - begin)
        return took

    async def rate(self, what: Callable[[Client], Awaitable[None]], warm_s: float, seconds: float) -> float:
        """Has all clients do something all the time; returns how many were done a second, after a while.

        What one test leaves to be done would be in the way of the next one: it is waited for.
        """
        tasks = [self._world.spawn(self._repeat(what, client)) for client in self.clients]
        await asyncio.sleep(warm_s)
        before = self.done
        await asyncio.sleep(seconds)
        rate = (self.done - before) / seconds
        await stop(tasks)
        await asyncio.sleep(DRAIN_S)
        return rate

    async def _repeat(self, what: Callable[[Client], Awaitable[None]], client: Client) -> None:
        while True:
            begin = self._world.now()
            try:
                await what(client)
                self.done += 1
            except SpannerError:
                self.failed += 1
            await asyncio.sleep(max(0.0, begin + self._pause - self._world.now()))


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Ends tasks."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
