"""The power fails: all servers die at the same moment, and again; what was acknowledged is there afterwards.

No majority survives, so nothing but the disks can help: every server has synced what it acknowledged (Zab:
crash recovery, f.p, f.a and the history on stable storage), any majority of them has all that clients were
told, and the one with the newest history leads (Zab, V). Writes in flight are torn. Sessions outlive it,
however long it is dark: nobody is there to count their silence, and a new leader begins with a full
time-out for each (4.4).
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
from sim.faults import Crash, TornWrite


@scenario(
    checks=(*PROMISES, Progress(within_s=10.0), "all serve again", "sessions outlive it", INVARIANTS),
    plots=("spacetime",),
    limit_s=600,
)
async def power_cut(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    cuts: Annotated[int, Meta(ge=1, le=100)] = 2,
    clients: Annotated[int, Meta(ge=1, le=50)] = 3,
    dark: Annotated[float, Meta(gt=0, le=600)] = 0.5,
    torn: bool = True,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """All servers die at once, twice: every acknowledged write is there when the power is back."""
    # Few transactions to a snapshot, so that there is one to begin with the second time.
    ensemble = Ensemble(world, servers, tick=tick, snap_count=100, digest_every=8)
    work = await AtWork.begin(ensemble, clients, pause=0.05)
    sessions = {client.name: client.session.session for client in work.people}
    slowest = 0.0
    for _ in range(cuts):
        if torn:
            for name in ensemble.names:
                await world.inject(TornWrite(host=name))
        crashes = await asyncio.gather(*(world.inject(Crash(host=name)) for name in ensemble.names))
        await majority(world, False)
        await asyncio.sleep(dark)
        began = world.now()
        await majority(world, True)  # the first two may serve before the last one has been started
        await asyncio.gather(*(world.lift(crash) for crash in crashes))
        await ensemble.serving(*ensemble.names)
        slowest = max(slowest, world.now() - began)
        await asyncio.sleep(0.5)
    world.measure("all serve again after", round(slowest, 3), unit="s")
    states = [one.get("zk_server_state") for one in (await ensemble.reports()).values()]
    leaders = states.count("leader")
    world.check("all serve again", leaders == 1 and None not in states, ", ".join(map(str, states)))
    lost = [client.name for client in work.people if client.session.session != sessions[client.name]]
    world.check(
        "sessions outlive it",
        not lost,
        f"{', '.join(lost) or 'none'} of {len(work.people)} had to open another; dark for {dark:g} s",
    )
    await work.end()


if __name__ == "__main__":
    power_cut.main()
