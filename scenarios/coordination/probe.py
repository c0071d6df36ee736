"""A client that does nothing but write, one write after the other, and knows how long each one took.

What it sees is what a user of the service sees: when nothing was acknowledged for a while, and what a write
cost.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from services.coordination.api import CoordinationError

if TYPE_CHECKING:
    from scenarios.coordination.clients import RecordedClient


class Probe:
    """A client that writes to a znode of its own, for as long as the story lasts.

    Args:
        client: that does it.
        every: seconds from an answer to the next write.

    Attributes:
        writes: when each acknowledged write was asked for and when it was acknowledged, in seconds of the
            run.
    """

    def __init__(self, client: RecordedClient, every: float = 0.02) -> None:
        self.client = client
        self.writes: list[tuple[float, float]] = []
        self._every = every
        self._path = f"/{client.name}"
        self._host = client.world.client(client.name)

    async def work(self, over: asyncio.Event) -> None:
        """Writes until it is `over`."""
        number, there, now = 0, False, self.client.world.now
        while not over.is_set():
            number += 1
            began = now()
            try:
                if self.client.over:
                    await self.client.reopen()
                with self._host.span("a write"):  # a bar on the timeline; a long one is an outage
                    write = self.client.set if there else self.client.create
                    await write(self._path, f"{self.client.name}-{number}")
                there = True
                self.writes.append((began, now()))
            except CoordinationError as exc:
                there = there or exc.code.name == "NODE_EXISTS"
            await asyncio.sleep(self._every)

    async def acknowledged(self) -> None:
        """Returns when one more write, asked for from now on, has been acknowledged."""
        now = self.client.world.now()
        while not self.writes or self.writes[-1][0] < now:
            await asyncio.sleep(self._every / 4)

    def longest_pause(self, since: float, until: float) -> float:
        """Returns the longest time without an acknowledged write between two moments of the run."""
        ends = [since, *(end for _, end in self.writes if since < end < until), until]
        return max(later - earlier for earlier, later in pairwise(ends))

    def latency(self, since: float, until: float) -> float:
        """Returns the median time of the writes that were asked for between two moments, in seconds.

        One that is not acknowledged by then counts with the time that it has waited.
        """
        took = [end - began for began, end in self.writes if since <= began < until]
        if not took:
            return until - since
        return max(median(took), 0.0)

    def count(self, since: float, until: float) -> int:
        """Returns how many writes were asked for and acknowledged between two moments."""
        return sum(since <= began and end < until for began, end in self.writes)
