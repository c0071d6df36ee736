"""Scenarios that fail in every way there is, by the seed."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

from msgspec import Meta

from sim import World, scenario
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm
from sim.faults import Crash, Isolate


async def idle(host, **parameters):
    """A program that does nothing."""
    await asyncio.sleep(1e6)


@scenario(checks=("even", "small"), plots=())
async def trouble(world: World, *, modulus: int = 10) -> None:
    """Fails, raises, dies or hangs, as the last digit of the seed says."""
    await asyncio.sleep(1)
    match world.seed % modulus:
        case 3:
            world.check("even", False, "three is odd")
        case 5:
            raise RuntimeError("five is too many")
        case 7:
            signal.raise_signal(signal.SIGKILL)
        case 9:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            while True:
                pass
        case _:
            world.check("even", True)
    world.check("small", world.seed < 30, f"{world.seed}")


@scenario(checks=("few",), plots=())
async def too_many(world: World, *, rounds: Annotated[int, Meta(ge=1), SHRINKABLE] = 40) -> None:
    """Fails with three rounds or more, without any fault."""
    await asyncio.sleep(1)
    world.check("few", rounds < 3, f"{rounds} rounds")


@scenario(checks=("together",), plots=())
async def two_down(
    world: World, *, extra: Annotated[int, Meta(ge=1), SHRINKABLE] = 7, seconds: float = 10.0
) -> None:
    """Fails when a is crashed while b is cut off."""
    for name in ("a", "b", "c"):
        await world.start(name, idle)
    for number in range(extra):
        await world.start(f"extra{number}", idle)
    seen = []
    inject, lift = world.inject, world.lift
    holding = {}

    async def watch_inject(fault):
        number = await inject(fault)
        holding[number] = fault
        seen.append(Crash(host="a") in holding.values() and Isolate(host="b") in holding.values())
        return number

    async def watch_lift(number):
        holding.pop(number, None)
        await lift(number)

    world.inject, world.lift = watch_inject, watch_lift
    await world.play(
        swarm(world.rng, ["a", "b", "c"], seconds=seconds, kinds=["crash", "isolate", "pause"], intensity=5)
    )
    world.check("together", not any(seen), f"both in {sum(seen)} moments")


@scenario(checks=("holds",), plots=())
async def calm(world: World) -> None:
    """Plays no faults, and fails."""
    await asyncio.sleep(1)
    world.check("holds", False, "never")
