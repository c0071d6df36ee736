"""Four hosts and what time each of them believes it is.

No host can look at true time. What it can do is ask another one, and reckon with how long the answer
was on the way: when the question left at t0 and the answer came at t1, the other clock was read
somewhere in between, so its offset is known to within half of t1 - t0 (Cristian, "Probabilistic clock
synchronization", 1989). The observer here does that all the time, while faults put the clocks wrong.
The picture `clocks.png` shows how far each one is from the truth.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoStub, add_EchoServicer_to_server
from services.echo import Echo
from sim import World, scenario
from sim.faults import ClockDrift, ClockJump, ClockSkew

if TYPE_CHECKING:
    from protos.echo_pb2_grpc import EchoAsyncStub
    from services.host import Host

SECOND = 1_000_000_000  # ns


class TimeServer(Echo):
    """Says what its host's wall clock shows."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def Say(self, request: Words, context: Any) -> Words:
        """Answers with the time, in ns."""
        return Words(number=self.host.clock.time_ns())


async def serve(host: Host) -> None:
    """A time server, until the host is stopped."""
    server = host.serve()
    add_EchoServicer_to_server(TimeServer(host), server)
    await server.start()
    await server.wait_for_termination()


class Observer:
    """Asks other hosts for the time, and compares it with its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.host = world.client("observer")
        self.stubs: dict[str, EchoAsyncStub] = {}

    async def offset(self, name: str) -> tuple[float, float]:
        """Returns how far a host's clock is ahead, and how sure that is, in seconds."""
        if name not in self.stubs:
            self.stubs[name] = EchoStub(self.host.connect(name))
        asked = self.host.clock.time_ns()
        there = (await self.stubs[name].Say(Words(), timeout=5)).number
        answered = self.host.clock.time_ns()
        offset, bound = (there - (asked + answered) / 2) / SECOND, (answered - asked) / 2 / SECOND
        self.world.note("offset", of=name, seconds=round(offset, 6), within=round(bound, 6))
        return offset, bound

    async def settled(self, name: str, expected: float, slack: float = 0.0) -> tuple[bool, str]:
        """Returns whether a clock is off by what is expected, and that in words."""
        offset, bound = await self.offset(name)
        off = abs(offset - expected) <= bound + slack + 0.001
        return off, f"{name} is off by {offset:+.4f} s ± {bound:.4f} s (expected {expected:+.4f} s)"


@scenario(
    checks=("all agree", "skew", "drift", "jump", "the good clock stays"), plots=("clocks", "spacetime")
)
async def clocks(
    world: World,
    *,
    skew: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.25,
    drift: Annotated[float, Meta(gt=-1, lt=1)] = 0.05,
    jump: Annotated[float, Meta(ge=-1e9, le=1e9)] = -0.4,
) -> None:
    """Four clocks: one good, one skewed, one that drifts, one that jumps; what each believes."""
    names = ["good", "skewed", "drifting", "jumping"]
    for name in names:
        await world.start(name, serve)
    await world.serving(*names)
    observer = Observer(world)

    for name in names:
        world.check("all agree", *await observer.settled(name, 0.0))

    # A skewed clock is wrong by the same amount all the time.
    await world.inject(ClockSkew(host="skewed", seconds=skew))
    # A drifting one is right at first, and then less and less so.
    drifting_since = world.now()
    await world.inject(ClockDrift(host="drifting", rate=drift))
    for _ in range(10):
        await asyncio.sleep(0.1)
        for name in names:
            await observer.offset(name)
    # A jump: what was 12:00:00.0 a moment ago is 11:59:59.6 now. A program that took the difference
    # of two readings of its wall clock would see an event end before it began.
    await world.inject(ClockJump(host="jumping", seconds=jump))
    await asyncio.sleep(0.5)

    world.check("skew", *await observer.settled("skewed", skew))
    drifted = drift * (world.now() - drifting_since)
    world.check("drift", *await observer.settled("drifting", drifted, slack=abs(drift) * 0.1))
    world.check("jump", *await observer.settled("jumping", jump))
    world.check("the good clock stays", *await observer.settled("good", 0.0))


if __name__ == "__main__":
    clocks.main()
