"""A file system and workers as the master's tests need them: no data, but every misbehaviour."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.files.api import FileInfo


class MemoryFiles:
    """The shared file system: a dict that outlives all hosts."""

    def __init__(self, inputs: dict[str, int] | None = None, hosts: dict[str, tuple[str, ...]] | None = None):
        self.sizes = dict(inputs or {})
        self.data: dict[str, bytes] = {}
        self.folders: set[str] = set()
        self.hosts = hosts or {}

    async def list(self, path):
        found = [FileInfo(name, size) for name, size in sorted(self.sizes.items()) if _below(name, path)]
        found += [FileInfo(name, len(data)) for name, data in sorted(self.data.items()) if _below(name, path)]
        if not found and path not in self.folders:
            raise FileNotFoundError(path)
        return [file for file in found if not any(part[0] in "._" for part in file.path.split("/"))]

    async def exists(self, path):
        return path in self.folders or any(_below(name, path) for name in self.data)

    async def locate(self, ranges):
        return [dict.fromkeys(self.hosts.get(f"{r.path}:{r.offset}", ()), r.size) for r in ranges]

    async def read(self, path, offset=0, size=-1):
        return self.data[path]

    async def write(self, path, data):
        self.data[path] = data

    async def create(self, path, exclusive=False):
        if exclusive and path in self.folders:
            raise FileExistsError(path)
        self.folders.add(path)

    async def commit(self, source, target):
        if target in self.data:
            self.data.pop(source, None)
            return False
        self.data[target] = self.data.pop(source)
        return True

    async def remove(self, path):
        self.folders.discard(path)
        for name in [name for name in self.data if _below(name, path)]:
            del self.data[name]

    async def view(self, ranges, tail=0):
        raise NotImplementedError

    publish = view


def _below(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")


class FakeWorker(rpc.WorkerServicer):
    """Executes by sleeping. What it does wrong is decided by its own chance.

    Args:
        seconds: of one execution.
        wrong: probabilities, by name: "repeat" (a completion is said twice), "late" (it is said after a
            while, whoever has failed meanwhile), "user" and "machine" (an execution fails), "lose" (a reduce
            says that it cannot read a map's output).
    """

    def __init__(self, host: Any, files: MemoryFiles, *, slots=2, seconds=0.2, rack="", wrong=None):
        self.host, self.files, self.slots, self.seconds, self.rack = host, files, slots, seconds, rack
        self.wrong = wrong or {}
        self.master = rpc.MasterStub(host.connect("master"))
        self.pinged = asyncio.Event()
        self.jobs: dict[str, pb.Job] = {}
        self.taken: dict[tuple[str, int], pb.Task] = {}
        self.done: dict[tuple[str, int], None] = {}
        self.running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.free = (asyncio.Semaphore(slots), asyncio.Semaphore(slots))
        self.outbox: list[pb.Completion] = []
        self.sending: asyncio.Task[None] | None = None
        self.bad: dict[int, str] = {}  # records on which this job's maps die
        self.master_incarnation = -1
        self.leaving = False
        self.assigned = 0  # calls of Assign

    # The master's wishes

    async def Ping(self, request, context):
        if request.master_incarnation == self.master_incarnation:
            self.pinged.set()
        return pb.Pong(
            worker=self.host.name,
            incarnation=self.host.incarnation,
            running=list(map(self.report, self.running)),
        )

    def report(self, key):
        task = self.taken[key]
        return pb.Report(
            job=task.job, kind=task.kind, number=task.number, attempt=task.attempt, progress=0.5,
            log=f"log-{task.attempt}", counters=pb.Counters(values={"tasks": 1}),
        )  # fmt: skip

    async def Assign(self, request, context):
        self.assigned += 1
        for task in request.tasks:
            key = (task.job, task.attempt)
            if key not in self.taken:
                self.taken[key] = task
                self.running[key] = asyncio.create_task(self.execute(task), name=f"attempt {task.attempt}")
        return pb.Ack()

    async def Withdraw(self, request, context):
        for task in request.tasks:
            if execution := self.running.pop((task.job, task.attempt), None):
                execution.cancel()
        return pb.Ack()

    async def Forget(self, request, context):
        for key in [key for key in self.running if key[0] == request.job]:
            self.running.pop(key).cancel()
        return pb.Ack()

    async def ReadLog(self, request, context):
        yield pb.Bytes(data=f"log {request.log}".encode(), last=True)

    # Executing

    def goes_wrong(self, what: str) -> bool:
        return self.host.rng.random() < self.wrong.get(what, 0.0)

    async def execute(self, task):
        async with self.free[task.kind]:
            if task.job not in self.jobs:
                name = pb.JobId(job=task.job)
                self.jobs[task.job] = await self.persist(lambda: self.master.GetJob(name))
            job = self.jobs[task.job]
            if task.kind == pb.REDUCE:
                await self.shuffle(task)
            await asyncio.sleep(self.seconds * self.host.rng.uniform(0.5, 1.5))
            done = pb.Completion(
                job=task.job, kind=task.kind, number=task.number, attempt=task.attempt,
                worker=self.host.name, incarnation=self.host.incarnation,
                input_bytes=100, output_bytes=10, log=f"log-{task.attempt}",
                counters=pb.Counters(values={"tasks": 1, "bytes": 7 * task.number}),
            )  # fmt: skip
            bad = [n for n in self.bad if n not in task.skip] if task.kind == pb.MAP else []
            if bad:
                done.failure, done.error = pb.Completion.USER_CODE, "killed by SIGSEGV"
                done.bad_record.CopyFrom(pb.BadRecord(kind=task.kind, task=task.number, number=bad[0]))
            elif self.goes_wrong("user"):
                done.failure, done.error = pb.Completion.USER_CODE, "ValueError: no"
            elif self.goes_wrong("machine"):
                done.failure, done.error = pb.Completion.WORKER, "No space left on device"
            elif task.kind == pb.MAP and job.reduces:
                done.region_sizes = bytes([task.number % 250 + 1]) * job.reduces
            else:
                name = f"{job.output}/part-{task.number:05}"
                self.files.data[f"{job.output}/.temporary/{task.attempt}"] = str(task.attempt).encode()
                if f"{name}" not in self.files.data:
                    self.files.data[name] = str(task.attempt).encode()
            done.skipped.extend(pb.BadRecord(task=task.number, number=n) for n in task.skip)
        if self.goes_wrong("late"):
            await asyncio.sleep(5.0)
        self.running.pop((task.job, task.attempt), None)
        self.say(done)
        if self.goes_wrong("repeat"):
            await asyncio.sleep(self.host.rng.uniform(0.0, 3.0))
            self.say(done)

    async def shuffle(self, task):
        known: dict[int, tuple[str, int]] = {}
        while len(known) < task.maps:
            try:
                stream = self.master.Locate(pb.LocationsRequest(job=task.job, reduce=task.number))
                async for message in stream:
                    for number, attempt in zip(message.lost, message.lost_attempts, strict=True):
                        if number in known and known[number][1] == attempt:
                            del known[number]
                    for number, worker, attempt, size in entries(message):
                        assert size == number % 250 + 1, "the size of another map"
                        if self.goes_wrong("lose"):
                            lost = pb.LostInput(
                                job=task.job, map=number, attempt=attempt, worker=worker, reduce=task.number,
                                missing=True, reader=task.attempt,
                            )  # fmt: skip
                            await self.persist(lambda lost=lost: self.master.ReportLostInput(lost))
                        else:
                            known[number] = (worker, attempt)
                    if len(known) == task.maps:
                        stream.cancel()
                        return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.3)

    def say(self, done):
        self.outbox.append(done)
        if self.sending is None or self.sending.done():
            self.sending = asyncio.create_task(self.send(), name="send")

    async def send(self):
        while self.outbox:
            batch = pb.Completions(completions=self.outbox)
            await self.persist(lambda batch=batch: self.master.Complete(batch, timeout=2.0))
            del self.outbox[: len(batch.completions)]

    async def persist(self, call):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.3)

    async def register(self):
        me = pb.Registration(
            worker=self.host.name,
            incarnation=self.host.incarnation,
            map_slots=self.slots,
            reduce_slots=self.slots,
            rack=self.rack,
            running=list(map(self.report, self.running)),
            leaving=self.leaving,
        )
        answer = await self.master.Register(me, timeout=1.0)
        self.master_incarnation = answer.master_incarnation

    async def keep_registered(self):
        while True:
            try:
                await self.register()
                while True:
                    self.pinged.clear()
                    await asyncio.wait_for(self.pinged.wait(), 2.0)
            except (grpc.aio.AioRpcError, TimeoutError):
                await asyncio.sleep(0.3)


def entries(message):
    maps, workers, attempts = array("I"), array("I"), array("Q")
    for column, data in ((maps, message.maps), (workers, message.workers), (attempts, message.attempts)):
        column.frombytes(data)
    assert len(maps) == len(workers) == len(attempts) == len(message.sizes)
    names = message.names
    return list(zip(maps, [names[w] for w in workers], attempts, message.sizes, strict=True))


async def fake_worker(host, files, made=None, **how):
    worker = FakeWorker(host, files, **how)
    if made is not None:
        made[host.name] = worker
    server = host.serve()
    rpc.add_WorkerServicer_to_server(worker, server)
    await server.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.keep_registered())
        await server.wait_for_termination()
