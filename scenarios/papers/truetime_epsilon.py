"""The uncertainty of TrueTime just after polls, over Figure 6: 90, 99 and 99.9 % of all hosts.

Zones with three time masters each, and hosts whose timeslaves poll every 30 s. What a host knows just after
a poll is as good as the way to the masters: so the levels of quiet days are put in, as the quantiles of how
long a host takes for a message, one set before March 30, a better one after. What then follows from the
rules is that ε shows just that, and what becomes of it on April 13, when two of a zone's three masters are
shut: its hosts have to believe masters that are far. How far is not told: that is one number, from the
plateau's 90 %.

    dsim run papers/truetime-epsilon
"""

from __future__ import annotations

import asyncio
import math
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import simulation_of
from scenarios.papers.figures import rows
from scenarios.papers.spanner.universe import quiet
from services.spanner.truetime import Timeslave, masters_of
from services.spanner.truetime.master import serve
from sim import World, scenario
from sim.world.cpu import RpcCost
from sim.world.network import wan

if TYPE_CHECKING:
    from sim.world.simulation import Simulation

ZONES, MASTERS, SHUT = ("east", "middle", "west"), 3, 2
NEAR_S = 0.1e-3  # one way within a zone
FAR_S = 3.8e-3  # one way between zones
MESSAGE_S = 1e-6  # a message at a host, times what is drawn
POLL_S = 30.0
LEVELS = ("90", "99", "99.9")


class Span(Struct):
    """A part of the figure.

    Attributes:
        name: of it.
        figure: of its three curves, before the level.
        begin, end: hours of that.
        quantiles: of a poll's seconds at the host, for the three levels.
        shut: two masters of a zone are.
    """

    name: str
    figure: str
    begin: float
    end: float
    quantiles: tuple[float, float, float]
    shut: bool = False


BEFORE = (0.24e-3, 1.3e-3, 6.5e-3)
AFTER = (0.19e-3, 0.54e-3, 3.2e-3)
SPANS = (
    Span("March 29 to noon of the 30th", "mar29_apr1", 0, 36, BEFORE),
    Span("March 31", "mar29_apr1", 48, 72, AFTER),
    Span("April 13, before", "apr13", 6, 9.4, AFTER),
    Span("April 13, two masters shut", "apr13", 9.65, 10.15, AFTER, True),
    Span("April 13, after", "apr13", 10.5, 12, AFTER),
)


def _paper(span: Span, level: str) -> float:
    """Returns the median of a curve within a span, in milliseconds."""
    found = rows(f"spanner_fig6_{span.figure}_p{level}")
    hour = next(iter(found[0]))
    return median(row["epsilon_ms"] for row in found if span.begin <= row[hour] <= span.end)


PAPER = {span.name: {level: _paper(span, level) for level in LEVELS} for span in SPANS}


def hardware(simulation: Simulation) -> None:
    """Lays out the zones, and leaves messages out of the trace."""
    a, b, c = ZONES
    far = dict.fromkeys(((a, b), (b, c), (a, c)), FAR_S - NEAR_S)
    simulation.network.use(wan(far, latency_s=NEAR_S))
    quiet(simulation)


@scenario(
    checks=(
        "the network's improvement shows at all levels",
        "with two masters shut, most hosts of their zone are as uncertain as the others are far",
        "when they are back, all is as before",
    ),
    plots=("overlay",),
    hardware=hardware,
    real_limit_s=3600,
    limit_s=36_000,
)
async def truetime_epsilon(
    world: World,
    *,
    hosts: Annotated[int, Meta(ge=1, le=10_000)] = 40,
    polls: Annotated[int, Meta(ge=1, le=10_000)] = 10,
) -> None:
    """The uncertainty of TrueTime just after polls, over Figure 6."""
    simulation = simulation_of(world)
    masters = [
        {"name": f"master{number}.{zone}", "zone": zone, "kind": "gps"}
        for zone in ZONES
        for number in range(1, MASTERS + 1)
    ]
    for one in masters:
        simulation.add_host(one["name"], at=one["zone"])
        await world.start(one["name"], serve, kind="gps", masters=masters, settings={"compare_s": 3600.0})
    await world.serving(*(one["name"] for one in masters))
    slaves = []
    for zone in ZONES:
        for number in range(1, hosts + 1):
            name = f"host{number}.{zone}"
            simulation.add_host(name, at=zone, rpc_cost=RpcCost(MESSAGE_S, 0.0))
            slaves.append((name, Timeslave(world.client(name), masters_of(masters), zone=zone)))
    table = Table(world, "Figure 6", "ms")
    found: dict[str, dict[str, float]] = {}
    for span in SPANS:
        for number in range(1, SHUT + 1) if span.shut else ():
            await world.stop(f"master{number}.{ZONES[0]}")
        took = sorted(await _polls(world, simulation, slaves, span, polls))
        found[span.name] = {
            level: took[min(len(took) - 1, int(float(level) / 100 * len(took)))] for level in LEVELS
        }
        for level, value in found[span.name].items():
            given = span in SPANS[:2] or (span.shut and level == "90")
            table.add(f"{span.name}, {level} %", value, round(PAPER[span.name][level], 3), calibrated=given)
        for number in range(1, SHUT + 1) if span.shut else ():
            name = f"master{number}.{ZONES[0]}"
            await world.start(name, serve, kind="gps", masters=masters, settings={"compare_s": 3600.0})
    _judge(world, [found[span.name] for span in SPANS])
    compare.draw(
        world,
        "epsilon just after polls, over Figure 6",
        [table.finish()],
        [
            compare.panel(
                f"{level} %\n(ms)",
                {float(place): found[span.name][level] for place, span in enumerate(SPANS, 1)},
                [(float(place), PAPER[span.name][level]) for place, span in enumerate(SPANS, 1)],
                apart=True,
            )
            for level in LEVELS
        ],
        "",
        (0.5, 5.5),
        [
            (float(place), span.name.replace(" to ", "\nto ").replace(", ", "\n"))
            for place, span in enumerate(SPANS, 1)
        ],
    )


async def _polls(
    world: World, simulation: Simulation, slaves: list[tuple[str, Timeslave]], span: Span, polls: int
) -> list[float]:
    """Has all hosts poll so many times, one time that does not count before; returns ε after each, in ms."""
    chance = world.stream("hosts")
    took: list[float] = []
    count = len(slaves) * polls
    # One from each of as many equal parts: else the 99.9 % would be all chance.
    draws = [(place + chance.random()) / count for place in range(count)]
    chance.shuffle(draws)

    async def poll(name: str, slave: Timeslave, counts: bool) -> None:
        await asyncio.sleep(chance.random() * POLL_S / 2)
        # A question and an answer: ε is half of both.
        u = draws.pop() if counts else chance.random()
        simulation.machines[name].cpu.set_slow(_drawn(u, span.quantiles) / MESSAGE_S)
        if await slave.poll() and counts:
            took.append(slave.now().epsilon / 1e6)

    for time in range(polls + 1):
        await asyncio.gather(*(poll(name, slave, time > 0) for name, slave in slaves))
        await asyncio.sleep(POLL_S)
    return took


def _drawn(u: float, quantiles: tuple[float, float, float]) -> float:
    """Returns a quantile: up to 90 % nearly level, then straight lines over the logarithm of what is left."""
    low, middle, high = (math.log(one) for one in quantiles)
    left = -math.log10(max(1 - u, 1e-4))  # 1 at 90 %, 2 at 99 %, 3 at 99.9 %
    if left <= 1:
        return math.exp(low - 0.3 * (1 - left))
    if left <= 2:
        return math.exp(low + (middle - low) * (left - 1))
    return math.exp(middle + (high - middle) * (left - 2))


def _judge(world: World, found: list[dict[str, float]]) -> None:
    """Checks the shape of the figure."""
    before, after, quiet_, shut, back = found
    words: dict[str, Any] = {level: [round(one[level], 2) for one in found] for level in LEVELS}
    world.check(
        "the network's improvement shows at all levels",
        all(after[level] < before[level] for level in LEVELS),
        f"{words}",
    )
    world.check(
        "with two masters shut, most hosts of their zone are as uncertain as the others are far",
        1e3 * FAR_S < shut["90"] < 1e3 * FAR_S + 1.5,
        f"{shut['90']:.2f} ms, the others are {1e3 * FAR_S:g} ms away",
    )
    world.check(
        "when they are back, all is as before",
        abs(back["90"] / quiet_["90"] - 1) < 0.2,
        f"{quiet_['90']:.2f}, {back['90']:.2f} ms",
    )


if __name__ == "__main__":
    truetime_epsilon.main()
