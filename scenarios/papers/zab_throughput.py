"""Zab's own evaluation, over its Figures 6 and 7: network alone, with a disk, with a disk that must write.

The leader makes operations of 1,024 bytes, 1,000 outstanding (Figure 6) or one (Figure 7).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.papers.coordination import alone, compare
from scenarios.papers.coordination.calibration import NO_WRITE_CACHE_S, ZAB
from scenarios.papers.coordination.compare import Table
from scenarios.papers.coordination.ensemble import hardware
from scenarios.papers.coordination.hardware import REQUEST
from scenarios.papers.figures import rows
from sim import World, scenario
from sim.world.disk import FREE, DiskModel

DISKS = {
    "net_only": FREE,
    "net_disk": DiskModel(call=0.0, seek=0.0, flush=ZAB.sync_s, bandwidth=ZAB.disk_Bps),
    "net_disk_no_write_cache": DiskModel(call=0.0, seek=0.0, flush=NO_WRITE_CACHE_S, bandwidth=ZAB.disk_Bps),
}
SAID = {
    "net_only": "net only",
    "net_disk": "net + disk",
    "net_disk_no_write_cache": "net + disk, no write cache",
}
RATES = {int(row["servers"]): row for row in rows("zab_fig6_throughput")}
LATENCIES = {int(row["servers"]): row for row in rows("zab_fig7_latency_ms")}
OUTSTANDING = 1_000
CALIBRATED = {("net_only", 3), ("net_only", 13)}  # of Figure 6
CALIBRATED_AT = 3  # of Figure 7, all three


@scenario(
    checks=(
        "more servers, fewer operations",
        "a disk with a cache costs no throughput",
        "without a cache, small ensembles wait for the disk and large ones for the network",
        "latency: network, then disk, then disk without cache",
    ),
    plots=("overlay",),
    hardware=hardware(ZAB),
    real_limit_s=3600,
)
async def zab_throughput(
    world: World,
    *,
    servers: list[Annotated[int, Meta(ge=2, le=25)]] = [3, 5, 7, 9, 11, 13],  # noqa: B006
    outstanding: Annotated[int, Meta(ge=1, le=10_000)] = OUTSTANDING,
    operations: Annotated[int, Meta(ge=1)] = 2_000,
    singles: Annotated[int, Meta(ge=1)] = 20,
) -> None:
    """Zab's throughput and latency, over its Figures 6 and 7."""
    rate, latency = Table(world, "Figure 6"), Table(world, "Figure 7", "ms")
    rates: dict[str, dict[float, float]] = {kind: {} for kind in DISKS}
    took: dict[str, dict[float, float]] = {kind: {} for kind in DISKS}
    for kind, disk in DISKS.items():
        for count in servers:
            many, one = [
                await alone.broadcast(
                    world,
                    f"{kind.replace('_', '')}{count}x{at_once}-",
                    count,
                    ZAB,
                    transaction=REQUEST,
                    outstanding=at_once,
                    transactions=number,
                    disk=disk,
                )
                for at_once, number in ((outstanding, operations), (1, singles))
            ]
            rates[kind][count], took[kind][count] = many.rate, 1e3 * one.latency_s
            name = f"{SAID[kind]}, {count} servers"
            rate.add(name, many.rate, RATES.get(count, {}).get(kind), calibrated=(kind, count) in CALIBRATED)
            latency.add(
                name,
                1e3 * one.latency_s,
                LATENCIES.get(count, {}).get(kind),
                calibrated=count == CALIBRATED_AT,
            )
    _judge(world, rates, took)
    compare.draw(
        world,
        "Zab, over its Figures 6 and 7",
        [
            rate.finish() + "; calibrated: net only at 3 and 13 servers",
            latency.finish() + "; calibrated: 3 servers",
        ],
        [
            compare.panel(
                f"{SAID[kind].replace(', no', chr(10) + 'no')}\n{what}",
                ours[kind],
                [(count, row[kind]) for count, row in paper.items()],
            )
            for what, ours, paper in (("ops/s", rates, RATES), ("ms", took, LATENCIES))
            for kind in DISKS
        ],
        "servers",
        (2, 14),
    )


def _judge(world: World, rates: dict[str, dict[float, float]], took: dict[str, dict[float, float]]) -> None:
    """Checks the trends of both figures."""
    for kind, found in rates.items():
        in_order = [found[count] for count in sorted(found)]
        world.check(
            "more servers, fewer operations",
            compare.falls(in_order, 0.05),
            f"{SAID[kind]}: {[*map(round, in_order)]}",
        )
    net, disk, uncached = rates.values()
    for count, value in net.items():
        world.check(
            "a disk with a cache costs no throughput",
            disk[count] > 0.9 * value,
            f"{count} servers: {disk[count]:.0f} of {value:.0f}",
        )
        world.check(
            "without a cache, small ensembles wait for the disk and large ones for the network",
            uncached[count] < 0.8 * value if count <= 5 else uncached[count] > 0.8 * value or count < 11,
            f"{count} servers: {uncached[count]:.0f} of {value:.0f}",
        )
        first, second, third = (found[count] for found in took.values())
        world.check(
            "latency: network, then disk, then disk without cache",
            first < second < third,
            f"{count} servers: {first:.1f}, {second:.1f}, {third:.1f} ms",
        )


if __name__ == "__main__":
    zab_throughput.main()
