"""ZooKeeper's double barriers, over Table 3: clients enter many in succession, then leave them in succession.

The recipe is that of `services/coordination/recipes`, which leaves as Apache's does. The paper's numbers are
for 200 to 1,600 barriers; the time for one does not depend on how many come after it, so fewer are done here,
and multiplied.

The paper says that its system was not saturated: less than 17,000 operations a second, of more than 40,000.
So it was the clients that had no more time, and their machines are modelled here: all of them share one core.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.calibration import BARRIER_CLIENT_S, ZOOKEEPER
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import PaperEnsemble, hardware, simulation_of
from scenarios.papers.coordination.hardware import OUTSTANDING
from services.coordination.client import Client
from services.coordination.recipes.double_barrier import DoubleBarrier
from sim import World, scenario
from sim.world.cpu import RpcCost

MACHINE = "clients"
CALIBRATED = (800, 100)  # barriers, clients
PAPER = {
    200: {50: 9.4, 100: 19.8, 200: 41.0},
    400: {50: 16.4, 100: 34.1, 200: 62.0},
    800: {50: 28.9, 100: 55.9, 200: 112.1},
    1600: {50: 54.0, 100: 102.7, 200: 234.4},
}


@scenario(
    checks=(
        "nobody is in before all have come, nobody out before all leave",
        "more clients, more time",
        "all servers have the same tree",
    ),
    plots=("overlay",),
    hardware=hardware(ZOOKEEPER),
    real_limit_s=3600,
)
async def zookeeper_barriers(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=2, le=25)] = 3,
    clients: list[Annotated[int, Meta(ge=2, le=500)]] = [50, 100, 200],  # noqa: B006
    barriers: Annotated[int, Meta(ge=1, le=1600)] = 2,
) -> None:
    """ZooKeeper's double barriers, over Table 3."""
    ensemble = PaperEnsemble(
        world,
        servers,
        ZOOKEEPER,
        outstanding=OUTSTANDING,
        outstanding_per_connection=OUTSTANDING,
        connections_per_address=0,
    )
    simulation_of(world).add_host(MACHINE, cores=1, rpc_cost=RpcCost(BARRIER_CLIENT_S, 0.0))
    await ensemble.start()
    table = Table(world, "Table 3", "s")
    took: dict[float, float] = {}
    for count in sorted(clients):
        took[count] = await _barriers(world, ensemble, count, barriers) / barriers
        for number, row in PAPER.items():
            table.add(
                f"{number} barriers, {count} clients",
                number * took[count],
                row.get(count),
                calibrated=(number, count) == CALIBRATED,
            )
        world.measure(
            f"barrier operations, {count} clients", round(2 * count / took[count], 1), unit="operations/s"
        )
    each = [took[count] for count in sorted(took)]
    world.check("more clients, more time", each == sorted(each), f"{[f'{1e3 * one:.0f} ms' for one in each]}")
    world.check("all servers have the same tree", await ensemble.agree(), f"{servers} servers")
    compare.draw(
        world,
        "double barriers, over Table 3",
        [table.finish() + "; calibrated: 800 barriers, 100 clients"],
        [
            compare.panel(
                f"{number} barriers (s)",
                {count: number * one for count, one in took.items()},
                sorted(row.items()),
            )
            for number, row in PAPER.items()
        ],
        "clients",
        (0, 220),
    )


async def _barriers(world: World, ensemble: PaperEnsemble, count: int, barriers: int) -> float:
    """Returns the seconds, on average over clients, for entering and leaving them all."""
    everybody = asyncio.Barrier(count)
    inside: dict[int, int] = {}
    took = await asyncio.gather(
        *(
            _enter_and_leave(
                world, ensemble, f"b{count}-{number}", number, count, barriers, everybody, inside
            )
            for number in range(count)
        )
    )
    return sum(took) / count


async def _enter_and_leave(
    world: World,
    ensemble: PaperEnsemble,
    name: str,
    number: int,
    count: int,
    barriers: int,
    everybody: asyncio.Barrier,
    inside: dict[int, int],
) -> float:
    target = ensemble.names[number % len(ensemble.names)]
    said = "nobody is in before all have come, nobody out before all leave"
    async with Client(world.client(MACHINE), [target], timeout=60.0) as client:
        if not number:
            for index in range(barriers):
                await client.create(f"/b{count}-{index}")
        await everybody.wait()
        begin = world.now()
        entered = [DoubleBarrier(client, f"/b{count}-{index}", count, name) for index in range(barriers)]
        come, gone = 0, count
        for index, barrier in enumerate(entered):
            inside[index] = inside.get(index, 0) + 1
            await barrier.enter()
            come = inside[index]
            if come != count:
                world.check(said, False, f"{name} is in barrier {index} with {come} of {count}")
        await asyncio.sleep(0)
        for index, barrier in enumerate(entered):
            inside[-1 - index] = inside.get(-1 - index, 0) + 1
            await barrier.leave()
            gone = inside[-1 - index]
            if gone != count:
                world.check(said, False, f"{name} is out of barrier {index} when {gone} of {count} leave")
        seconds = world.now() - begin
        world.check(said, True, f"{count} clients at {barriers} barriers")
        await everybody.wait()
    return seconds


if __name__ == "__main__":
    zookeeper_barriers.main()
