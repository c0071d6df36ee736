"""Transactions lock two accounts in opposite orders, again and again: the younger one gives way.

One of each pair reads a and writes b, the other reads b and writes a: each has what the other one waits for,
often in another group, where nobody sees the circle. Wound-wait needs not see it: who meets a younger holder
has that aborted, who meets an older one waits, so that nobody ever waits in a circle (4.2.1).
`--set wounds=false` leaves the wounding out, and they wait for each other until their time is over.
Look in the picture at the red ticks, the wounds, and at how long transactions took.

    dsim run spanner/deadlock --set pairs=4
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from protos.trace import Note
from scenarios.spanner.accounts import COLUMNS, SCHEMA, TABLE, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.client import keys
from sim import World, scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent
    from services.spanner.client import Row, Transaction

ENDS = "nobody waits in a circle"
THINK = 0.01  # seconds between a read and the commit


class OnlyYounger:
    """Whoever is wounded is younger than the transaction that waits for it; and somebody is."""

    name = "only younger ones are wounded"

    def begin(self) -> Wounds:
        """A run begins."""
        return Wounds()


class Wounds:
    """What `OnlyYounger` is in one run."""

    def __init__(self) -> None:
        self._count = 0
        self._wrong = ""

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if isinstance(event, Note) and event.name == "wounded":
                self._count += 1
                victim, by = event.fields["order"], event.fields["by"]
                if not self._wrong and list(victim) < list(by):
                    self._wrong = f"{event.host}: {victim[1]} was wounded by {by[1]}, which is younger"

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        if self._wrong or not self._count:
            return False, self._wrong or "nobody was wounded"
        return True, f"{self._count} wounds, each of one that is younger"


class Opposed(Banker):
    """A client whose transactions read one account and write another."""

    async def mark(self, read: int, written: int) -> None:
        """Writes an account's tag after having read another account."""
        tag = self._tag()

        async def work(transaction: Transaction) -> list[Row]:
            rows = await transaction.read(TABLE, COLUMNS, keys([read]))
            await asyncio.sleep(THINK)
            transaction.update(TABLE, ("Id", "Tag"), [(written, tag)])
            return rows

        await self._record(work, [read], [written], tag)


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, OnlyYounger(), ENDS), plots=("groups",), limit_s=600)
async def deadlock(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=1, le=50)] = 2,
    pairs: Annotated[int, Meta(ge=1, le=20)] = 2,
    rounds: Annotated[int, Meta(ge=1, le=1000)] = 20,
    patience: Annotated[float, Meta(gt=0, le=60)] = 3.0,
    wounds: bool = True,
) -> None:
    """Transactions lock two accounts in opposite orders again and again: the younger one gives way."""
    accounts = 2 * pairs
    universe = Universe(world, SCHEMA, cuts(accounts, groups), transactions={"wound_wait": wounds})
    await universe.start()
    clients = [
        Opposed(universe, f"c{number}", accounts, timeout=patience) for number in range(1, 2 * pairs + 1)
    ]
    await clients[0].open_accounts()

    async def again(client: Opposed, read: int, written: int) -> None:
        for _ in range(rounds):
            await client.mark(read, written)

    await asyncio.gather(
        *(again(clients[2 * pair], pair, pairs + pair) for pair in range(pairs)),
        *(again(clients[2 * pair + 1], pairs + pair, pair) for pair in range(pairs)),
    )
    given_up = sum(client.refused + client.unknown for client in clients)
    slowest = max(one for client in clients for one in client.latencies)
    world.measure("transactions", sum(client.committed for client in clients) - 1)
    world.measure("runs of them", sum(client.runs for client in clients) - 1)
    world.measure("slowest", round(slowest, 3), unit="s")
    world.check(
        ENDS,
        not given_up,
        f"{given_up} were given up after {patience:g} s; the slowest of the others took {slowest:.3f} s",
    )
    check_total(world, await Banker(universe, "auditor", accounts).audit(), accounts)
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    deadlock.main()
