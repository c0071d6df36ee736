"""A trivial state machine on replicas: a list of what was written, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from services.host import Host
from services.spanner.group import Member
from services.spanner.paxos import Settings
from services.spanner.replica import SERVER_OPTIONS, Replica, Replicas
from services.spanner.storage import Storage
from services.spanner.truetime import FixedTrueTime

Item = tuple[int, int, bytes]
"""Index, timestamp, entry."""


class Journal:
    """The state machine.

    Attributes:
        items: all that was applied, in order; a prefix may have come by a checkpoint.
        reigns: the terms in which this replica led, in order; 0 when it ceased to.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.reigns: list[int] = []
        self.loaded = 0
        self.applied: Callable[[Item], None] = lambda _: None

    def apply(self, index: int, timestamp: int, entry: bytes) -> None:
        if self.items:
            assert index > self.items[-1][0] and timestamp > self.items[-1][1]
        self.items.append((index, timestamp, entry))
        self.applied(self.items[-1])

    def leads(self, term: int) -> None:
        assert not self.reigns or self.reigns[-1] == 0
        assert term > max(self.reigns, default=0)
        self.reigns.append(term)

    def follows(self) -> None:
        assert self.reigns[-1] > 0
        self.reigns.append(0)

    def save(self) -> Iterator[bytes]:
        items = self.items[:]
        return (msgspec.msgpack.encode(items[at : at + 50]) for at in range(0, len(items), 50))

    async def load(self, pieces: AsyncIterator[bytes]) -> None:
        items: list[Item] = []
        async for piece in pieces:
            items += msgspec.msgpack.decode(piece, type=list[Item])
        assert len(items) >= len(self.items)
        self.items = items
        self.loaded += 1


class Server:
    """What runs on a host now, for tests to look into.

    Attributes:
        replicas: all of it.
        journals: the state machine of each group.
    """

    def __init__(self, host: Host, replicas: Replicas) -> None:
        self.host = host
        self.replicas = replicas
        self.journals: dict[int, Journal] = {}

    def replica(self, group: int = 1) -> Replica:
        replica = self.replicas.get(group)
        assert replica is not None
        return replica


RUNNING: dict[str, Server] = {}

SETTINGS: dict[str, Any] = {}
"""Of Paxos, for what `serve` starts next."""

OPENED: list[Callable[[Server, int, Journal], None]] = []
"""Called with each state machine before its replica is there."""


def members(names: list[str], witnesses: int = 0, read_only: int = 0) -> tuple[Member, ...]:
    """Returns members on these servers, of which the last ones are witnesses, and before them read-only."""
    full = len(names) - witnesses - read_only
    kinds = ["read-write"] * full + ["read-only"] * read_only + ["witness"] * witnesses
    return tuple(Member(name, f"zone-{name}", kind) for name, kind in zip(names, kinds, strict=True))


async def serve(
    host: Host, groups: list[list[Any]], epsilon_ns: int = 1_000_000, settings: dict[str, Any] | None = None
) -> None:
    """A spanserver with groups, each with its members as pairs of name and kind."""
    truetime = FixedTrueTime(host.clock, epsilon_ns)
    storage = await Storage.open(host.disk, host.rng, "test", host.name)
    replicas = Replicas(host, "test", storage, truetime, Settings(**(settings or {})))
    server = host.serve(options=SERVER_OPTIONS)
    replicas.add_to(server)
    me = RUNNING[host.name] = Server(host, replicas)
    running = asyncio.create_task(replicas.run())
    try:
        for number, group in enumerate(groups, 1):
            there = tuple(Member(name, "zone", kind) for name, kind in group)
            kind = next((one.kind for one in there if one.server == host.name), "")
            if not kind:
                continue
            if number not in storage.groups:
                await replicas.create(number, b"")
            journal = Journal()
            for opened in OPENED:
                opened(me, number, journal)
            me.journals[number] = journal
            await replicas.add(number, there, journal if kind != "witness" else None)
        await server.start()
        await running
    finally:
        running.cancel()
        await server.stop(None)


async def until(condition: Callable[[], Any], within: float = 30.0) -> None:
    """Waits, in virtual time, until something holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)
