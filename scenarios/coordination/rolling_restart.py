"""Every server is restarted, one after the other, while clients work: one election, and no session lost.

Servers are made to be killed (the fault model is crash and recovery, section 4), so a new version, or new
settings, are brought in by killing one, starting it again, and going on to the next when it is in step. The
leader comes last: then there is one election, and whoever wins it has been restarted already. In any other
order the next leader may be restarted as well:

    dsim run coordination/rolling-restart --set leader=first
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

from scenarios.coordination.at_work import AtWork, in_step
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Crash


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "one election",
        "no session is lost",
        "the service hardly pauses",
        INVARIANTS,
    ),
    plots=("timeline", "spacetime"),
    limit_s=600,
)
async def rolling_restart(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    leader: Literal["last", "first"] = "last",
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    downtime: Annotated[float, Meta(gt=0, le=60)] = 0.3,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """All servers are restarted, the leader last: one short pause, and no client loses its session."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    work = await AtWork.begin(ensemble, clients)
    probe = await work.probe()
    everybody = [*work.people, probe.client]
    sessions = {client.name: client.session.session for client in everybody}
    old = await ensemble.leader()
    epoch = (await ensemble.report(old))["zk_epoch"]
    others = [name for name in ensemble.names if name != old]
    order = [*others, old] if leader == "last" else [old, *others]

    await majority(world, True)
    began, elections = world.now(), []
    for name in order:
        crash = await world.inject(Crash(host=name))
        await asyncio.sleep(downtime)
        await world.lift(crash)
        await ensemble.serving(name)
        await in_step(ensemble, name)
        leading = await ensemble.leader()
        now = (await ensemble.report(leading))["zk_epoch"]
        if now != epoch:
            elections.append(f"{leading} in epoch {now}")
        epoch = now
    await probe.acknowledged()
    pause = probe.longest_pause(began, world.now())
    world.measure("restarted within", round(world.now() - began, 3), unit="s")
    world.measure("longest time without an acknowledged write", round(pause, 3), unit="s")
    world.measure("elections", len(elections))
    world.check("one election", len(elections) == 1, "; ".join(elections) or "none")
    world.check(
        "the service hardly pauses",
        pause < 5 * tick + downtime,
        f"never longer than {pause:.3f} s without a write",
    )
    lost = [client.name for client in everybody if client.session.session != sessions[client.name]]
    world.check("no session is lost", not lost, f"{', '.join(lost) or 'none'} of {len(everybody)}")
    await work.end()


if __name__ == "__main__":
    rolling_restart.main()
