"""A master and a data plane that do as a test tells them: what is left is the worker itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.mapreduce.worker import service
from services.mapreduce.worker.plane import MapOutputs
from sim.world.machine import Machine
from sim.world.simulation import Simulation


class Plane:
    """Executions take `seconds` of the task's job's settings; a reduce waits for all M outputs first.

    Attributes:
        all: every plane that was made, the last one last.
        events: what was asked of it, in order.
    """

    all: ClassVar[list[Plane]] = []

    def __init__(self, host: Any, files: Any, *, fails: bool = False) -> None:
        self.host = host
        self.fails = fails
        self.events: list[str] = []
        Plane.all.append(self)

    async def open(self) -> None:
        self.events.append("open")

    def map(self, job: pb.Job, task: pb.Task) -> Execution:
        return Execution(self, job, task)

    def reduce(self, job: pb.Job, task: pb.Task, lost: Callable[[pb.LostInput], None]) -> Reduction:
        return Reduction(self, job, task, lost)

    async def fetch(self, regions: pb.Regions) -> Any:
        for number in regions.maps:
            yield pb.Bytes(map=number, data=b"region", last=True)

    async def read_log(self, log: str) -> Any:
        yield pb.Bytes(data=log.encode())

    async def forget(self, job: str) -> None:
        self.events.append(f"forget {job}")

    async def close(self) -> None:
        self.events.append("close")


class Execution:
    def __init__(self, plane: Plane, job: pb.Job, task: pb.Task) -> None:
        self.plane, self.job, self.task = plane, job, task
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        return f"{self.task.number}.{self.task.attempt}"

    async def run(self) -> pb.Completion:
        self.plane.events.append(f"begin {self.name}")
        if self.plane.fails:
            raise RuntimeError("a fault of ours")
        asyncio.get_running_loop().call_later(float(self.job.settings["seconds"]), self.end, "done")
        why = await self.ended
        self.plane.events.append(f"{why} {self.name}")
        return pb.Completion(output_bytes=7) if why == "done" else pb.Completion(failure=pb.Completion.WORKER)

    def end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    def report(self) -> pb.Report:
        return pb.Report(progress=0.5, counters=pb.Counters(values={"seen": 3}))

    def kill(self, why: str) -> None:
        self.end(why)


class Reduction(Execution):
    def __init__(
        self, plane: Plane, job: pb.Job, task: pb.Task, lost: Callable[[pb.LostInput], None]
    ) -> None:
        super().__init__(plane, job, task)
        self.lost = lost
        self.there: dict[int, tuple[str, int]] = {}

    def offer(self, outputs: MapOutputs) -> None:
        self.plane.events.append(f"offer {list(outputs.maps)}")
        for number, index, attempt in zip(outputs.maps, outputs.workers, outputs.attempts, strict=True):
            self.there[number] = (outputs.names[index], attempt)
        if len(self.there) == self.task.maps:
            self.end("done")

    def withdraw(self, maps: Sequence[int], attempts: Sequence[int]) -> None:
        self.plane.events.append(f"lost {list(maps)}")
        for number, attempt in zip(maps, attempts, strict=True):
            if number in self.there and self.there[number][1] == attempt:
                del self.there[number]


class Master(rpc.MasterServicer):
    """Hears a worker.

    Attributes:
        registrations, calls, lost: what it was told, in order.
        replies_lost: so many calls of Complete are heard, but their replies get lost.
        locations: what a `Locate` stream says, message by message; None breaks it.
        job: what jobs are like; None: it knows none.
    """

    def __init__(self, incarnation: int = 0) -> None:
        self.incarnation = incarnation
        self.registrations: list[pb.Registration] = []
        self.calls: list[list[pb.Completion]] = []
        self.lost: list[pb.LostInput] = []
        self.replies_lost = 0
        self.locations: list[pb.Locations | None] = []
        self.job: pb.Job | None = pb.Job(id="job", settings={"seconds": "1"})

    @property
    def completions(self) -> list[tuple[int, int]]:
        """Number and attempt of each completion it was told."""
        return [(done.number, done.attempt) for call in self.calls for done in call]

    async def Register(self, request: pb.Registration, context: Any) -> pb.Registered:
        self.registrations.append(request)
        return pb.Registered(master_incarnation=self.incarnation)

    async def GetJob(self, request: pb.JobId, context: Any) -> pb.Job:
        if self.job is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
        return self.job

    async def Complete(self, request: pb.Completions, context: Any) -> pb.Ack:
        self.calls.append(list(request.completions))
        if self.replies_lost:
            self.replies_lost -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply is lost")
        return pb.Ack()

    async def Locate(self, request: pb.LocationsRequest, context: Any) -> Any:
        while True:
            while self.locations:
                message = self.locations.pop(0)
                if message is None:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
                yield message
            await asyncio.sleep(0.01)

    async def ReportLostInput(self, request: pb.LostInput, context: Any) -> pb.Ack:
        self.lost.append(request)
        return pb.Ack()


class Rig:
    """A simulation with a worker "w" and a scripted master, whose part the case plays."""

    def __init__(self, simulation: Simulation, host: Any) -> None:
        self.simulation = simulation
        self.host = host
        self.master = Master()
        self.worker = rpc.WorkerStub(host.connect("w"))

    @property
    def machine(self) -> Machine:
        return self.simulation.machines["w"]

    @property
    def events(self) -> list[str]:
        """What the worker's plane was asked."""
        return Plane.all[-1].events

    async def up(self, **parameters: Any) -> None:
        """Starts the worker, and returns when it has registered."""
        before = len(self.master.registrations)
        parameters = {
            "master": "master",
            "files": f"{__name__}:no_files",
            "data": f"{__name__}:Plane",
            **parameters,
        }
        if self.simulation.machines.get("w") is None:
            self.simulation.boot("w", service.serve, parameters)
        else:
            self.machine.restart()
        await until(lambda: len(self.master.registrations) > before)

    async def ping(self) -> pb.Pong:
        return await self.worker.Ping(pb.PingRequest(master_incarnation=self.master.incarnation))

    async def assign(self, *tasks: pb.Task) -> None:
        await self.worker.Assign(pb.Tasks(tasks=tasks))


def no_files(host: Any) -> None:
    """The file system of a plane that needs none."""


def a_map(number: int, attempt: int) -> pb.Task:
    return pb.Task(job="job", kind=pb.MAP, number=number, attempt=attempt)


def a_reduce(number: int, attempt: int, maps: int) -> pb.Task:
    return pb.Task(job="job", kind=pb.REDUCE, number=number, attempt=attempt, maps=maps)


def run(case: Callable[[Rig], Awaitable[None]], seed: int = 0) -> None:
    """Runs a case, as it comes and interleaved."""
    for interleave in (False, True):
        Plane.all.clear()
        simulation = Simulation(seed, interleave=interleave, limit_s=600.0)
        host = simulation.boot("master")

        async def main(simulation: Simulation = simulation, host: Any = host) -> None:
            rig = Rig(simulation, host)
            server = host.serve()
            rpc.add_MasterServicer_to_server(rig.master, server)
            await server.start()
            await case(rig)

        simulation.run(main(), name="case")


async def until(true: Callable[[], bool]) -> None:
    """Returns when something is so."""
    while not true():
        await asyncio.sleep(0.01)
