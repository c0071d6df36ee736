"""A reduce worker's shuffle among simulated peers, which serve map outputs from their disks."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from typing import Any
from zlib import crc32

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.mapreduce.sizes import to_byte
from services.mapreduce.worker.plane import MapOutputs
from services.mapreduce.worker.regions import Regions
from services.mapreduce.worker.shuffle import Peers, Shuffle
from sim.world.simulation import Simulation

JOB = "job"


def region(number: int, attempt: int, size: int = 0) -> bytes:
    """What a region holds, by whose it is; `size` bytes, or a few."""
    word = f"<{number}.{attempt}>".encode()
    return (word * (size // len(word) + 1))[:size] if size else word


async def put(host: Any, regions: Regions, number: int, attempt: int, datas: list[bytes]) -> None:
    """Writes a map output to a host's disk."""
    path = f"{JOB}/map-{number:05}.{attempt}"
    file = await host.disk.open(path, "w")
    await file.append(b"".join(datas))
    await file.close()
    offsets = [0]
    for data in datas:
        offsets.append(offsets[-1] + len(data))
    regions.add(JOB, number, attempt, path, offsets, [crc32(data) for data in datas])


class Peer(rpc.WorkerServicer):
    """Serves what it has, and counts what it is asked."""

    def __init__(self, regions: Regions, asked: list[tuple[int, int]]) -> None:
        self._regions = regions
        self._asked = asked

    async def Fetch(self, request: pb.Regions, context: Any) -> Any:
        self._asked += zip(request.maps, request.attempts, strict=True)
        async for chunk in self._regions.serve(request):
            yield chunk


async def peer(host: Any, *, outputs: list[tuple[int, int, int]], asked: list[tuple[int, int]]) -> None:
    """Serves outputs of (map, attempt), with one region of so many bytes."""
    regions = Regions(host.disk)
    for number, attempt, size in outputs:
        await put(host, regions, number, attempt, [region(number, attempt, size)])
    server = host.serve()
    rpc.add_WorkerServicer_to_server(Peer(regions, asked), server)
    await server.start()
    await server.wait_for_termination()


class Rig:
    """A simulation with a reduce worker, "here", in which the case runs.

    Attributes:
        asked: what each peer was asked for: (map, attempt).
        lost: what the shuffle reported.
    """

    def __init__(self, simulation: Simulation, host: Any) -> None:
        self.simulation = simulation
        self.host = host
        self.regions = Regions(host.disk)
        self.asked: dict[str, list[tuple[int, int]]] = {}
        self.lost: list[pb.LostInput] = []

    def peer(self, name: str, *outputs: tuple[int, int, int]) -> None:
        """Starts a peer with these outputs: map, attempt, bytes."""
        asked = self.asked.setdefault(name, [])
        self.simulation.boot(name, peer, {"outputs": list(outputs), "asked": asked})

    def shuffle(self, maps: int) -> Shuffle:
        """Returns the shuffle of reduce task 0."""
        task = pb.Task(job=JOB, kind=pb.REDUCE, number=0, attempt=9, maps=maps)
        return Shuffle(self.host, Peers(self.host), self.regions, task, f"{JOB}/reduce", self.lost.append)

    async def pulled(self, paths: tuple[str, ...]) -> bytes:
        """Returns what the segments hold."""
        datas = []
        for path in paths:
            file = await self.host.disk.open(path)
            datas.append(await file.read())
            await file.close()
        return b"".join(datas)


def outputs(*entries: tuple[int, str, int, int]) -> MapOutputs:
    """Returns columns of (map, worker, attempt, bytes)."""
    maps, workers, attempts, sizes = zip(*entries, strict=True)
    names = list(dict.fromkeys(workers))
    return MapOutputs(
        array("I", maps),
        array("I", map(names.index, workers)),
        array("Q", attempts),
        bytes(map(to_byte, sizes)),
        names,
    )


def run(case: Callable[[Rig], Awaitable[None]], seed: int = 0, *, interleave: bool = False) -> None:
    """Runs a case."""
    simulation = Simulation(seed, interleave=interleave, limit_s=600.0)
    host = simulation.boot("here")

    async def main() -> None:
        await case(Rig(simulation, host))

    simulation.run(main(), name="case")


async def until(true: Callable[[], bool]) -> None:
    """Returns when something is so."""
    while not true():
        await asyncio.sleep(0.01)
