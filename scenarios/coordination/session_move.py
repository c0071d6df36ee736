"""A client is cut off from its server, again and again, and moves to another one within its session.

A session belongs to the ensemble, not to a server (2.1). The client changes server after two thirds of its
time-out in silence (4.4), with its session's id and password; its ephemerals stay. Its new server lets it
in only when it has all that the client has seen (the client's last zxid), so that nothing ever goes
backwards. Its watches are registered anew, and fire at once for what has changed meanwhile. Here is such a
change each time: another client writes right after the cut. With a single server there is nowhere to go:

    dsim run coordination/session-move --set reaches=1
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork
from scenarios.coordination.cluster import Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES
from services.coordination.api import CoordinationError
from sim import World, scenario
from sim.faults import Cut

NEWS, PRESENCE = "/news", "/presence"


@scenario(
    checks=(
        *PROMISES,
        "it moves each time",
        "the session stays the same",
        "its ephemeral stays",
        "no change is missed",
        INVARIANTS,
    ),
    plots=("spacetime",),
    limit_s=600,
)
async def session_move(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    reaches: Annotated[int, Meta(ge=1, le=13)] = 3,
    moves: Annotated[int, Meta(ge=1, le=100)] = 3,
    timeout: Annotated[float, Meta(ge=0.4, le=4)] = 2.0,
    clients: Annotated[int, Meta(ge=1, le=50)] = 1,
) -> None:
    """A client loses one server after the other and keeps its session, its ephemeral and its watch."""
    ensemble = Ensemble(world, servers, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.2)
    writer = await ensemble.client("writer")
    mover = await ensemble.client("mover", ensemble.names[:reaches], timeout=timeout)
    await writer.create(NEWS, "news 0")
    await mover.create(PRESENCE, "mover", ephemeral=True)
    session = mover.session.session
    departed: list[str] = []
    await writer.exists(PRESENCE, writer.watch(departed.append))

    moved, told, slowest = 0, 0, 0.0
    for number in range(1, moves + 1):
        news: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await mover.get(NEWS, mover.watch(news.set_result))
        before = mover.session.server
        cut = await world.inject(Cut(source="mover", target=before))
        began = world.now()
        await writer.set(NEWS, f"news {number}")
        await asyncio.wait([news], timeout=3 * timeout)
        told += news.done()
        moved += mover.session.server not in ("", before)
        slowest = max(slowest, world.now() - began)
        await world.lift(cut)
        if not mover.session.server:
            break
    world.measure("told of the change after, at most", round(slowest, 3), unit="s")
    world.check("it moves each time", moved == moves, f"{moved} of {moves} times")
    world.check(
        "no change is missed", told == moves, f"{told} of {moves} changes were told by the new server"
    )
    same = not mover.over and mover.session.session == session
    world.check("the session stays the same", same, f"{mover.session.state.name}, session {session:x}")
    world.check("its ephemeral stays", not departed, f"{len(departed)} events at {PRESENCE}")
    with suppress(CoordinationError):  # its session may be over
        await mover.close()
    await writer.close()
    await work.end()


if __name__ == "__main__":
    session_move.main()
