"""As processes on this machine: commit latency, commits a second, snapshot reads a second.

    .venv/bin/python -m tests.bench spanner.real

One group of three replicas. Rates stand beside those of the coordination service through its own client
(writes) and of bare grpc.aio (an echo of as many bytes, of as many clients and servers), round by round in
the same run.

Why commits are short of their target. Processor time of a commit of 1 kB, in µs, on two cores that had some
other work (single runs, which differ by a tenth; "before": the code of the same day without what was done):

| | leader | followers | clients | all | a second |
| --- | --- | --- | --- | --- | --- |
| before | 255 | 60 | 117 | 431 | 3,150 |
| now | 172 to 194 | 46 to 51 | 82 to 93 | 301 to 337 | 3,700 to 4,800 |
| a write of coordination | 42 to 53 | 49 to 58 | 14 to 17 | 106 to 128 | 11,750 to 14,550 |

That is about 0.32 of its rate. A leader is one process on one core: half of that rate wants 140 µs at the
leader, and 280 in all. gRPC does not decide it: some ten calls, replies or entries travel in a message, and a
fifth of the leader's samples are in its reads and writes. The rest is Python, none of it large by itself:
locks and rows from mutations 20 %, checks and the steps of a commit 30 %, Paxos and log 15 %, applying 4 %.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from services.cluster import Cluster
from tests.bench.coordination.clients import CLIENTS, Load, together
from tests.bench.coordination.load import OUTSTANDING
from tests.bench.coordination.own_client import NAMES, PROCESSES
from tests.bench.figure import Figure, show
from tests.bench.spanner.universe import SERVERS, transactions, universe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protos.trace import Span

COMMITS = 0.5
"""Of the coordination service's writes."""

READS = 0.7
"""Of bare echoes."""


def _command(folder: Path, kind: str, seconds: float, ports: Sequence[str] = ()) -> list[list[str]]:
    command = [sys.executable, "-m", "tests.bench.spanner.load", str(folder), kind, str(seconds)]
    clients = 1 if kind == "latency" else PROCESSES
    return [[*command, str(number), *ports] for number in range(clients)]


async def _load(folder: Path, kind: str, seconds: float, ports: Sequence[str] = ()) -> Load:
    return await asyncio.to_thread(together, _command(folder, kind, seconds, ports))


async def _latency(folder: Path, seconds: float) -> tuple[list[float], list[Span]]:
    """Returns latencies of commits one after the other (ms), and what their leader noted of them."""
    async with universe(folder):
        latencies = (await _load(folder, "latency", seconds)).latencies
    return latencies, sorted(transactions(folder), key=lambda span: span.time)[-len(latencies) :]


async def _writes(folder: Path, seconds: float, rounds: int) -> list[tuple[float, float]]:
    """Returns rates of commits, each with that of the coordination service's writes beside it."""
    rates = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(universe(folder / "spanner"))
        theirs = folder / "coordination"
        cluster = await stack.enter_async_context(Cluster.create(theirs))
        members = [f"server.{n}={name}:2888:3888" for n, name in enumerate(NAMES, 1)]
        await cluster.start_all(
            (name, "services.coordination.server:serve", {"server": n, "members": members}, False)
            for n, name in enumerate(NAMES, 1)
        )
        await cluster.serving(NAMES)
        command = [sys.executable, "-m", "tests.bench.coordination.own_client", str(theirs), str(seconds)]
        clients = [[*command, str(number)] for number in range(PROCESSES)]
        for _ in range(rounds):
            own = (await _load(folder / "spanner", "write", seconds)).rate
            rates.append((own, (await asyncio.to_thread(together, clients)).rate))
    return rates


async def _reads(folder: Path, seconds: float, rounds: int) -> list[tuple[float, float]]:
    """Returns rates of snapshot reads, each with that of echoes beside it."""
    rates = []
    with ExitStack() as stack:
        ports = []
        for _ in SERVERS:
            server = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.bench.spanner.echo"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert server.stdout is not None
            ports.append(server.stdout.readline().strip())
        async with universe(folder):
            for _ in range(rounds):
                own = (await _load(folder, "read", seconds)).rate
                rates.append((own, (await _load(folder, "echo", seconds, ports)).rate))
    return rates


def _ms(spans: list[Span], start: str, end: str) -> float:
    return statistics.median((span.fields[end] - span.fields[start]) / 1e6 for span in spans)


def _compared(what: str, rates: list[tuple[float, float]], target: float, other: str) -> Figure:
    ratio = statistics.median(own / theirs for own, theirs in rates)
    own, theirs = (statistics.median(each) for each in zip(*rates, strict=True))
    return Figure(what, ratio, "x", "at least", target, f"{own:,.0f} /s; {other}: {theirs:,.0f} /s")


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    seconds, rounds = (2.0, 1) if quick else (4.0, 3)
    with tempfile.TemporaryDirectory() as name:
        latencies, spans = asyncio.run(_latency(Path(name, "cluster"), seconds))
    latency = statistics.median(latencies)
    round_ = _ms(spans, "proposed", "chosen")
    waited = statistics.median(span.fields["waited"] / 1e6 for span in spans)
    said = f"{latency:.2f} ms; commit wait after Paxos {waited:.2f} ms, a Paxos round {round_:.2f} ms"
    yield Figure(
        "one group of 3 replicas, one client: commit latency without the commit wait, in Paxos rounds",
        (latency - waited) / round_,
        "rounds",
        "at most",
        2,
        f"medians of {len(latencies)}: {said}",
    )
    whole = statistics.median(
        (span.fields["chosen"] - span.fields["proposed"] + span.fields["waited"]) / 1e6 for span in spans
    )
    yield Figure(
        "commit wait that Paxos hides",
        100 * (1 - waited / whole),
        "%",
        "",
        0,
        f"from the timestamp to its end {whole:.2f} ms, of these {whole - waited:.2f} ms beside Paxos",
    )
    pipelined = f"{CLIENTS} clients pipelining {OUTSTANDING} each"
    with tempfile.TemporaryDirectory() as name:
        rates = asyncio.run(_writes(Path(name), seconds, rounds))
    yield _compared(f"{pipelined}: commits to one group", rates, COMMITS, "writes of coordination")
    with tempfile.TemporaryDirectory() as name:
        rates = asyncio.run(_reads(Path(name, "cluster"), seconds, rounds))
    yield _compared(f"{pipelined}: snapshot reads at all replicas", rates, READS, "echoes of bare grpc.aio")


if __name__ == "__main__":
    show(figures)
