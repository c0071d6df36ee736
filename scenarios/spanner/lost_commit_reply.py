"""Answers about commits get lost: who waits asks again, and nothing is committed twice.

The transaction has an id, and the log its outcome: who asks again finds what became of it. Clients lose the
answers on a stream, and the connection with them; participants lose the coordinator's. The tag of a
transaction that was carried out twice would stand where a later one had written.

    dsim run spanner/lost-commit-reply --set count=20
    dsim run spanner/lost-commit-reply --set outcomes=false

Where the outcome is not looked for, whoever asks again is taken for one whose locks are lost, and runs the
transaction again: it reads what it has written itself.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.spanner.accounts import SCHEMA, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.noted import Noted
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from sim import World, scenario
from sim.faults import LoseReply

METHODS = ("/dsim.spanner.Spanserver/Pipeline", "/dsim.spanner.Spanserver/Decide")
AGAIN = Noted("who asks again is told of the first commit", "commit-again", "transaction")


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS, AGAIN), plots=("groups",), limit_s=600)
async def lost_commit_reply(
    world: World,
    *,
    groups: Annotated[int, Meta(ge=1, le=50)] = 3,
    accounts: Annotated[int, Meta(ge=2, le=1000)] = 12,
    clients: Annotated[int, Meta(ge=1, le=50)] = 4,
    count: Annotated[int, Meta(ge=1, le=1000)] = 60,
    outcomes: bool = True,
) -> None:
    """Answers about commits get lost: who waits asks again, and nothing is committed twice."""
    universe = Universe(world, SCHEMA, cuts(accounts, groups), transactions={"outcomes": outcomes})
    await universe.start()
    bankers = [Banker(universe, f"c{number}", accounts) for number in range(1, clients + 1)]
    await bankers[0].open_accounts()
    over = asyncio.Event()
    working = [world.spawn(banker.work(over, pause=0.01)) for banker in bankers]
    chance = world.stream("lost replies")
    for _ in range(count):
        await asyncio.sleep(0.05)
        server = chance.choice(universe.names)
        for method in METHODS:
            await world.inject(LoseReply(host=server, method=method))
    await asyncio.sleep(1.0)
    over.set()
    await asyncio.gather(*working)
    auditor = Banker(universe, "auditor", accounts)
    check_total(world, await auditor.audit(), accounts)
    await universe.close()
    check_invariants(world)


if __name__ == "__main__":
    lost_commit_reply.main()
