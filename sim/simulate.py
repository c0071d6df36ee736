"""Moving in: `simulate` runs a program written for asyncio and grpc.aio in a world of its own."""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import TYPE_CHECKING, Any, TypeVar

from sim.scenario.watchdog import Watchdog
from sim.world.reality import guarded
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from services.recorder import Recorder
    from sim.world.loop import Loop

T = TypeVar("T")

STEP_LIMIT_S = 30.0
"""Real seconds that a program may run without ever waiting."""

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
        main: the async function, without required arguments.
        seed: decides everything: the same seed gives the same run.
        adopt: clocks, chance, grpc.aio and asyncio streams, called directly, are the simulated
            host's. Otherwise such calls raise `RealityLeak`.
        interleave: the seed also decides which ready task runs first.
        limit_s: virtual seconds after which the run is ended.
        trace: where the trace goes.

    Returns:
        what `main` returns.

    Raises:
        TypeError: `main` is something else.
        Stuck: the run could not come to an end; the message says who waits where.
        BaseException: what `main` raises.
    """
    if inspect.iscoroutine(main):
        main.close()
        raise TypeError(f"simulate takes the async function: simulate({main.__name__}), without ()")
    if not callable(main):
        raise TypeError(f"simulate takes an async function, not {main!r}")
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("simulate() cannot be called from a running event loop")
    coroutine = main()
    if not inspect.iscoroutine(coroutine):
        raise TypeError(f"simulate takes an async function; {main!r} returned {coroutine!r}")
    simulation = Simulation(seed, recorder=trace, interleave=interleave, limit_s=limit_s)
    watchdog = Watchdog(simulation.loop, math.inf, STEP_LIMIT_S)
    try:
        # Guarded until the end of the world: garbage collected before its last step would be in the trace.
        with guarded(), watchdog, asyncio.Runner(loop_factory=lambda: _at_home(simulation, adopt)) as runner:
            result: T = runner.run(coroutine)
            return result
    except KeyboardInterrupt:
        if watchdog.verdict is None:
            raise
        raise watchdog.verdict from None
    finally:
        simulation.close()


def _at_home(simulation: Simulation, adopt: bool) -> Loop:
    simulation.loop.home = simulation.boot(HOST, adopt=adopt).process
    return simulation.loop


def lone_loop(seed: int) -> Loop:
    """Returns the loop of a world of one adopted host; see `sim.world.loop.new_event_loop`."""
    return _at_home(Simulation(seed), adopt=True)
