"""ZooKeeper's latency, over Table 2: workers create znodes of a kilobyte and have them deleted again.

Each waits for a create, asks for the deletion of what it has created and does not wait for that, and goes on
with the next one (5.2, after Chubby's test). The paper's workers create 50,000 znodes each; here fewer.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.calibration import ZOOKEEPER
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import PaperEnsemble, hardware
from scenarios.papers.coordination.hardware import OUTSTANDING, REQUEST
from services.coordination.client import Client
from sim import World, scenario

PAPER = {
    1: {3: 776, 5: 748, 7: 758, 9: 711},
    10: {3: 2074, 5: 1832, 7: 1572, 9: 1540},
    20: {3: 2740, 5: 2336, 7: 1934, 9: 1890},
}
CALIBRATED = (1, 3)


@scenario(
    checks=(
        "more workers, more creates",
        "more servers, hardly more creates",
        "a write takes about a millisecond",
        "all servers have the same tree",
    ),
    plots=("overlay",),
    hardware=hardware(ZOOKEEPER),
    real_limit_s=3600,
)
async def zookeeper_latency(
    world: World,
    *,
    servers: list[Annotated[int, Meta(ge=2, le=25)]] = [3, 5, 7, 9],  # noqa: B006
    workers: list[Annotated[int, Meta(ge=1, le=100)]] = [1, 10, 20],  # noqa: B006
    creates: Annotated[int, Meta(ge=1)] = 400,
) -> None:
    """ZooKeeper's latency of creates, over Table 2."""
    table = Table(world, "Table 2", "creates/s")
    found: dict[int, dict[float, float]] = {number: {} for number in sorted(workers)}
    for count in sorted(servers):
        ensemble = PaperEnsemble(
            world,
            count,
            ZOOKEEPER,
            prefix=f"s{count}-",
            outstanding=OUTSTANDING,
            outstanding_per_connection=OUTSTANDING,
            connections_per_address=0,
        )
        await ensemble.start()
        for number in found:
            each = max(1, creates // number)
            found[number][count] = rate = await _creates(world, ensemble, count, number, each)
            name = f"{number} workers, {count} servers"
            paper = PAPER.get(number, {}).get(count)
            table.add(name, rate, paper, calibrated=(number, count) == CALIBRATED)
        world.check("all servers have the same tree", await ensemble.agree(), f"{count} servers")
        await ensemble.stop()
        one = found.get(1, {}).get(count)
        if one is not None:
            world.check("a write takes about a millisecond", 0.5e-3 < 1 / one < 2e-3, f"{1e3 / one:.2f} ms")
    if 1 not in found:
        world.check("a write takes about a millisecond", True, "no single worker")
    for count in sorted(servers):
        rates = [found[number][count] for number in found]
        world.check("more workers, more creates", rates == sorted(rates), f"{[*map(round, rates)]}")
    for number, by_servers in found.items():
        rates = [by_servers[count] for count in sorted(by_servers)]
        held = max(rates) <= 1.1 * rates[0]
        world.check("more servers, hardly more creates", held, f"{number} workers: {[*map(round, rates)]}")
    compare.draw(
        world,
        "latency of creates, over Table 2",
        [table.finish() + "; calibrated: 1 worker, 3 servers"],
        [
            compare.panel(f"{number} workers\n(creates/s)", ours, sorted(PAPER.get(number, {3: 0}).items()))
            for number, ours in found.items()
        ],
        "servers",
        (2, 10),
    )


async def _creates(world: World, ensemble: PaperEnsemble, count: int, number: int, each: int) -> float:
    """Returns the creates a second of so many workers, of `each` znodes."""
    everybody = asyncio.Barrier(number + 1)
    tasks = [
        world.spawn(_work(world, ensemble, f"w{count}-{number}-{worker}", worker, each, everybody))
        for worker in range(number)
    ]
    await everybody.wait()
    begin = world.now()
    await everybody.wait()
    seconds = world.now() - begin
    await asyncio.gather(*tasks)
    return number * each / seconds


async def _work(
    world: World, ensemble: PaperEnsemble, name: str, number: int, each: int, everybody: asyncio.Barrier
) -> None:
    target = ensemble.names[number % len(ensemble.names)]
    async with Client(world.client(name), [target], timeout=60.0) as client:
        await everybody.wait()
        deletes = []
        for index in range(each):
            path = f"/{name}-{index}"
            await client.create(path, bytes(REQUEST))
            deletes.append(asyncio.ensure_future(client.delete(path)))
        await everybody.wait()
        await asyncio.gather(*deletes)


if __name__ == "__main__":
    zookeeper_latency.main()
