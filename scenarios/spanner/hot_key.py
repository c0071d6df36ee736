"""Many clients add one to the same row: no addition is lost, and nobody starves.

All take their turn: each holds the row from its read until its commit can be known, so that one commit wait
after the other passes. Who is wounded begins again with the age that it had (`run_in_transaction`), and is
the oldest one after a while. `--set ages=false` gives each attempt an age of its own: then some are served
again and again before others. Look in the picture at how long additions took: in turns, none much longer
than the others.

    dsim run spanner/hot-key --set clients=40
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.spanner.accounts import COLUMNS, OPENING, SCHEMA, TABLE, Banker
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, check_invariants
from services.spanner.client import SpannerError, keys
from sim import World, scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.spanner.client import Row, Transaction

COUNTED = "no addition is lost"
FAIR = "nobody starves"
HOT = 0  # the account
PATIENCE = 6  # turns that somebody may have to wait
RETRY = 0.01  # seconds


class Adder(Banker):
    """A client that adds one to an account.

    Attributes:
        ages: whether a transaction that was aborted keeps its age when it is tried again.
    """

    ages = True

    async def add(self) -> None:
        """Adds one."""
        tag = self._tag()

        async def work(transaction: Transaction) -> list[Row]:
            rows = await transaction.read(TABLE, COLUMNS, keys([HOT]))
            transaction.update(TABLE, COLUMNS, [(HOT, rows[0][1] + 1, tag)])
            return rows

        await self._record(work, [HOT], [HOT], tag)

    async def _run(self, work: Callable[[Transaction], Awaitable[list[Row]]]) -> list[Row]:
        if self.ages:
            return await super()._run(work)
        while True:
            try:
                async with await self._database.transaction() as transaction:
                    return await work(transaction)
            except SpannerError as exc:
                if exc.code != "ABORTED":
                    raise
                await asyncio.sleep(self._chance.uniform(0, 2 * RETRY))


@scenario(checks=(*PROMISES, COUNTED, FAIR, INVARIANTS), plots=("groups",), limit_s=600)
async def hot_key(
    world: World,
    *,
    clients: Annotated[int, Meta(ge=1, le=200)] = 16,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 3.0,
    ages: bool = True,
) -> None:
    """Many clients add one to the same row: no addition is lost, and nobody starves."""
    universe = Universe(world, SCHEMA)
    await universe.start()
    adders = [Adder(universe, f"c{number}", 1, timeout=120.0) for number in range(1, clients + 1)]
    await adders[0].open_accounts()
    begun = adders[0].runs
    began = world.now()

    async def again(adder: Adder) -> None:
        adder.ages = ages
        while world.now() < began + seconds:
            await adder.add()

    await asyncio.gather(*(again(adder) for adder in adders))
    took = world.now() - began
    done = sum(len(adder.commits) for adder in adders) - 1
    latencies = sorted(one for adder in adders for one in adder.latencies)
    median, slowest = latencies[len(latencies) // 2], latencies[-1]
    turn = took / done * clients
    world.measure("additions a second", round(done / took, 1))
    world.measure("runs of each", round((sum(adder.runs for adder in adders) - begun) / done, 2))
    world.measure("median latency", round(median, 4), unit="s")
    world.measure("slowest", round(slowest, 4), unit="s")
    world.check(
        FAIR,
        slowest < PATIENCE * turn,
        f"the slowest took {slowest * 1000:.0f} ms; {turn * 1000:.0f} ms if all took turns",
    )
    rows = await universe.database("reader").snapshot().read(TABLE, COLUMNS, keys([HOT]))
    added = rows[0][1] - OPENING
    unknown = sum(adder.unknown for adder in adders)
    world.check(COUNTED, done <= added <= done + unknown, f"{added} more, {done} additions")
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    hot_key.main()
