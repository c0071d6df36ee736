"""All time masters are gone for a while: hosts become less and less certain of the time, and stay right.

Between polls a timeslave knows the time by its own crystal, which may be off by so much a second: so ε grows
(section 3). Without masters it goes on growing, in a straight line. When they are back one poll is enough.
The paper's numbers (a poll every 30 s, 200 µs a second) are taken ten times as fast here, so that the saw is
as high as the paper's and the story ten times as short. `--set drift=0` takes the growth away, and with a
crystal that is not perfect the hosts are wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from scenarios.spanner.timekeepers import Timekeepers, check_programs
from sim import World, scenario
from sim.check.spanner.containment import Containment
from sim.faults import ClockDrift, Crash

if TYPE_CHECKING:
    from services.spanner.truetime import Timeslave

NOTHING_BREAKS = "nothing breaks"
SPARE_S = 0.05  # seconds that a busy real machine may add to a round trip


@scenario(
    checks=(
        Containment(),
        "ε grows without masters",
        "one poll is enough when they are back",
        NOTHING_BREAKS,
    ),
    plots=("epsilon",),
    limit_s=3600,
)
async def time_masters_down(
    world: World,
    *,
    zones: Annotated[int, Meta(ge=2, le=9)] = 3,
    hosts: Annotated[int, Meta(ge=1, le=50)] = 1,
    poll_s: Annotated[float, Meta(gt=0, le=600)] = 3.0,
    drift: Annotated[float, Meta(ge=0, le=0.01)] = 0.002,
    down_s: Annotated[float, Meta(gt=0, le=600)] = 15.0,
) -> None:
    """All time masters are down for a while: ε grows and grows, and true time stays within it."""
    settings = {"poll_s": poll_s, "drift": drift}
    keepers = Timekeepers(world, zones, hosts=hosts, settings=settings, compare_s=poll_s / 3)
    await keepers.start()
    observer = keepers.observer("observer", "zone1")
    fast, slow, *_ = keepers.all_hosts()  # their crystals are at nine tenths of what is taken for granted
    await world.inject(ClockDrift(host=fast, rate=0.9 * (drift or 0.002)))
    await world.inject(ClockDrift(host=slow, rate=-0.9 * (drift or 0.002)))
    await asyncio.sleep(4.2 * poll_s)

    before = await largest(observer, poll_s)
    down = [await world.inject(Crash(host=one["name"])) for one in keepers.masters]
    began = world.now()
    await asyncio.sleep(down_s)
    during, took = observer.now().epsilon / 1e9, world.now() - began
    for fault in down:
        await world.lift(fault)
    await world.serving(*(one["name"] for one in keepers.masters))
    await asyncio.sleep(2.2 * poll_s)
    after = await largest(observer, poll_s)

    world.measure("ε before a poll", round(before * 1000, 2), unit="ms")
    world.measure("ε when the masters were down longest", round(during * 1000, 2), unit="ms")
    world.check(
        "ε grows without masters",
        drift * took <= during <= drift * (took + poll_s) * 1.01 + SPARE_S,
        f"{during * 1000:.2f} ms after {took:.1f} s, of which {drift * took * 1000:.2f} ms for the crystal",
    )
    world.check(
        "one poll is enough when they are back",
        after <= drift * poll_s * 1.01 + SPARE_S,
        f"at most {after * 1000:.2f} ms afterwards, {before * 1000:.2f} ms before",
    )
    check_programs(world, NOTHING_BREAKS)


async def largest(observer: Timeslave, seconds: float) -> float:
    """Returns the largest ε (seconds) that a host has in the next so many seconds."""
    found = 0.0
    for _ in range(20):
        found = max(found, observer.now().epsilon / 1e9)
        await asyncio.sleep(seconds / 20)
    return found


if __name__ == "__main__":
    time_masters_down.main()
