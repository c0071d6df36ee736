"""A worker (MapReduce 3.1): program `serve(host, master, files)`.

It registers with the master, executes the map and reduce tasks that it is given, serves its map outputs to
reduce workers, and tells the master how each execution ended. What happens to data is behind
`plane.DataPlane`, so that the same worker runs with real bytes and with modelled ones.

A worker registers again when the master has been silent, and when a ping shows that it was restarted: with
what it executes, so that a restarted master can go on with it.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.files import connect
from services.mapreduce.worker.executions import Executions
from services.mapreduce.worker.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Context, Host
    from services.mapreduce.worker.plane import DataPlane

_RETRY = 0.3  # seconds before a registration that failed is tried again
_GRACE = 2.0  # seconds in which a worker that leaves ends what it executes
_FAREWELL = 0.5  # seconds for telling the master so


class Worker(rpc.WorkerServicer):
    """One worker.

    Args:
        host: its door.
        master: the master's host.
        plane: what happens to data.
        map_slots, reduce_slots: executions of each kind at a time.
        rack: where it stands, for locality (3.4).
        ping_timeout_s: silence of the master after which the worker registers again.
    """

    def __init__(
        self,
        host: Host,
        master: str,
        plane: DataPlane,
        *,
        map_slots: int,
        reduce_slots: int,
        rack: str,
        ping_timeout_s: float,
    ) -> None:
        self._host = host
        self._master = rpc.MasterStub(host.connect(master))
        self._plane = plane
        self._slots = (map_slots, reduce_slots)
        self._rack = rack
        self._timeout = ping_timeout_s
        self._silence = asyncio.Event()  # set when it is time to register again
        self._outbox = Outbox(self._master, self._silence.set)
        self._executions = Executions(
            host,
            self._master,
            plane,
            map_slots=map_slots,
            reduce_slots=reduce_slots,
            done=self._outbox.complete,
            lost=self._outbox.lost,
        )
        self._heard = 0.0  # when the master last pinged, or answered a registration
        self._registered_with = -1  # incarnation of the master

    # What the master and other workers ask

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.Pong:
        """Answers the master's ping (3.3), with how far everything is (4.8, 4.9)."""
        self._heard = asyncio.get_running_loop().time()
        if request.master_incarnation != self._registered_with:
            self._silence.set()
        return pb.Pong(
            worker=self._host.name, incarnation=self._host.incarnation, running=self._executions.running()
        )

    async def Assign(self, request: pb.Tasks, context: Context) -> pb.Ack:
        """Takes tasks; asked twice, it executes once."""
        for task in request.tasks:
            self._executions.assign(task)
        return pb.Ack()

    async def Withdraw(self, request: pb.Tasks, context: Context) -> pb.Ack:
        """Ends executions that are no longer wanted."""
        for task in request.tasks:
            self._outbox.withdraw(task.job, task.attempt)
            self._executions.withdraw(task)
        return pb.Ack()

    async def Fetch(self, request: pb.Regions, context: Context) -> AsyncIterator[pb.Bytes]:
        """Streams regions of map outputs from the local disk (3.1 step 5)."""
        async for chunk in self._plane.fetch(request):
            yield chunk

    async def ReadLog(self, request: pb.LogRequest, context: Context) -> AsyncIterator[pb.Bytes]:
        """Streams a task's log."""
        async for chunk in self._plane.read_log(request.log):
            yield chunk

    async def Forget(self, request: pb.JobId, context: Context) -> pb.Ack:
        """The job is over: ends what is left of it, and removes its files."""
        self._outbox.forget(request.job)
        self._executions.forget(request.job)
        await self._plane.forget(request.job)
        return pb.Ack()

    # Being there

    async def keep_registered(self) -> None:
        """Registers, and again when the master was silent or restarted."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                reply = await self._master.Register(self._registration(), timeout=self._timeout)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_RETRY)
                continue
            self._heard = loop.time()
            self._registered_with = reply.master_incarnation
            self._silence.clear()
            while not self._silence.is_set() and (left := self._heard + self._timeout - loop.time()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._silence.wait()

    def _registration(self, *, leaving: bool = False) -> pb.Registration:
        # What is done, but not known to the master, is as good as under way: its completion will come.
        waiting = [
            pb.Report(
                job=done.job,
                kind=done.kind,
                number=done.number,
                attempt=done.attempt,
                progress=1.0,
                counters=done.counters,
                input_bytes=done.input_bytes,
                output_bytes=done.output_bytes,
            )
            for done in self._outbox.waiting
        ]
        return pb.Registration(
            worker=self._host.name,
            incarnation=self._host.incarnation,
            map_slots=self._slots[0],
            reduce_slots=self._slots[1],
            rack=self._rack,
            running=[*self._executions.all(), *waiting],
            leaving=leaving,
        )

    async def leave(self) -> None:
        """Tells the master that it leaves, ends what can be ended soon, and gives back the rest."""
        farewell = asyncio.create_task(self._say_farewell())
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._executions.finish()
                await self._outbox.flush()
        await farewell
        await self._executions.close()
        self._outbox.close()
        await self._plane.close()

    async def _say_farewell(self) -> None:
        with suppress(grpc.aio.AioRpcError):
            await self._master.Register(self._registration(leaving=True), timeout=_FAREWELL)


def load_plane(name: str, host: Host, files: str, parameters: dict[str, Any]) -> DataPlane:
    """Returns the data plane of a name, "package.module:Class"."""
    module, _, attribute = name.partition(":")
    plane: DataPlane = getattr(importlib.import_module(module), attribute)(
        host, connect(host, files), **parameters
    )
    return plane


async def serve(
    host: Host,
    master: str = "master",
    files: str = "files",
    map_slots: int = 1,
    reduce_slots: int = 1,
    rack: str = "",
    ping_timeout_s: float = 2.0,
    data: str = "services.mapreduce.worker.local_data:LocalData",
    **parameters: Any,
) -> None:
    """Serves as a worker of `master` until cancelled; then it leaves in order.

    Args:
        host: its door.
        master: the master's host.
        files: address of the shared file system; see `services.files.api`.
        map_slots, reduce_slots: executions of each kind at a time.
        rack: where it stands, for locality (3.4).
        ping_timeout_s: silence of the master after which the worker registers again.
        data: the data plane's class.
        parameters: what else its constructor takes.
    """
    plane = load_plane(data, host, files, parameters)
    await plane.open()
    worker = Worker(
        host,
        master,
        plane,
        map_slots=map_slots,
        reduce_slots=reduce_slots,
        rack=rack,
        ping_timeout_s=ping_timeout_s,
    )
    server = host.serve()
    rpc.add_WorkerServicer_to_server(worker, server)
    await server.start()
    try:
        await worker.keep_registered()
    finally:
        await worker.leave()
        await server.stop(None)
