"""Against Apache ZooKeeper under kazoo: throughput, latency, memory, fail-over, restart.

    .venv/bin/python -m tests.bench coordination

Every answer is after a durable majority, with both: neither skips a flush, and for ours that is counted. Both
ensembles stand side by side and are measured in turn; clients and servers share the machine's processors, so
what is measured is the service that a small machine gives. Beside each rate stands the processor time that
the three servers together spent on an operation: what else runs on the machine changes that little.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from tests.bench.coordination.clients import CLIENTS, load
from tests.bench.coordination.servers import MISSING, Kind, Servers
from tests.bench.coordination.writer import Writer
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # of a killed leader it tells many times a second

MB = 1 << 20
RECORD = b"z" * 100
LOADS = ("write", "read", "mix", "latency")


class Found(dict[str, list[float]]):
    """What was measured of one ensemble, round by round."""

    def add(self, key: str, value: float) -> None:
        """Takes down one more value."""
        self.setdefault(key, []).append(value)

    def median(self, key: str) -> float:
        """Returns the value in the middle."""
        return statistics.median(self[key])


def _measured(seconds: float, rounds: int) -> Mapping[Kind, Found]:
    """Measures ours and, where it is installed, Apache's in turn."""
    kinds: tuple[Kind, ...] = ("ours",) if MISSING else ("ours", "apache")
    found = {kind: Found() for kind in kinds}
    with ExitStack() as stack:
        ensembles = {}
        for kind in kinds:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers = ensembles[kind] = stack.enter_context(Servers(kind, folder))
            found[kind].add("idle", max(servers.resident()) / MB)
        for servers in ensembles.values():
            load(servers, "mix", seconds)  # a virtual machine wants to be warm
        for _ in range(rounds):
            for what in LOADS:
                for kind, servers in ensembles.items():
                    _round(servers, what, seconds, found[kind])
        for _ in range(rounds):
            for kind, servers in ensembles.items():
                found[kind].add("failover", _failover(servers))
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name, Servers(kind, Path(name)) as servers:
            with Writer(servers.ports[1]) as writer:
                writer.create((f"/{folder}" for folder in range(100)), b"")
                writer.create((f"/{number % 100}/{number}" for number in range(100_000)), RECORD)
            found[kind].add("full", max(servers.resident()) / MB)
    return found


def _round(servers: Servers, what: str, seconds: float, found: Found) -> None:
    """One load on one ensemble."""
    before = servers.processor()
    done = load(servers, what, seconds, 1 if what == "latency" else CLIENTS)
    spent = servers.processor() - before
    found.add(what, done.rate)
    found.add(f"{what} cost", spent / (done.rate * seconds) * 1e6)
    if done.latencies:
        found.add("p50", statistics.median(done.latencies))
        found.add("p99", done.latencies[int(len(done.latencies) * 0.99)])


def _failover(servers: Servers) -> float:
    """Kills the leader; returns the seconds until the next write is acknowledged."""
    leader = servers.leader()
    others = ",".join(f"127.0.0.1:{port}" for n, port in servers.ports.items() if n != leader)
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
            if time.monotonic() - began > 60:
                raise
            time.sleep(0.005)
    taken = time.monotonic() - began
    client.stop()
    client.close()
    servers.start(leader)
    servers.serving()
    time.sleep(1)
    return taken


def _flushes(seconds: float) -> float:
    """Returns how often each server of a majority flushed for a write, when a client waits for each."""
    with (
        tempfile.TemporaryDirectory() as name,
        Servers("ours", Path(name), counting=True) as servers,
    ):
        before = servers.flushes()
        writes = len(load(servers, "latency", seconds, 1).latencies)
        flushed = sorted(after - one for one, after in zip(before, servers.flushes(), strict=True))
    return flushed[-2] / writes  # a majority flushed at least as often as this one


def _restart(kind: Kind, count: int) -> float:
    """Logs so many transactions; returns the seconds from a cold start to serving."""
    with tempfile.TemporaryDirectory() as name:
        servers = Servers(kind, Path(name), count=1)
        try:
            servers.starting()
            with Writer(servers.ports[1]) as writer:
                writer.create(iter(("/restart",)), b"")
                writer.set("/restart", RECORD, count)
            servers.stop()
            return servers.starting()
        finally:
            servers.stop()


def figures(quick: bool) -> Iterator[Figure]:
    """Measures ours, and Apache's where it is installed."""
    seconds, rounds = (2.0, 1) if quick else (8.0, 5) if "--full" in sys.argv else (3.0, 3)
    count = 50_000 if quick else 1_000_000
    if MISSING:
        print(f"Apache ZooKeeper is left out: {MISSING}; our figures stand alone")
    found = _measured(seconds, rounds)
    ours, theirs = found["ours"], found.get("apache")

    def compare(what: str, key: str, unit: str, *, target: float, more: bool, cost: str = "") -> Figure:
        value = ours.median(key)
        if theirs is None:
            return Figure(what, value, unit, "", 0, "alone")
        ratio = statistics.median(own / other for own, other in zip(ours[key], theirs[key], strict=True))
        said = f"{value:,.4g} {unit}; Apache's: {theirs.median(key):,.4g} {unit}"
        if cost:
            said += f"; processor time {ours.median(cost):,.0f} us, Apache's: {theirs.median(cost):,.0f} us"
        return Figure(what, ratio, "x", "at least" if more else "at most", target, said)

    pipelined = f"kazoo, {CLIENTS} client processes pipelining"
    yield compare(f"{pipelined}: writes", "write", "/s", target=1.0, more=True, cost="write cost")
    yield compare(f"{pipelined}: reads", "read", "/s", target=1.0, more=True, cost="read cost")
    yield compare(f"{pipelined}: 4 reads to a write", "mix", "/s", target=1.0, more=True, cost="mix cost")
    one = "kazoo, one synchronous client"
    yield Figure(
        f"{one}: flushes for each write, of a majority of our servers",
        _flushes(seconds),
        "",
        "at least",
        1,
        "",
    )
    yield compare(
        f"{one}: median latency of a write", "p50", "ms", target=1.0, more=False, cost="latency cost"
    )
    yield compare(f"{one}: 99 % of writes within", "p99", "ms", target=1.0, more=False)
    yield compare("memory of a server, idle", "idle", "MiB", target=0.5, more=False)
    yield compare("memory of a server, 100,000 znodes of 100 bytes", "full", "MiB", target=0.5, more=False)
    killed = "leader killed, until the next acknowledged write"
    said = "alone" if theirs is None else f"Apache's: {theirs.median('failover'):.2f} s"
    yield Figure(killed, ours.median("failover"), "s", "at most", 0.5, said)
    for kind, measured in found.items():
        measured.add("restart", _restart(kind, count))
    yield compare(f"restart with {count:,} logged transactions", "restart", "s", target=1.0, more=False)


if __name__ == "__main__":
    show(figures)
