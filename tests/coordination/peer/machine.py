"""A trivial state machine on a replica: it keeps what it is told, and proposes numbers while it leads."""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from typing import Any

from protos.coordination_pb2 import Forward
from services.coordination.broadcast import NotLeading
from services.coordination.configuration import Configuration, Member
from services.coordination.peer import SERVER_OPTIONS, Replica
from services.coordination.zab.timing import Timing
from services.host import Host

FAST = Timing(tick=0.2)


class Journal:
    """The state machine.

    Attributes:
        delivered: zxids and transactions, in order; a prefix may have come by a snapshot.
        told: everything else, in order.
    """

    def __init__(self) -> None:
        self.delivered: list[tuple[int, bytes]] = []
        self.told: list[tuple[Any, ...]] = []
        self.replica: Replica | None = None
        self.touches: list[int] = []

    def deliver(self, zxid: int, transaction: bytes) -> None:
        if self.delivered and zxid <= self.delivered[-1][0]:  # again, after a fuzzy snapshot
            assert self.delivered[bisect_left(self.delivered, (zxid,))] == (zxid, transaction)
            return
        self.delivered.append((zxid, transaction))

    def ready(self, epoch: int) -> None:
        self.told.append(("ready", epoch))

    def following(self, leader: int) -> None:
        self.told.append(("following", leader))

    def looking(self, why: str) -> None:
        self.told.append(("looking", why))

    def heard(self, sender: int, message: Any) -> None:
        self.told.append(("heard", sender, message))
        if isinstance(message, Forward) and self.replica is not None:
            with contextlib.suppress(NotLeading):
                self.replica.propose(message.request)

    def lost(self, server: int) -> None:
        self.told.append(("lost", server))

    def touched(self) -> list[int]:
        touches, self.touches = self.touches, []
        return touches

    def snapshot(self) -> Iterator[bytes]:
        for zxid, transaction in self.delivered:  # grows meanwhile: fuzzy
            yield zxid.to_bytes(8) + transaction

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        self.delivered = [(int.from_bytes(piece[:8]), piece[8:]) async for piece in pieces]


def ensemble(size: int, observers: int = 0) -> Configuration:
    """Returns servers 1 to `size` on hosts zk1, ...; the last ones are observers."""
    return Configuration.of(
        Member(number, f"zk{number}", role="observer" if number > size - observers else "participant")
        for number in range(1, size + 1)
    )


RUNNING: dict[str, tuple[Journal, Replica]] = {}
"""In the simulated world, tests look into the servers: what runs on each host now."""


JOURNAL = Journal
"""What `serve` makes."""


async def serve(host: Host, members: str, **options: Any) -> None:
    """A server whose state machine is a `Journal`; its id is in its host's name."""
    number = options.pop("number", int(host.name.removeprefix("zk")))
    configuration = Configuration.parse(members)
    timing = Timing(**options.pop("timing", {"tick": 0.2}))
    replica = Replica(host, number, configuration, timing=timing, **options)
    journal = JOURNAL()
    journal.replica = replica
    RUNNING[host.name] = (journal, replica)
    member = configuration.member(number)
    server = host.serve(member.quorum_port if member else 2888, options=SERVER_OPTIONS)
    replica.add_to(server)
    await server.start()
    try:
        await replica.run(journal)
    finally:
        await server.stop(None)


async def until(condition: Any, within: float = 30.0) -> None:
    """Waits, in virtual time, until something holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)
