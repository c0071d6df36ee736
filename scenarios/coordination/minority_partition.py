"""The leader is cut off with a minority: it can acknowledge nothing, and the others go on without it.

Five servers, two of them on the wrong side, one of these the leader. A client that reaches only these two
asks for writes, and gets none acknowledged: the leader no longer has a quorum, gives up, and looks for
another one (Zab, V). The three elect one of their own. When the network heals, whatever the old leader had
proposed without a quorum is truncated at both, and everybody has the same history.

The client is told nothing wrong, but nothing at all either: that is what consistency costs (2.3: available
while a majority is up and communicating). With a majority on the leader's side it is the others who have to
wait:

    dsim run coordination/minority-partition --set on_its_side=3
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Partition


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "the minority acknowledges nothing",
        "the majority goes on",
        "one leader in the end",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def minority_partition(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 5,
    on_its_side: Annotated[int, Meta(ge=1, le=12)] = 2,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    seconds: Annotated[float, Meta(ge=1, le=600)] = 2.5,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """The leader is cut off with a minority: it acknowledges nothing, and the majority elects another."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.15)
    old = await ensemble.leader()
    others = [name for name in ensemble.names if name != old]
    inside = [old, *world.rng.sample(others, min(on_its_side, servers - 1) - 1)]
    outside = [name for name in ensemble.names if name not in inside]
    trapped = await work.probe(inside, "trapped")
    free = await work.probe(outside, "free")

    partition = await world.inject(Partition(groups=[inside, outside]))
    began = world.now()
    await majority(world, True)
    await asyncio.sleep(seconds)
    ended = world.now()
    state = (await ensemble.report(old)).get("zk_server_state")
    await world.lift(partition)

    there = trapped.count(began, ended)
    world.check(
        "the minority acknowledges nothing",
        there == 0,
        f"{there} writes acknowledged by {', '.join(inside)}; {old} says that it is {state}",
    )
    went_on = free.count(began, ended)
    world.check("the majority goes on", went_on > 0, f"{went_on} writes at {', '.join(outside)}")
    pause = free.longest_pause(began, ended)
    world.measure("no acknowledged write for", round(pause, 3), unit="s")

    await ensemble.serving(*ensemble.names)
    await trapped.acknowledged()
    world.measure("the minority serves again after", round(world.now() - ended, 3), unit="s")
    leaders = [
        name for name, one in (await ensemble.reports()).items() if one.get("zk_server_state") == "leader"
    ]
    world.check("one leader in the end", len(leaders) == 1, f"{', '.join(leaders)} leads")
    await work.end()


if __name__ == "__main__":
    minority_partition.main()
