"""The master (MapReduce 3.1-3.3): program `serve(host, files)`.

One copy of the program is special: it picks idle workers and assigns each a map or a reduce task,
pings every worker periodically, and is the conduit through which the locations of intermediate
regions go from map to reduce workers. The rules are in `services.mapreduce.job`; here is who is
told, and when.

A worker registers, and again whenever it has not been pinged for a while: so a master and a worker
find each other after any absence. The paper's master aborts the job when it dies; so does this one.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.files.client import FileSystem
from services.mapreduce.master.state import JobFailed, JobState, Kind, State, Task, Worker
from services.mapreduce.records import plan_splits, user_function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from services.host import Context, Host
    from services.mapreduce.records import Pieces

MAX_MAPS = 100_000  # M is bounded: the master keeps state for each
MAX_REDUCES = 10_000

_KIND = {Kind.MAP: pb.Task.MAP, Kind.REDUCE: pb.Task.REDUCE}
_KIND_OF = {pb.Task.MAP: Kind.MAP, pb.Task.REDUCE: Kind.REDUCE}


class _WorkerLink:
    """A registered worker: how to reach it, and how much it can do at once."""

    def __init__(self, stub: rpc.WorkerAsyncStub, registration: pb.Registration) -> None:
        self.stub = stub
        self.slots = {Kind.MAP: registration.map_slots, Kind.REDUCE: registration.reduce_slots}
        self.pinger: asyncio.Task[None] | None = None


class _Job:
    """A job under way."""

    def __init__(self, spec: pb.Job, splits: list[Pieces], max_failures: int) -> None:
        self.spec = spec
        self.splits = splits
        self.state = JobState(len(splits), spec.reduces, max_failures=max_failures)
        self.error = ""
        self.changed = asyncio.Event()  # replaced at each change: whoever waits for one wakes

    @property
    def over(self) -> bool:
        return bool(self.error) or self.state.done

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Master(rpc.MasterServicer):
    """The master of any number of jobs and workers.

    Args:
        host: its door.
        files: the host that serves the file system.
        ping_interval_s: between two pings of a worker.
        ping_timeout_s: silence after which a worker is marked as failed (3.3).
    """

    def __init__(self, host: Host, files: str, *, ping_interval_s: float, ping_timeout_s: float) -> None:
        self._host = host
        self._files = FileSystem(host, files)
        self._interval = ping_interval_s
        self._timeout = ping_timeout_s
        self._workers: dict[Worker, _WorkerLink] = {}
        self._jobs: dict[str, _Job] = {}
        self._numbers = itertools.count(1)
        self._errands: dict[asyncio.Task[None], None] = {}

    # The user's side

    async def Submit(self, request: pb.Job, context: Context) -> pb.JobId:
        """Plans the splits and starts a job."""
        if not 1 <= request.reduces <= MAX_REDUCES:
            await _refuse(context, f"reduces must be between 1 and {MAX_REDUCES}, not {request.reduces}")
        if request.split_bytes < 1:
            await _refuse(context, f"split_bytes must be at least 1, not {request.split_bytes}")
        for name in filter(None, (request.mapper, request.reducer, request.combiner)):
            try:
                user_function(name)
            except ValueError as exc:
                await _refuse(context, str(exc))
        if await self._files.list(request.output):
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"output exists: {request.output}")
        inputs = await self._files.list(request.input)
        if not inputs:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no input: {request.input}")
        splits = plan_splits(inputs, request.split_bytes)
        if len(splits) > MAX_MAPS:
            await _refuse(context, f"{len(splits)} splits are more than {MAX_MAPS}: choose larger ones")
        name = f"job-{self._host.incarnation}-{next(self._numbers)}"
        self._jobs[name] = _Job(request, splits, max_failures=4)
        self._host.trace("job started", job=name, maps=len(splits), reduces=request.reduces)
        self._assign()
        return pb.JobId(job=name)

    async def Watch(self, request: pb.JobId, context: Context) -> AsyncIterator[pb.Progress]:
        """Streams a job's progress until it is done or has failed."""
        job = await self._job(request.job, context)
        while True:
            changed = job.changed
            state = job.state
            yield pb.Progress(
                state=pb.Progress.FAILED
                if job.error
                else pb.Progress.DONE
                if state.done
                else pb.Progress.RUNNING,
                maps=len(state.maps),
                maps_completed=state.completed(Kind.MAP),
                reduces=len(state.reduces),
                reduces_completed=state.completed(Kind.REDUCE),
                executions=state.executions,
                error=job.error,
            )
            if job.over:
                return
            await changed.wait()

    async def _job(self, name: str, context: Context) -> _Job:
        if name not in self._jobs:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no such job: {name} (has the master been restarted?)"
            )
        return self._jobs[name]

    # The workers' side

    async def Register(self, request: pb.Registration, context: Context) -> pb.Ack:
        """A worker says that it is there."""
        worker = (request.worker, request.incarnation)
        for other in [w for w in self._workers if w[0] == worker[0] and w[1] < worker[1]]:
            self._failed(other, "restarted")
        if worker not in self._workers:
            link = _WorkerLink(rpc.WorkerStub(self._host.connect(request.worker)), request)
            self._workers[worker] = link
            link.pinger = asyncio.create_task(self._ping(worker, link), name=f"ping {request.worker}")
            self._host.trace("worker registered", worker=request.worker, incarnation=request.incarnation)
            self._assign()
        return pb.Ack()

    async def Complete(self, request: pb.Completion, context: Context) -> pb.Ack:
        """The completion message of an execution (3.3)."""
        job = self._jobs.get(request.job)
        if job is None or job.over:
            return pb.Ack()
        kind, worker = _KIND_OF[request.kind], (request.worker, request.incarnation)
        if request.error:
            try:
                job.state.attempt_failed(kind, request.number, request.attempt, request.error)
            except JobFailed as exc:
                job.error = str(exc)
        elif not job.state.complete(
            kind, request.number, request.attempt, worker, list(request.region_bytes)
        ):
            self._host.trace(
                "completion ignored", kind=kind.value, number=request.number, worker=request.worker
            )
        job.wake()
        self._assign()
        return pb.Ack()

    async def Locations(self, request: pb.JobId, context: Context) -> AsyncIterator[pb.Location]:
        """Tells a reduce worker where map outputs are, as they come and when they move."""
        job = await self._job(request.job, context)
        told: dict[int, int] = {}
        while not job.over:
            changed = job.changed
            for task in job.state.maps:
                if task.state is State.COMPLETED and told.get(task.number) != task.attempt:
                    assert task.worker is not None
                    told[task.number] = task.attempt
                    yield pb.Location(map=task.number, worker=task.worker[0], attempt=task.attempt)
            await changed.wait()

    async def ReportLostInput(self, request: pb.LostInput, context: Context) -> pb.Ack:
        """A reduce worker could not read a map task's output: execute the task again, elsewhere."""
        job = self._jobs.get(request.job)
        if job is not None and not job.over and job.state.input_lost(request.map, request.attempt):
            self._host.trace("input lost", map=request.map, worker=request.worker)
            job.wake()
            self._assign()
        return pb.Ack()

    # Scheduling

    def _assign(self) -> None:
        """Gives tasks to workers with free slots, one a worker in turn, until nothing fits."""
        progress = True
        while progress:
            progress = False
            for worker, link in self._workers.items():
                for kind in Kind:
                    progress |= link.slots[kind] > 0 and self._assign_one(worker, link, kind)

    def _assign_one(self, worker: Worker, link: _WorkerLink, kind: Kind) -> bool:
        for name, job in self._jobs.items():
            if job.over:
                continue
            picked = job.state.next_task(kind, worker, len(self._workers))
            if picked is not None:
                task, attempt = picked
                link.slots[kind] -= 1
                self._errand(
                    self._execute(name, job, task, attempt, worker, link), f"{kind.value} {task.number}"
                )
                return True
        return False

    async def _execute(
        self, name: str, job: _Job, task: Task, attempt: int, worker: Worker, link: _WorkerLink
    ) -> None:
        """Hands an execution to a worker, and holds its slot until it has ended, one way or another."""
        order = pb.Task(job=name, kind=_KIND[task.kind], number=task.number, attempt=attempt, spec=job.spec)
        if task.kind is Kind.MAP:
            order.split.extend(pb.Piece(path=p, offset=o, size=s) for p, o, s in job.splits[task.number])
        else:
            order.maps = len(job.splits)
        try:
            await link.stub.Assign(order, timeout=self._timeout)
        except grpc.aio.AioRpcError:
            # It may have arrived all the same; a completion of an execution given up is ignored.
            job.state.give_up(task, attempt)
            job.wake()
            self._assign()
            await asyncio.sleep(self._interval)  # until a ping can tell more, this worker gets nothing
        while attempt in task.executions and not job.over:
            await job.changed.wait()
        link.slots[task.kind] += 1
        self._assign()

    async def _ping(self, worker: Worker, link: _WorkerLink) -> None:
        """Pings a worker until it is silent for too long (3.3)."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while loop.time() - heard < self._timeout:
            await asyncio.sleep(self._interval)
            try:
                pong = await link.stub.Ping(pb.Ack(), timeout=self._interval)
            except grpc.aio.AioRpcError:
                continue
            if pong.incarnation != worker[1]:
                self._failed(worker, "restarted")
                return
            heard = loop.time()
        self._failed(worker, "silent")

    def _failed(self, worker: Worker, why: str) -> None:
        link = self._workers.pop(worker, None)
        if link is None:
            return
        if link.pinger is not None and link.pinger is not asyncio.current_task():
            link.pinger.cancel()
        self._host.trace("worker failed", worker=worker[0], incarnation=worker[1], why=why)
        for job in self._jobs.values():
            if not job.over:
                job.state.worker_failed(worker)
                job.wake()
        self._assign()

    def _errand(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._errands[task] = None
        task.add_done_callback(self._errands.pop)


async def _refuse(context: Context, why: str) -> None:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)


async def serve(
    host: Host, files: str = "files", ping_interval_s: float = 0.5, ping_timeout_s: float = 2.0
) -> None:
    """Serves as master until cancelled."""
    server = host.serve()
    master = Master(host, files, ping_interval_s=ping_interval_s, ping_timeout_s=ping_timeout_s)
    rpc.add_MasterServicer_to_server(master, server)
    await server.start()
    await server.wait_for_termination()
