"""What a sleep costs in the simulated loop, against detangle's loop on the same program.

100 tasks sleep 1,000 times each. Both loops run in turn in this process, so that what else the machine
does falls on both; printed is the ratio of the fastest runs. Target: at least 4 times as fast
as detangle, which runs tasks in asyncio's own order: its cheapest way.

Run as `python -m tests.bench.loop`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

import detangle

from sim.world.loop import Loop
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS, SLEEPS = 100, 1_000
ROUNDS = 5
LIMIT = 4.0


async def sleeper(number: int) -> None:
    for _ in range(SLEEPS):
        await asyncio.sleep(0.001 * (number % 7 + 1))


async def program() -> None:
    await asyncio.gather(*(sleeper(number) for number in range(TASKS)))


def ours() -> float:
    """Returns the processor seconds that the program takes in the simulated loop."""
    loop = Loop()
    gc.collect()
    start = time.process_time()
    loop.run_until_complete(program())
    took = time.process_time() - start
    loop.close()
    return took


def theirs() -> float:
    """Returns the processor seconds that the program takes in detangle's loop."""
    gc.collect()
    start = time.process_time()
    detangle.run(program, max_steps=10 * TASKS * SLEEPS)
    return time.process_time() - start


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    pairs = [(ours(), theirs()) for _ in range(2 if quick else ROUNDS)]
    own, other = (min(times) for times in zip(*pairs, strict=True))
    sleep = own / (TASKS * SLEEPS) * 1e6
    what = f"speed of {TASKS} tasks x {SLEEPS:,} sleeps"
    yield Figure(what, other / own, "x", "at least", LIMIT, f"detangle's loop; {sleep:.1f} µs a sleep")


if __name__ == "__main__":
    show(figures)
