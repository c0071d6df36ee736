"""Simulated: the operations of clients that one second of this machine's time carries.

    .venv/bin/python -m tests.bench coordination.simulated

Five servers without cost models, 30 clients of the asyncio client with 100 requests each under way, 1 kB a
request as in 5.1, four reads to a write; the trace goes to a file.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from services.coordination import server
from services.coordination.client import Client
from services.recorder import Recorder
from sim.world.simulation import Simulation
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.host import Host

SERVERS, CLIENTS, OUTSTANDING = 5, 30, 100
DATA = b"y" * 1024


def rate(trace: Path, reads_of_five: int, operations: int) -> tuple[float, float]:
    """Returns operations per second of wall time, and of processor time; electing and connecting count."""
    simulation = Simulation(seed=0, recorder=Recorder(trace))
    members = [f"server.{n}=zk{n}:2888:3888" for n in range(1, SERVERS + 1)]
    for number in range(1, SERVERS + 1):
        simulation.boot(
            f"zk{number}",
            server.serve,
            {"server": number, "members": members, "outstanding": 2000, "outstanding_per_connection": 2000},
        )
    done = 0

    async def client(host: Host, number: int) -> None:
        async with Client(host, [f"zk{number % SERVERS + 1}"]) as session:
            path = f"/client-{number}"
            await session.create(path, DATA)

            async def caller(asked: int) -> None:
                nonlocal done
                while True:
                    asked += 1
                    if asked % 5 < reads_of_five:
                        await session.get(path)
                    else:
                        await session.set(path, DATA)
                    done += 1

            await asyncio.gather(*(caller(number) for number in range(OUTSTANDING)))

    async def enough() -> None:
        await asyncio.sleep(5)  # of virtual time: a leader is elected
        for number in range(CLIENTS):
            simulation.boot(f"client{number}", client, {"number": number})
        while done < operations:
            await asyncio.sleep(0.001)

    began, worked = time.perf_counter(), time.process_time()
    simulation.run(enough())
    return done / (time.perf_counter() - began), done / (time.process_time() - worked)


def figures(quick: bool) -> Iterator[Figure]:
    """Measures the mix, and writes alone beside it."""
    operations = 5_000 if quick else 30_000
    with tempfile.TemporaryDirectory() as name:
        trace = Path(name, "trace.jsonl")
        mix, per_processor = map(
            statistics.median, zip(*(rate(trace, 4, operations) for _ in range(3)), strict=True)
        )
        writes, _ = rate(trace, 0, operations)
    yield Figure(
        f"simulated: operations of clients per wall second, {SERVERS} servers, traced, 4 reads to a write",
        mix,
        "/s",
        "at least",
        5000,
        f"{per_processor:,.0f} per second of its processor; writes alone: {writes:,.0f} /s",
    )


if __name__ == "__main__":
    show(figures)
