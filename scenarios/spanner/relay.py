"""The story that external consistency is about: one transaction after the other, each begun because the one
before was committed, at another place, over other rows.

The database cannot know that one follows from the other: they have no row and no group in common, and
the message between their clients does not pass through it. All that puts them in order is the time
(4.1.2). Beside each commit an audit reads all accounts at exactly its timestamp: it must see all commits
before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import ZONES, Universe
from scenarios.spanner.promises import check_invariants, check_total
from sim.faults import LyingMaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim import World

PER_GROUP = 4  # accounts
GROUPS = len(ZONES)


def masters_of_zones(each: int = 3) -> list[dict[str, str]]:
    """Returns so many time masters for each zone, all with GPS."""
    return [{"name": f"gps{number}.{zone}", "zone": zone} for zone in ZONES for number in range(1, each + 1)]


class Relay(Universe):
    """A universe with a group for each zone, led from there, with accounts of its own, and a banker for each.

    Args:
        world: where.
        masters: time masters.
        settings: of all spanservers, as `spanserver.settings.Settings` has them.

    Attributes:
        accounts: how many.
        lies: of masters, by how many seconds, from the beginning.
        runners: the bankers, by zone.
    """

    def __init__(self, world: World, masters: Sequence[dict[str, str]], **settings: Any) -> None:
        self.accounts = PER_GROUP * GROUPS
        super().__init__(world, SCHEMA, cuts(self.accounts, GROUPS), masters=masters, **settings)
        self.lies: dict[str, float] = {}
        self._chance = world.stream("relay")

    async def mastered(self) -> None:
        """Some of the time masters lie before anybody has asked them."""
        if self.lies:
            self.world.note("lying", masters=list(self.lies))
        for name, seconds in self.lies.items():
            await self.world.inject(LyingMaster(host=name, seconds=seconds))

    async def open(self) -> None:
        """Opens the accounts; all that was written is in the past when it returns."""
        self.runners = [
            Banker(
                self,
                f"c{number}",
                self.accounts,
                zone=zone,
                among=range(PER_GROUP * (number - 1), PER_GROUP * number),
            )
            for number, zone in enumerate(ZONES, 1)
        ]
        self._auditor = Banker(self, "auditor", self.accounts, zone=ZONES[0])
        await self.runners[0].open_accounts()
        await asyncio.sleep(0.5)

    async def run(self, rounds: int, pause: float = 0.0) -> None:
        """Runs so many rounds.

        Args:
            rounds: how many.
            pause: seconds between them, on average.
        """
        for _ in range(rounds):
            await self._round(pause)

    async def run_until(self, over: asyncio.Event, pause: float) -> None:
        """Runs rounds until it is `over`, with pauses of so many seconds on average."""
        while not over.is_set():
            await self._round(pause)

    async def _round(self, pause: float) -> None:
        """Has the bankers transfer in turn, each when the one before has its answer."""
        stamps = []
        for banker in self.runners:
            await banker.transfer()
            stamps.append(banker.written_at)
        for stamp in stamps:
            check_total(self.world, await self._auditor.audit(read_timestamp=stamp), self.accounts)
        await asyncio.sleep(self._chance.expovariate(1 / pause) if pause else 0)

    async def finish(self) -> None:
        """Looks at everything once more, and ends."""
        check_total(self.world, await self._auditor.audit(), self.accounts)
        latencies = sorted(one for banker in self.runners for one in banker.latencies)
        self.world.measure("median latency", round(1000 * latencies[len(latencies) // 2], 3), unit="ms")
        await self.close()
        check_invariants(self.world)
