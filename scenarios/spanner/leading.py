"""Who leads, and how long nobody does: what stories about leaders look at."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from msgspec import Struct

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scenarios.spanner.accounts import Banker
    from scenarios.spanner.cluster import Universe

SECOND = 1_000_000_000
GIVING = 10.0  # seconds


def lease_of(seconds: float) -> dict[str, int]:
    """Returns settings of Paxos with leases of so many seconds."""
    return {"lease": round(seconds * SECOND), "renew": round(seconds * 0.4 * SECOND)}


async def hand_over(universe: Universe, group: int, leader: str, to: str = "") -> None:
    """Has a leader give leadership of a group away; returns when it has, or soon after."""
    stub: rpc.SpanserverAsyncStub = rpc.SpanserverStub(universe.world.client("operator").connect(leader))
    await stub.HandOver(pb.HandOverRequest(group=group, to=to), timeout=GIVING)


def longest_silence(bankers: Iterable[Banker], begin: float, end: float) -> float:
    """Returns the longest time without a commit that began between two moments of the run, in seconds."""
    commits = sorted(one for banker in bankers for one in banker.commits)
    times = [begin, *(one for one in commits if begin < one), end]
    return max((after - before for before, after in itertools.pairwise(times) if before < end), default=0.0)


class Seen(Struct):
    """A reign, as it was seen from outside.

    Attributes:
        server, term: which.
        first, last: seconds of the run: it certainly led from `first` to `last`.
    """

    server: str
    term: int
    first: float
    last: float


class Watch:
    """Asks all servers again and again whether they lead a group.

    Who says so leads at some time between question and answer; and a reign is one stretch of time, so it
    leads from the answer of the first to the question of the last time that it says so.
    """

    def __init__(self, universe: Universe, group: int, pause: float = 0.02) -> None:
        self._universe = universe
        self._group = group
        self._pause = pause
        self._reigns: dict[tuple[str, int], Seen] = {}

    async def look(self, over: asyncio.Event) -> None:
        """Looks until it is over."""
        await asyncio.gather(*(self._look(name, over) for name in self._universe.names))

    async def _look(self, server: str, over: asyncio.Event) -> None:
        world = self._universe.world
        while not over.is_set():
            asked = world.now()
            status = await self._universe.status(server)
            answered = world.now()
            for one in status.groups if status is not None else ():
                if one.group == self._group and one.term:
                    seen = self._reigns.setdefault((server, one.term), Seen(server, one.term, answered, 0.0))
                    seen.last = max(seen.last, asked)
            await asyncio.sleep(self._pause)

    @property
    def reigns(self) -> list[Seen]:
        """Those that were seen, in the order of their beginnings."""
        return sorted(self._reigns.values(), key=lambda one: one.first)

    def together(self) -> tuple[float, str]:
        """Returns for how many seconds two led at once, and who; 0.0 and "" where nobody did."""
        worst, who = 0.0, ""
        for one, other in itertools.combinations(self.reigns, 2):
            both = min(one.last, other.last) - max(one.first, other.first)
            if both > worst:
                worst, who = both, f"{one.server} and {other.server} at {max(one.first, other.first):.3f} s"
        return worst, who
