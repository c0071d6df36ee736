"""Against Apache ZooKeeper under kazoo: throughput, latency, memory, fail-over, restart.

    .venv/bin/python -m tests.bench coordination

Every answer is after a durable majority, with both: neither skips a flush. Clients and servers share the
machine's processors, so what is measured is the service that a small machine gives.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from tests.bench.coordination.servers import MISSING, Kind, Servers
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # of a killed leader it tells many times a second

CLIENTS = 8
MB = 1 << 20
RECORD = b"z" * 100


class Load(NamedTuple):
    """What the clients did together. Latencies in ms."""

    rate: float
    latencies: list[float]


def load(servers: Servers, kind: str, seconds: float, clients: int) -> Load:
    """Has client processes work at once, each on a server of its own choice."""
    command = [sys.executable, "-m", "tests.bench.coordination.load", servers.hosts, kind, str(seconds)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, f"{kind}-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for number in range(clients)
        ]
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{servers.kind}: a client of the load cannot connect")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = [json.loads(process.communicate()[0]) for process in processes]
    rate = sum(each["done"] / each["seconds"] for each in found)
    return Load(rate, sorted(latency for each in found for latency in each["latencies"]))


def _measured(kind: Kind, seconds: float) -> dict[str, float]:
    """Measures everything of one ensemble."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, Servers(kind, Path(name)) as servers:
        found["idle"] = max(servers.resident()) / MB
        load(servers, "mix", seconds / 2, CLIENTS)  # a virtual machine wants to be warm
        for what in ("write", "read", "mix"):
            found[what] = load(servers, what, seconds, CLIENTS).rate
        latencies = load(servers, "latency", seconds, 1).latencies
        found["p50"] = statistics.median(latencies)
        found["p99"] = latencies[int(len(latencies) * 0.99)]
        found["failover"] = statistics.median(_failover(servers) for _ in range(3))
    with tempfile.TemporaryDirectory() as name, Servers(kind, Path(name)) as servers:
        _fill(servers, 100_000)
        found["full"] = max(servers.resident()) / MB
    return found


def _failover(servers: Servers) -> float:
    """Kills the leader; returns the seconds until the next write is acknowledged."""
    leader = servers.leader()
    others = ",".join(f"127.0.0.1:{port}" for n, port in enumerate(servers.ports, 1) if n != leader)
    client = KazooClient(
        others, timeout=10, connection_retry={"max_tries": -1, "delay": 0.01, "max_delay": 0.02}
    )
    client.start(30)
    client.ensure_path("/failover")
    servers.kill(leader)
    began = time.monotonic()
    while True:
        try:
            client.set_async("/failover", b"x").get(timeout=5)
            break
        except (KazooException, KazooTimeoutError):
            time.sleep(0.005)
    taken = time.monotonic() - began
    client.stop()
    client.close()
    servers.start([leader])
    servers.serving()
    time.sleep(1)
    return taken


def _fill(servers: Servers, count: int) -> None:
    """Makes so many znodes of 100 bytes."""
    client = KazooClient(servers.hosts, timeout=30)
    client.start(30)
    for folder in range(100):
        client.create(f"/{folder}")
    under_way = []
    for number in range(count):
        under_way.append(client.create_async(f"/{number % 100}/{number}", RECORD))
        if len(under_way) == 1000:
            for each in under_way:
                each.get()
            under_way.clear()
    for each in under_way:
        each.get()
    client.stop()
    client.close()


def _restart(kind: Kind, count: int) -> float:
    """Logs so many transactions; returns the seconds from a cold start to serving."""
    with tempfile.TemporaryDirectory() as name:
        servers = Servers(kind, Path(name), count=1)
        servers.start()
        try:
            servers.serving()
            _write(servers, count)
            servers.stop()
            servers.start()
            return servers.serving(600)
        finally:
            servers.stop()


def _write(servers: Servers, count: int) -> None:
    client = KazooClient(servers.hosts, timeout=30)
    client.start(30)
    client.create("/restart")
    under_way = []
    for _ in range(count):
        under_way.append(client.set_async("/restart", RECORD))
        if len(under_way) == 2000:
            for each in under_way:
                each.get()
            under_way.clear()
    for each in under_way:
        each.get()
    client.stop()
    client.close()


def figures(quick: bool) -> Iterator[Figure]:
    """Measures ours, and Apache's where it is installed."""
    seconds = 2.0 if quick else 8.0
    count = 20_000 if quick else 1_000_000 if "--full" in sys.argv else 200_000
    ours = _measured("ours", seconds)
    theirs = None if MISSING else _measured("apache", seconds)
    if MISSING:
        print(f"Apache ZooKeeper is left out: {MISSING}; our figures stand alone")

    def compare(what: str, key: str, unit: str, *, target: float, more: bool) -> Figure:
        value = ours[key]
        if theirs is None:
            return Figure(what, value, unit, "", 0, "alone")
        said = f"{value:,.4g} {unit}; Apache's: {theirs[key]:,.4g} {unit}"
        return Figure(what, value / theirs[key], "x", "at least" if more else "at most", target, said)

    pipelined = f"kazoo, {CLIENTS} client processes pipelining"
    yield compare(f"{pipelined}: writes", "write", "/s", target=1.0, more=True)
    yield compare(f"{pipelined}: reads", "read", "/s", target=1.0, more=True)
    yield compare(f"{pipelined}: 4 reads to a write", "mix", "/s", target=1.0, more=True)
    yield compare(
        "kazoo, one synchronous client: median latency of a write", "p50", "ms", target=1.0, more=False
    )
    yield compare("kazoo, one synchronous client: 99 % of writes within", "p99", "ms", target=1.0, more=False)
    yield compare("memory of a server, idle", "idle", "MiB", target=0.5, more=False)
    yield compare("memory of a server, 100,000 znodes of 100 bytes", "full", "MiB", target=0.5, more=False)
    said = "alone" if theirs is None else f"Apache's: {theirs['failover']:.2f} s"
    yield Figure(
        "leader killed, until the next acknowledged write", ours["failover"], "s", "at most", 0.5, said
    )
    taken = {"restart": _restart("ours", count)}
    ours |= taken
    if theirs is not None:
        theirs["restart"] = _restart("apache", count)
    yield compare(f"restart with {count:,} logged transactions", "restart", "s", target=1.0, more=False)


if __name__ == "__main__":
    show(figures)
