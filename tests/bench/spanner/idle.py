"""10,000 groups that nobody asks for anything, for one hour of virtual time.

.venv/bin/python -m tests.bench spanner.idle
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from typing import TYPE_CHECKING

from sim.world.simulation import Simulation
from tests.bench.figure import Figure, show
from tests.bench.spanner.simulated import boot, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = 10_000
HOUR = 3600.0  # seconds
SETTLING = 60.0  # seconds until all have had their first leader
TARGET = 60.0


def idle(groups: int) -> tuple[float, float]:
    """Returns the seconds of wall time until all groups have come to rest, and of the hour after that."""
    simulation = Simulation(seed=0)
    boot(simulation, plan_of(groups, 10 * groups))
    began = time.perf_counter()
    settled = 0.0

    def rest() -> None:
        nonlocal settled
        settled = time.perf_counter()

    simulation.loop.call_later(SETTLING, rest, context=Context())  # of no host: it may look at the real clock
    simulation.run(asyncio.sleep(SETTLING + HOUR))
    return settled - began, time.perf_counter() - settled


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    groups = GROUPS // 10 if quick else GROUPS
    founded, taken = idle(groups)
    yield Figure(
        f"simulated: {groups:,} groups of 3 replicas idle for one virtual hour",
        taken,
        "s",
        "at most",
        TARGET,
        f"before that {founded:.1f} s for their founding, and their first leaders",
    )


if __name__ == "__main__":
    show(figures)
