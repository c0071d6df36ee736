"""Three hosts, one asks, two answer; then the network between them splits.

The shortest scenario there is, and all that a scenario does: start hosts, drive a client, let faults
happen, check. Run it with `dsim run basics/ping`, look at `spacetime.png` in the folder that it names, then
run it on real processes with `--world grpc`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import grpc
from msgspec import Meta

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoStub
from services import echo
from sim import World, scenario
from sim.faults import Partition

if TYPE_CHECKING:
    from sim.world.simulation import Simulation

DEADLINE_S = 0.5


def network(simulation: Simulation) -> None:
    """A network on which a message takes from 0.5 to 1 ms (the real one has its own ideas)."""
    from sim.world.network import lan

    simulation.network.use(lan(latency_s=0.0005, jitter_s=0.0005))


@scenario(checks=("answered", "deadline holds", "healed"), plots=("spacetime",), hardware=network)
async def ping(world: World, *, pings: Annotated[int, Meta(ge=1, le=10_000)] = 5) -> None:
    """Pings between hosts: their latency, a partition, a deadline that expires, healing."""
    await world.start("a", echo.serve)
    await world.start("b", echo.serve)
    await world.serving("a", "b")
    client = world.client("client")
    stubs = {name: EchoStub(client.connect(name)) for name in ("a", "b")}

    # All is well: every ping is answered, and takes what the network takes.
    latencies, answered = [], 0
    for number in range(pings):
        for name, stub in stubs.items():
            async with world.operation("client", "ping", number, key=name) as op:
                before = world.now()
                reply = await stub.Say(Words(number=number))
                latencies.append(world.now() - before)
                op.ok(reply.number)
                answered += reply.number == number
        await asyncio.sleep(0.02)
    latencies.sort()
    world.check(
        "answered",
        answered == 2 * pings,
        f"{answered} pings; median {latencies[pings] * 1000:.2f} ms, slowest {latencies[-1] * 1000:.2f} ms",
    )

    # The network splits: a is on the other side. A message into a partition vanishes: nobody
    # says that it did, so all that ends the wait is the deadline.
    fault = await world.inject(Partition(groups=[["client", "b"], ["a"]]))
    before = world.now()
    async with world.operation("client", "ping", pings, key="a") as op:
        try:
            await stubs["a"].Say(Words(number=pings), timeout=DEADLINE_S)
            op.ok()
            code = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as exc:
            op.info(exc.code().name)  # lost on the way there, or on the way back? The client cannot know.
            code = exc.code()
    waited = world.now() - before
    reply = await stubs["b"].Say(Words(number=pings), timeout=DEADLINE_S)  # this side is not touched
    world.check(
        "deadline holds",
        code is grpc.StatusCode.DEADLINE_EXCEEDED and DEADLINE_S * 0.9 < waited < DEADLINE_S * 4,
        f"across the partition: {code.name} after {waited:.3f} s; b answered meanwhile",
    )

    # The partition heals, and the connection goes on where it was.
    await world.lift(fault)
    async with world.operation("client", "ping", pings + 1, key="a") as op:
        before = world.now()
        reply = await stubs["a"].Say(Words(number=pings + 1), timeout=10, wait_for_ready=True)
        op.ok(reply.number)
    world.check("healed", reply.number == pings + 1, f"answered after {world.now() - before:.3f} s")


if __name__ == "__main__":
    ping.main()
