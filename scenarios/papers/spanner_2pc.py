"""Two-phase commit over more and more groups, over Table 4: mean and 99th percentile of latency.

Three zones of 25 spanservers; one client writes a row of 4 KB in each of so many groups, drawn by chance, and
commits; then again. What the paper does not tell: how many groups there were (here 300), how large the rows,
how many transactions (here fewer the more groups they have: a row's 99th percentile is of that many).

The machines were timeshared, and even a commit of one group took 75 ms now and then. Why, the paper does not
say; but its table has hardly more with 50 groups. So it cannot have been each participant by itself, and here
it is the client: with some chance it gets its processor late. Those two numbers are from the first row. It is
late before it commits, when nobody waits for it; so it need not be played, and each transaction counts with
all the times that its client may be late, in proportion.

    dsim run papers/spanner-2pc
    dsim run papers/spanner-2pc --set stalls=false --set participants=[1,10,100]
"""

from __future__ import annotations

import asyncio
from math import log
from statistics import mean, quantiles
from typing import Annotated

from msgspec import Meta

from scenarios.papers.coordination import compare
from scenarios.papers.coordination.compare import Table
from scenarios.papers.spanner.calibration import SPANNER, VALUE
from scenarios.papers.spanner.universe import COLUMNS, TABLE, PaperUniverse, hardware
from scenarios.spanner.promises import INVARIANTS, check_invariants
from services.spanner.client import ALL
from sim import World, scenario

MEAN = {1: 17.0, 2: 24.5, 5: 31.5, 10: 30.0, 25: 35.5, 50: 42.7, 100: 71.4, 200: 150.5}
P99 = {1: 75.0, 2: 87.6, 5: 104.5, 10: 95.6, 25: 100.4, 50: 93.7, 100: 131.2, 200: 320.3}
"""Table 4, milliseconds."""

ZONES, SERVERS, GROUPS = 3, 25, 300
PAUSE_S = 0.05
"""After each transaction: until participants have logged its outcome, so that the next one does not queue."""

CALIBRATED = (1, 100, 200)  # of the means

STALLED, STALL_MS = 0.10, 27.5
"""How often a client gets its processor late, and how late on average (exponentially distributed)."""

STEPS = 500
LATE = [
    -STALL_MS * log((1 - place) / STALLED) if place > 1 - STALLED else 0.0
    for place in ((step + 0.5) / STEPS for step in range(STEPS))
]
"""How late, in equally probable steps."""

WHOLE = "every group has what was committed last"


@scenario(
    checks=(
        "few participants cost little more than two",
        "many participants cost each its share",
        WHOLE,
        INVARIANTS,
    ),
    plots=("overlay",),
    hardware=hardware(SPANNER),
    real_limit_s=3600,
)
async def spanner_2pc(
    world: World,
    *,
    participants: list[Annotated[int, Meta(ge=1, le=500)]] = [1, 2, 5, 10, 25, 50, 100, 200],  # noqa: B006
    transactions: Annotated[int, Meta(ge=2, le=100_000)] = 200,
    groups: Annotated[int, Meta(ge=1, le=1000)] = GROUPS,
    servers: Annotated[int, Meta(ge=1, le=100)] = SERVERS,
    stalls: bool = True,
) -> None:
    """Two-phase commit over more and more groups, over Table 4."""
    groups = max(groups, *participants)
    universe = PaperUniverse(world, SPANNER, zones=ZONES, servers=servers, groups=groups, directories=groups)
    await universe.start()
    means, tails = Table(world, "Table 4, mean", "ms"), Table(world, "Table 4, 99 %", "ms")
    chance = world.stream("transactions")
    database = universe.database("client")
    last: dict[int, bytes] = {}

    async def write(directories: list[int]) -> float:
        value = chance.randbytes(8) + bytes(VALUE - 8)
        begin = world.now()
        async with database.batch() as batch:
            batch.insert_or_update(TABLE, COLUMNS, [(one, 0, value) for one in directories])
        took = 1e3 * (world.now() - begin)
        last.update(dict.fromkeys(directories, value))
        await asyncio.sleep(PAUSE_S)
        return took

    found: dict[int, tuple[float, float]] = {}
    for count in sorted(participants):
        await asyncio.gather(*(write([one]) for one in range(groups)))  # leases are there
        times = max(2, min(transactions, round(transactions * 12 / (count + 12))))
        took = [await write(chance.sample(range(groups), count)) for _ in range(times)]
        late = LATE if stalls else [0.0]
        all_ = [one + wait for one in took for wait in late]
        found[count] = mean(all_), quantiles(all_, n=100, method="inclusive")[-1]
        world.measure(f"{count} participants, transactions", times)
        means.add(f"{count} participants", found[count][0], MEAN.get(count), calibrated=count in CALIBRATED)
        tails.add(f"{count} participants", found[count][1], P99.get(count), calibrated=count == 1)
    rows = await database.snapshot().read(TABLE, COLUMNS, ALL)
    wrong = [one for one, _, value in rows if last[one] != value]
    world.check(WHOLE, len(rows) == groups and not wrong, f"{len(rows)} groups, others have {wrong}")
    _judge(world, found)
    await universe.stop()
    check_invariants(world)
    compare.draw(
        world,
        "two-phase commit, over Table 4",
        [means.finish(), tails.finish() + "; calibrated: one participant, and the means of 100 and 200"],
        [
            compare.panel("mean (ms)", {k: one for k, (one, _) in found.items()}, sorted(MEAN.items())),
            compare.panel("99 % (ms)", {k: one for k, (_, one) in found.items()}, sorted(P99.items())),
        ],
        "participants",
        (0, 205),
    )


def _judge(world: World, found: dict[int, tuple[float, float]]) -> None:
    """Checks the trends of the table."""
    few = {count: one for count, (one, _) in found.items() if 2 <= count <= 25}
    world.check(
        "few participants cost little more than two",
        not few or max(few.values()) < 2 * few[min(few)],
        ", ".join(f"{count}: {one:.1f} ms" for count, one in few.items()),
    )
    many = {count: one for count, (one, _) in found.items() if count >= 50}
    grows = [many[count] for count in sorted(many)]
    world.check(
        "many participants cost each its share",
        grows == sorted(grows),
        ", ".join(f"{count}: {one:.1f} ms" for count, one in many.items()),
    )


if __name__ == "__main__":
    spanner_2pc.main()
