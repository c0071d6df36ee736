"""One client process of the load: it pipelines writes or reads, echoes as much, or commits one by one.

    python -m tests.bench.spanner.load FOLDER KIND SECONDS NUMBER [PORT ...]

Prints one JSON object, as the load of the coordination service does; latencies in ms.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.cluster import Cluster
from services.spanner.client import connect, keys
from tests.bench.coordination.clients import CLIENTS
from tests.bench.coordination.load import OUTSTANDING, SIZE
from tests.bench.coordination.own_client import PROCESSES
from tests.bench.spanner.universe import COLUMNS, LOCATIONS, SERVERS, TABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.spanner.client import Database

SESSIONS = CLIENTS // PROCESSES
DATA = b"y" * SIZE
STALE = 1.0  # seconds ago: all replicas know what was then


async def write(database: Database, row: int) -> None:
    """Commits one row of 1 kB."""
    batch = database.batch()
    batch.insert_or_update(TABLE, COLUMNS, [(row, DATA)])
    await batch.commit()


async def read(database: Database, row: int) -> None:
    """Reads one row of 1 kB as it was a moment ago, at the nearest replica."""
    rows = await database.snapshot(exact_staleness=round(STALE * 1e9)).read(TABLE, COLUMNS, keys([row]))
    assert len(rows[0][1]) == SIZE


async def _databases(
    stack: AsyncExitStack, folder: Path, number: int
) -> list[Callable[[int], Awaitable[None]]]:
    host = Cluster.open(folder).client(f"client{number}")
    zones = list(SERVERS.values())
    sessions = []
    for which in range(SESSIONS):
        zone = zones[(number * SESSIONS + which) % len(zones)]
        sessions.append(await stack.enter_async_context(connect(host, LOCATIONS, zone=zone)))
    first = number * SESSIONS * OUTSTANDING
    await asyncio.gather(*(write(sessions[0], first + row) for row in range(SESSIONS * OUTSTANDING)))
    work = {"write": write, "latency": write, "read": read}[sys.argv[2]]
    await asyncio.sleep(1.5 * STALE if work is read else 0)
    return [
        lambda row, one=one, start=first + place * OUTSTANDING: work(one, start + row)  # type: ignore[misc]
        for place, one in enumerate(sessions)
    ]


async def _echoes(
    stack: AsyncExitStack, ports: list[str], number: int
) -> list[Callable[[int], Awaitable[None]]]:
    sessions = []
    words = Words(payload=DATA)
    for which in range(SESSIONS):
        port = ports[(number * SESSIONS + which) % len(ports)]
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        stub = echo_pb2_grpc.EchoStub(await stack.enter_async_context(channel))

        async def say(row: int, stub: echo_pb2_grpc.EchoStub = stub) -> None:
            await stub.Say(words)

        await say(0)
        sessions.append(say)
    return sessions


async def _client(folder: Path, kind: str, seconds: float, number: int, ports: list[str]) -> None:
    done = 0
    latencies: list[float] = []
    async with AsyncExitStack() as stack:
        if kind == "echo":
            sessions = await _echoes(stack, ports, number)
        else:
            sessions = await _databases(stack, folder, number)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.monotonic()
        ends = began + seconds

        async def caller(session: Callable[[int], Awaitable[None]], row: int) -> None:
            nonlocal done
            while (asked := time.monotonic()) < ends:
                await session(row)
                done += 1
                if kind == "latency":
                    latencies.append((time.monotonic() - asked) * 1e3)

        if kind == "latency":
            await caller(sessions[0], 0)
        else:
            await asyncio.gather(*(caller(one, row) for one in sessions for row in range(OUTSTANDING)))
        taken = time.monotonic() - began
    print(json.dumps({"done": done, "seconds": taken, "latencies": latencies}))


if __name__ == "__main__":
    asyncio.run(_client(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
