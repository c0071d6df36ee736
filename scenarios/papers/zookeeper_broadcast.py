"""ZooKeeper's atomic broadcast alone, over Figure 7: the leader makes the transactions, no client asks.

The paper does not say how large they are. They cannot be the kilobyte of the other experiments: 21,654 of
them a second to twelve followers would be 266 MB/s out of a gigabit interface. Here they have 100 bytes; any
size below 400 or so is within the interface.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from scenarios.papers.coordination import alone, compare
from scenarios.papers.coordination.calibration import ZOOKEEPER
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import hardware
from scenarios.papers.figures import rows
from sim import World, scenario

CALIBRATED = (3, 13)
PAPER = {int(row["servers"]): row["avg"] for row in rows("zk_fig7_atomic_broadcast")}


@scenario(
    checks=("more servers, fewer transactions", "the processor is the limit"),
    plots=("overlay",),
    hardware=hardware(ZOOKEEPER),
    real_limit_s=3600,
)
async def zookeeper_broadcast(
    world: World,
    *,
    servers: list[Annotated[int, Meta(ge=2, le=25)]] = [3, 5, 7, 9, 13],  # noqa: B006
    size: Annotated[int, Meta(ge=1, le=100_000)] = 100,
    outstanding: Annotated[int, Meta(ge=1, le=10_000)] = 500,
    transactions: Annotated[int, Meta(ge=1)] = 4_000,
) -> None:
    """ZooKeeper's atomic broadcast without clients, over Figure 7."""
    costs = replace(ZOOKEEPER, prepare_s=0.0)  # there are no requests to make transactions of
    table = Table(world, "Figure 7")
    rates: dict[float, float] = {}
    for count in servers:
        outcome = await alone.broadcast(
            world,
            f"s{count}-",
            count,
            costs,
            transaction=size,
            outstanding=outstanding,
            transactions=transactions,
        )
        rates[count] = outcome.rate
        table.add(f"{count} servers", outcome.rate, PAPER.get(count), calibrated=count in CALIBRATED)
        world.check(
            "the processor is the limit", outcome.busy > 0.9, f"{count} servers: {outcome.busy:.0%} busy"
        )
    in_order = [rates[count] for count in sorted(rates)]
    world.check("more servers, fewer transactions", compare.falls(in_order), f"{[*map(round, in_order)]}")
    compare.draw(
        world,
        "atomic broadcast alone, over Figure 7",
        [table.finish(), "calibrated at 3 and 13 servers"],
        [compare.panel("transactions/s", rates, sorted(PAPER.items()))],
        "servers",
        (2, 14),
    )


if __name__ == "__main__":
    zookeeper_broadcast.main()
