"""What a trace costs: the memory of 10 million events, and the time of RPCs with tracing on.

    .venv/bin/python -m tests.bench.trace

Writing and reading are each done in a process of their own, whose greatest resident memory the operating
system tells. RPCs with and without a trace take turns in one process; the ratio is the median of the pairs'.
Targets: at most 500 MiB, and at most 1.5 times the time without a trace.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from protos import echo_pb2 as pb
from protos import echo_pb2_grpc as echo
from services.recorder import Recorder
from sim.world.network import lan
from sim.world.simulation import Simulation
from tests.bench.figure import Figure, show
from tests.bench.rpc import run, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 10_000_000
MEMORY = 500  # MiB
RATIO = 1.5
CALLS = 2000
ROUNDS = 15

WRITE = """
import sys
from pathlib import Path
from protos.trace import Message
from services.recorder import Recorder

METHOD = "/dsim.echo.Echo/Say"
recorder = Recorder(Path(sys.argv[1]))
for call in range(int(sys.argv[2]) // 2):
    at = call * 1000
    recorder.write(Message(at + 400, "server", "client", at, call, METHOD, "request", 64, "", "task-1"))
    recorder.write(Message(at + 900, "client", "server", at + 500, call, METHOD, "response", 64, "OK"))
recorder.close()
"""

READ = """
import sys
from pathlib import Path
from sim.trace.read import read_trace

assert sum(1 for _ in read_trace(Path(sys.argv[1]))) == int(sys.argv[2])
"""

PEAK = "\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"


def peak(program: str, *args: object) -> tuple[int, float]:
    """Runs a program; returns its greatest resident memory in MiB, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-c", program + PEAK, *map(str, args)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return int(told.stdout), time.perf_counter() - start


def rpcs(recorder: Recorder | None) -> float:
    """Returns the seconds of a unary RPC, among others one after the other."""
    simulation = Simulation(recorder=recorder, topology=lan())
    simulation.boot("server", serve)
    stub = echo.EchoStub(simulation.boot("client").connect("server"))

    async def calls(number: int) -> None:
        for index in range(number):
            await stub.Say(pb.Words(text="hello world", number=index))

    try:
        run(simulation, "client", calls(100))
        taken = run(simulation, "client", calls(CALLS))
        if recorder is not None:
            start = time.process_time()
            recorder.close()  # what is buffered is part of the price
            taken += time.process_time() - start
            assert recorder.count > 2 * CALLS
        return taken / CALLS
    finally:
        simulation.close()


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    events = EVENTS // 20 if quick else EVENTS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        written, _ = peak(WRITE, path, events)
        read, _ = peak(READ, path, events)
        size = f"{events:,} events, {path.stat().st_size / 2**20:,.0f} MiB on disk"
        pairs = [(rpcs(Recorder(path)), rpcs(None)) for _ in range(3 if quick else ROUNDS)]
    yield Figure("resident memory of writing a trace", written, "MiB", "at most", MEMORY, size)
    yield Figure("resident memory of reading a trace", read, "MiB", "at most", MEMORY, size)
    ratio = statistics.median(on / off for on, off in pairs)
    yield Figure("a unary RPC, tracing on", ratio, "x", "at most", RATIO, "the same with tracing off")


if __name__ == "__main__":
    show(figures)
