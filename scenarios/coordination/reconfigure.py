"""The whole ensemble is replaced by other machines, one at a time, while clients work; nobody notices.

The members are part of the replicated state (`/zookeeper/config`). A new server starts as an observer
would: it learns from the leader until it is in step. Then a transaction makes it a member, and another one
takes an old server out, the leader, too, who steps down when it is done. A change is decided by a majority
of the old and by one of the new members, so at no time can there be two majorities that know nothing of
each other. In the end the old machines are switched off, and everything is still there.

Three new servers that are not there cannot be made a majority: that is refused, and nothing changes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.coordination.at_work import AtWork, in_step
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, majority
from services.coordination.api import Code, CoordinationError
from sim import World, scenario
from sim.check.coordination.availability import Progress
from sim.faults import Crash

if TYPE_CHECKING:
    from services.coordination.client import Client

REFUSALS = (Code.CONNECTION_LOSS, Code.RECONFIG_IN_PROGRESS, Code.NEW_CONFIG_NO_QUORUM)
"""After one of these a change is asked for again: the leader changes, or the new one is not in step yet."""


@scenario(
    checks=(
        *PROMISES,
        Progress(within_s=5.0),
        "a majority that is not there is refused",
        "the new ones are the ensemble",
        "it works without the old ones",
        INVARIANTS,
    ),
    plots=("spacetime",),
    limit_s=600,
)
async def reconfigure(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=2, le=7)] = 3,
    clients: Annotated[int, Meta(ge=1, le=50)] = 2,
    off: bool = True,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """Three servers are replaced by three others, one by one, the leader last; clients work on."""
    ensemble = Ensemble(world, servers, tick=tick, reconfigure=True, skip_acl=True, digest_every=8)
    await ensemble.start()
    old = list(ensemble.names)
    new = [f"zk{servers + number}" for number in range(1, servers + 1)]
    work = await AtWork.begin(ensemble, clients, servers=old + new, pause=0.15)
    probe = await work.probe(old + new)
    operator = await ensemble.client("manager", old + new)
    await majority(world, True)
    began = world.now()

    refused = ""
    try:
        lines = [line(number) for number in range(90, 90 + 2 * servers)]
        await operator.session.reconfigure(joining=lines)
    except CoordinationError as exc:
        refused = exc.code.name
    world.check(
        "a majority that is not there is refused",
        refused == Code.NEW_CONFIG_NO_QUORUM.name,
        refused or "it was accepted",
    )

    first = await ensemble.leader()
    leaving = [name for name in old if name != first] + [first]
    for joining, name in zip(new, leaving, strict=True):
        number = int(joining.removeprefix("zk"))
        known = [*ensemble.members, line(number, "observer")]
        await ensemble.start_one(joining, number, known)
        await change(operator.session, joining=[line(number)])
        ensemble.names.append(joining)
        ensemble.members.append(line(number))
        await ensemble.serving(joining)
        await in_step(ensemble, joining)
        await change(operator.session, leaving=[int(name.removeprefix("zk"))])
        ensemble.names.remove(name)
        ensemble.members.remove(line(int(name.removeprefix("zk"))))
    world.measure("all replaced within", round(world.now() - began, 3), unit="s")
    leader = await ensemble.leader()
    data, _ = await operator.session.get("/zookeeper/config")
    members = sorted(part.split("=")[1].split(":")[0] for part in data.decode().split() if "=zk" in part)
    world.check(
        "the new ones are the ensemble",
        members == sorted(new) and leader in new,
        f"{', '.join(members)}; {leader} leads",
    )
    if off:
        for name in old:
            await world.inject(Crash(host=name))
    await probe.acknowledged()
    pause = probe.longest_pause(began, world.now())
    world.measure("longest time without an acknowledged write", round(pause, 3), unit="s")
    since = world.now()
    await asyncio.sleep(0.5)
    await probe.acknowledged()
    written = probe.count(since, world.now())
    world.check("it works without the old ones", written > 0, f"{written} writes with {', '.join(new)} alone")
    await operator.close()
    await work.end()


def line(number: int, role: str = "participant") -> str:
    """Returns a server's line of a configuration."""
    return f"server.{number}=zk{number}:2888:3888:{role}"


async def change(session: Client, joining: list[str] | None = None, leaving: list[int] | None = None) -> None:
    """Changes the ensemble; asks again until it is so."""
    while True:
        try:
            await session.reconfigure(joining=joining or [], leaving=leaving or [])
            return
        except CoordinationError as exc:
            if exc.code not in REFUSALS:
                raise
            await asyncio.sleep(TICK / 4)


if __name__ == "__main__":
    reconfigure.main()
