"""What the door costs: an echo through `RealHost`, traced, against the same echo on bare grpc.aio.

Both pairs of client and server live in this process and take turns, batch by batch, so that what else the
machine does falls on both.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.echo import Echo
from services.real.host import RealHost
from services.real.names import Names
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1.15
BATCH = 40
ROUNDS = 200


async def measure(folder: Path, rounds: int = ROUNDS) -> float:
    """Returns how many times longer an echo through the hosts' doors takes."""
    bare_server = grpc.aio.server()
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), bare_server)
    port = bare_server.add_insecure_port("127.0.0.1:0")
    await bare_server.start()
    (folder / "names").mkdir()
    names = Names(folder / "names")
    server_host = RealHost("server", folder / "server", names, "token")
    client_host = RealHost("client", folder / "client", names, "token")
    server = server_host.serve()
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as bare, client_host.connect("server") as door:
        stubs = [echo_pb2_grpc.EchoStub(channel) for channel in (bare, door)]
        ratios = []
        for _ in range(rounds):
            took = [await _batch(stub) for stub in stubs]
            ratios.append(took[1] / took[0])
    await asyncio.gather(bare_server.stop(None), server.stop(None))
    server_host.close()
    client_host.close()
    return statistics.median(ratios)


async def _batch(stub: echo_pb2_grpc.EchoStub) -> float:
    request = Words(text="how much is the door?", number=7, payload=bytes(64))
    start = time.process_time()
    for _ in range(BATCH):
        await stub.Say(request)
    return time.process_time() - start


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    with tempfile.TemporaryDirectory() as folder:
        ratio = asyncio.run(measure(Path(folder), ROUNDS // 4 if quick else ROUNDS))
    yield Figure(
        "real echo through Host, traced", ratio, "x", "at most", LIMIT, "the same echo on bare grpc.aio"
    )


if __name__ == "__main__":
    show(figures)
