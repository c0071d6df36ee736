"""Messages go in one direction only: the leader can talk but not hear, or hear but not talk.

Either is worse than a clean cut, for half of the ensemble still looks well. A leader that nobody hears is
given up by its followers. One that hears nobody looks alive to them, for its heartbeats arrive: it is the
leader itself that must give up when a quorum does not answer (Zab, V: heartbeats go both ways). Then
another is elected, and the old one, who still cannot hear (or be heard), must not disturb it.

    dsim run coordination/one-way-partition --set deaf=false
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
from sim.faults import Cut


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "the old leader gives up",
        "another leads undisturbed",
        "all are back",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def one_way_partition(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    deaf: bool = True,
    seconds: Annotated[float, Meta(ge=1, le=600)] = 4.0,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """The leader can send but hears nobody (or the other way round): it gives up, and another leads."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.15)
    old = await ensemble.leader()
    others = [name for name in ensemble.names if name != old]
    probe = await work.probe(others)

    cuts = [
        await world.inject(Cut(source=name if deaf else old, target=old if deaf else name, both=False))
        for name in others
    ]
    began = world.now()
    await majority(world, True)
    new = await ensemble.leader(other_than=old)
    world.measure("another leads after", round(world.now() - began, 3), unit="s")
    epoch = (await ensemble.report(new))["zk_epoch"]
    await probe.acknowledged()
    world.measure("an acknowledged write after", round(world.now() - began, 3), unit="s")
    await asyncio.sleep(max(0.0, began + seconds - world.now()))

    state = (await ensemble.report(old)).get("zk_server_state", "silent")
    world.check("the old leader gives up", state != "leader", f"{old} is {state}")
    now = await ensemble.report(new)
    world.check(
        "another leads undisturbed",
        (now.get("zk_server_state"), now.get("zk_epoch")) == ("leader", epoch),
        f"{new} is {now.get('zk_server_state')} in epoch {now.get('zk_epoch')}, led in {epoch}",
    )
    for cut in cuts:
        await world.lift(cut)
    healed = world.now()
    await ensemble.serving(old)
    world.measure("the old one serves again after", round(world.now() - healed, 3), unit="s")
    state = (await ensemble.report(old)).get("zk_server_state")
    world.check("all are back", state == "follower", f"{old} is {state}")
    await work.end()


if __name__ == "__main__":
    one_way_partition.main()
