"""A tells B on the telephone what it has written, and B does not see it: unless B says `sync` first.

Reads are answered by the server that a client is connected to, from its own replica (4.4): that makes them
fast, and allows them to be stale. Nobody notices, until two clients have another way to talk (2.3, "hidden
channel"): A writes, gets its answer, calls B; B's server has not heard of the commit yet. Here the leader's
messages to it take a little longer. B first reads without, then with a `sync` before each read; the two
requests are sent together, so what the sync costs is one way to the leader and back.

    dsim run coordination/hidden-channel --set synced=false     the check that a synced read is new fails
"""

from __future__ import annotations

import asyncio
from statistics import median
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants
from sim import World, scenario
from sim.faults import Delay

if TYPE_CHECKING:
    from scenarios.coordination.clients import RecordedClient

PATH = "/news"


@scenario(
    checks=(
        *PROMISES,
        "a read without sync may be stale",
        "no read after a sync is stale",
        "A and B agree on what is new",
        INVARIANTS,
    ),
    plots=("spacetime",),
    limit_s=600,
)
async def hidden_channel(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    calls: Annotated[int, Meta(ge=1, le=1000)] = 10,
    lag: Annotated[float, Meta(ge=0, le=0.5)] = 0.03,
    synced: bool = True,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """B reads what A has just told it of, and finds it old; after a sync it never does."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    await ensemble.start()
    leader = await ensemble.leader()
    far = world.rng.choice([name for name in ensemble.names if name != leader])
    a = await ensemble.client("A", [name for name in ensemble.names if name != far])
    b = await ensemble.client("B", [far])
    await a.create(PATH, "0")
    await b.sync()
    # No failure: the messages from the leader to B's server take a little longer.
    delay = await world.inject(Delay(source=leader, target=far, seconds=lag))

    stale: dict[bool, int] = {}
    took: dict[bool, float] = {}
    for sync in (False, True):
        old = 0
        times: list[float] = []
        for _ in range(calls):
            written = await a.set(PATH, f"{sync}, call {len(times)}")
            began = world.now()
            seen = await answer_the_telephone(b, sync and synced)  # the hidden channel
            times.append(world.now() - began)
            old += seen < written
            await asyncio.sleep(2 * lag)
        stale[sync], took[sync] = old, median(times)
    await world.lift(delay)

    world.measure("stale reads without sync", stale[False])
    world.measure("stale reads with sync", stale[True])
    world.measure("a read without sync, median", round(took[False] * 1000, 2), unit="ms")
    world.measure("a read with sync, median", round(took[True] * 1000, 2), unit="ms")
    world.check(
        "a read without sync may be stale",
        stale[False] > 0,
        f"{stale[False]} of {calls}, {far} lags {lag:g} s",
    )
    world.check("no read after a sync is stale", stale[True] == 0, f"{stale[True]} of {calls}")
    await asyncio.gather(a.sync(), b.sync())
    values = (await a.get(PATH))[0], (await b.get(PATH))[0]
    world.check("A and B agree on what is new", values[0] == values[1], f'A: "{values[0]}", B: "{values[1]}"')
    await a.close()
    await b.close()
    for name in ensemble.names:
        await ensemble.dump(name)
    await ensemble.agree()
    check_invariants(world)


async def answer_the_telephone(b: RecordedClient, sync: bool) -> int:
    """Reads what one has just been told of, and returns its version."""
    if sync:
        _, (_, version) = await asyncio.gather(b.sync(), b.get(PATH))
    else:
        _, version = await b.get(PATH)
    return version


if __name__ == "__main__":
    hidden_channel.main()
