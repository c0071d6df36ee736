"""The asyncio client, pipelining through gRPC, against kazoo on Apache's servers: writes a second.

    .venv/bin/python -m tests.bench coordination.own_client

Three servers as processes of a cluster (`services.cluster`), client processes with one session each. Every
answer is after a durable majority, with both.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from services.cluster import Cluster
from services.coordination.client import Client
from tests.bench.coordination.clients import CLIENTS, load, together
from tests.bench.coordination.load import OUTSTANDING, SIZE
from tests.bench.coordination.servers import MISSING, Servers
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("zk1", "zk2", "zk3")
PROCESSES = 2
"""Of clients. As many sessions as the kazoo load has share them."""


async def _client(folder: Path, number: int, seconds: float) -> None:
    """One client process: prints what it has done as the load's other clients do."""
    host = Cluster.open(folder).client(f"client{number}")
    sessions = CLIENTS // PROCESSES
    done = 0
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Barrier(sessions + 1)
        started = asyncio.Event()

        async def session(which: int) -> None:
            nonlocal done
            path, data = f"/load-{number}-{which}", b"y" * SIZE
            async with Client(host, [NAMES[(number + which) % len(NAMES)]]) as client:
                if await client.exists(path) is None:
                    await client.create(path, data)
                await ready.wait()
                await started.wait()

                async def caller() -> None:
                    nonlocal done
                    while time.monotonic() < ends:
                        await client.set(path, data)
                        done += 1

                await asyncio.gather(*(caller() for _ in range(OUTSTANDING)))

        for which in range(sessions):
            group.create_task(session(which))
        await ready.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        ends = time.monotonic() + seconds
        began = time.monotonic()
        started.set()
    taken = time.monotonic() - began
    print(json.dumps({"done": done, "seconds": taken}))


async def _ours(rounds: int, seconds: float, between: Callable[[], None]) -> list[float]:
    """Returns the rates of several rounds; calls `between` after each."""
    rates = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cluster"
        async with Cluster.create(folder) as cluster:
            members = [f"server.{n}={each}:2888:3888" for n, each in enumerate(NAMES, 1)]
            await cluster.start_all(
                (each, "services.coordination.server:serve", {"server": n, "members": members}, False)
                for n, each in enumerate(NAMES, 1)
            )
            await cluster.serving(NAMES)
            command = [sys.executable, "-m", "tests.bench.coordination.own_client", str(folder), str(seconds)]
            clients = [[*command, str(number)] for number in range(PROCESSES)]
            for _ in range(rounds):
                rates.append((await asyncio.to_thread(together, clients)).rate)
                await asyncio.to_thread(between)
    return rates


def figures(quick: bool) -> Iterator[Figure]:
    """Measures ours and Apache's in turn, where that is installed."""
    seconds, rounds = (2.0, 1) if quick else (4.0, 3)
    theirs: list[float] = []
    with ExitStack() as stack:
        if not MISSING:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            apache = stack.enter_context(Servers("apache", Path(folder)))
            load(apache, "write", seconds)  # a virtual machine wants to be warm
        ours = asyncio.run(
            _ours(rounds, seconds, lambda: MISSING or theirs.append(load(apache, "write", seconds).rate))
        )
    what = f"own client through gRPC, pipelining with {CLIENTS} sessions: writes"
    if MISSING:
        yield Figure(what, statistics.median(ours), "/s", "", 0, f"alone: {MISSING}")
        return
    ratio = statistics.median(own / other for own, other in zip(ours, theirs, strict=True))
    said = f"{statistics.median(ours):,.0f} /s; Apache's through kazoo: {statistics.median(theirs):,.0f} /s"
    yield Figure(what, ratio, "x", "at least", 4, said)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        asyncio.run(_client(Path(sys.argv[1]), int(sys.argv[3]), float(sys.argv[2])))
    else:
        show(figures)
