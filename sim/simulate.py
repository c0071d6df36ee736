"""Moving in: `simulate` runs a program written for asyncio and grpc.aio in a world of its own."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from services.recorder import Recorder
    from sim.world.loop import Loop

T = TypeVar("T")

HOST = "localhost"
"""The name of the one host of such a world."""


def simulate(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int = 0,
    adopt: bool = True,
    interleave: bool = False,
    limit_s: float | None = None,
    trace: Recorder | None = None,
) -> T:
    """Runs `async def main()` on one simulated host, as `asyncio.run` does on the real machine.

    Args:
        main: the async function. It is called here, inside the simulation.
        seed: decides everything: the same seed gives the same run.
        adopt: clocks, chance, grpc.aio and asyncio streams, called directly, are the simulated
            host's. Otherwise such calls raise `RealityLeak`.
        interleave: the seed also decides which ready task runs first.
        limit_s: virtual seconds after which the run is ended.
        trace: where the trace goes.

    Returns:
        what `main` returns.

    Raises:
        TypeError: `main` is not an async function without required arguments.
        Stuck: the run could not come to an end; the message says who waits where.
        BaseException: what `main` raises.
    """
    if inspect.iscoroutine(main):
        main.close()
        raise TypeError(
            f"simulate takes the async function, not a coroutine: simulate({main.__name__}), without ()"
        )
    if not callable(main):
        raise TypeError(f"simulate takes an async function, not {type(main).__name__}")
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("simulate() cannot be called from a running event loop")
    simulation = Simulation(seed, recorder=trace, interleave=interleave, limit_s=limit_s)
    try:
        with asyncio.Runner(loop_factory=lambda: _at_home(simulation, adopt)) as runner:
            return runner.run(_called(main))
    finally:
        simulation.close()


async def _called(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    coroutine = main()
    if not inspect.isawaitable(coroutine):
        raise TypeError(f"simulate takes an async function; {main!r} returned {type(coroutine).__name__}")
    return await coroutine


def _at_home(simulation: Simulation, adopt: bool) -> Loop:
    simulation.loop.home = simulation.boot(HOST, adopt=adopt).process
    return simulation.loop


def lone_loop(seed: int) -> Loop:
    """Returns the loop of a world of one adopted host; see `sim.world.loop.new_event_loop`."""
    return _at_home(Simulation(seed), adopt=True)
