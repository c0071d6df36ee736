"""All time masters are gone for a while: hosts become less and less certain of the time, and stay right.

Between polls a timeslave knows the time by its own crystal, which may be off by so much a second: so ε
grows (section 3). Without masters it goes on growing, in a straight line. When they are back one poll is
enough. The paper's numbers (a poll every 30 s, 200 µs a second) are taken ten times as fast here, so
that the saw is as high as the paper's and the story ten times as short. A database on such hosts gets
slower, for a commit waits until its timestamp has passed for certain, which takes about 2 ε; that is all
that happens to it. `--set drift=0` takes the growth away, and with a crystal that is not perfect the
hosts are wrong.
"""

from __future__ import annotations

import asyncio
from statistics import median
from typing import Annotated

import msgspec
from msgspec import Meta

from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL
from scenarios.spanner.relay import Relay, masters_of_zones
from services.spanner.truetime import Settings, Timeslave, masters_of
from sim import World, scenario
from sim.faults import ClockDrift, Crash

SPARE_S = 0.05  # seconds that a busy real machine may add to a round trip
SLOWER = "commits slow down as ε grows, and only then"


@scenario(
    checks=(
        *PROMISES,
        "ε grows without masters",
        "one poll is enough when they are back",
        SLOWER,
        TOTAL,
        INVARIANTS,
    ),
    plots=("epsilon", "commit-wait"),
    limit_s=3600,
)
async def time_masters_down(
    world: World,
    *,
    masters: Annotated[int, Meta(ge=1, le=9)] = 3,
    poll_s: Annotated[float, Meta(gt=0, le=600)] = 3.0,
    drift: Annotated[float, Meta(ge=0, le=0.01)] = 0.002,
    down_s: Annotated[float, Meta(gt=0, le=600)] = 15.0,
) -> None:
    """All time masters are down for a while: ε grows, commits slow down, and nothing breaks."""
    settings = {"poll_s": poll_s, "drift": drift}
    universe = Relay(world, masters_of_zones(masters), truetime=settings)
    await universe.start()
    observer = Timeslave(
        world.client("observer"),
        masters_of(universe.masters),
        msgspec.convert(settings, Settings),
        zone="z1",
    )
    world.spawn(observer.run(), name="timeslave-observer")
    fast, slow, *_ = universe.names  # their crystals are at nine tenths of what is taken for granted
    await world.inject(ClockDrift(host=fast, rate=0.9 * (drift or 0.002)))
    await world.inject(ClockDrift(host=slow, rate=-0.9 * (drift or 0.002)))
    await universe.open()
    over = asyncio.Event()
    working = world.spawn(universe.run_until(over, pause=poll_s / 30))
    await asyncio.sleep(4.2 * poll_s)

    before = await largest(observer, poll_s)
    usual = latency(universe)
    down = [await world.inject(Crash(host=one["name"])) for one in universe.masters]
    began = world.now()
    await asyncio.sleep(down_s)
    during, took = observer.now().epsilon / 1e9, world.now() - began
    slowest = latency(universe)
    for fault in down:
        await world.lift(fault)
    await world.serving(*(one["name"] for one in universe.masters))
    await asyncio.sleep(2.2 * poll_s)
    after = await largest(observer, poll_s)
    again = latency(universe)
    over.set()
    await working

    world.measure("ε before a poll", round(before * 1000, 2), unit="ms")
    world.measure("ε when the masters were down longest", round(during * 1000, 2), unit="ms")
    world.measure("median commit before", round(usual * 1000, 2), unit="ms")
    world.measure("median commit when the masters were down longest", round(slowest * 1000, 2), unit="ms")
    world.measure("median commit afterwards", round(again * 1000, 2), unit="ms")
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
    world.check(
        SLOWER,
        1.5 * drift * took <= slowest <= 3 * during + SPARE_S and again <= 2 * usual + SPARE_S,
        f"{usual * 1000:.1f} ms before, {slowest * 1000:.1f} ms with ε at {during * 1000:.1f} ms, "
        f"{again * 1000:.1f} ms afterwards (medians)",
    )
    await universe.finish()


def latency(universe: Relay) -> float:
    """Returns the median of the last few transactions, in seconds."""
    return median(one for banker in universe.runners for one in banker.latencies[-3:])


async def largest(observer: Timeslave, seconds: float) -> float:
    """Returns the largest ε (seconds) that a host has in the next so many seconds."""
    found = 0.0
    for _ in range(20):
        found = max(found, observer.now().epsilon / 1e9)
        await asyncio.sleep(seconds / 20)
    return found


if __name__ == "__main__":
    time_masters_down.main()
