"""The executions on a worker: those under way in its slots, and those sent ahead, which wait for one.

An execution is known by its job and attempt, so one that is assigned twice is executed once, also when the
second message arrives after its end.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from typing import TYPE_CHECKING

import grpc

from protos import mapreduce_pb2 as pb
from services.mapreduce.worker.locations import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protos import mapreduce_pb2_grpc as rpc
    from services.host import Host
    from services.mapreduce.worker.plane import DataPlane, Execution, Reduction

WORDS: dict[int, str] = {pb.MAP: "map", pb.REDUCE: "reduce"}

FORGOTTEN = 1_000
"""So many jobs that are over are remembered: a late assignment must not wake one.

An attempt of a later life of the master does: restarted, it knew nothing of the job, and was given it anew.
"""

_LIFE = 1 << 32  # attempts of one life of the master: its `ATTEMPTS_OF_ONE_LIFE`

_TIMEOUT = 5.0  # seconds for a call
_RETRY = 0.3


class Entry:
    """An execution: in the queue, then under way.

    Attributes:
        task: what the master said.
        execution: once it is under way.
        unwanted: it was withdrawn; nobody is told how it ends.
    """

    __slots__ = ("execution", "runner", "task", "unwanted")

    def __init__(self, task: pb.Task) -> None:
        self.task = task
        self.execution: Execution | None = None
        self.runner: asyncio.Task[None] | None = None
        self.unwanted = False

    def report(self) -> pb.Report:
        """Returns how far it is."""
        report = self.execution.report() if self.execution is not None else pb.Report()
        task = self.task
        report.job, report.kind, report.number, report.attempt = (
            task.job,
            task.kind,
            task.number,
            task.attempt,
        )
        return report


class Executions:
    """All executions of one worker.

    Args:
        host: its door.
        master: the master's stub.
        plane: what happens to data.
        map_slots, reduce_slots: executions of each kind at a time.
        done: called with each completion message.
        lost: called with each report of an input that cannot be read.
    """

    def __init__(
        self,
        host: Host,
        master: rpc.MasterAsyncStub,
        plane: DataPlane,
        *,
        map_slots: int,
        reduce_slots: int,
        done: Callable[[pb.Completion], None],
        lost: Callable[[pb.LostInput], None],
    ) -> None:
        self._host = host
        self._master = master
        self._plane = plane
        self._free: dict[int, int] = {pb.MAP: map_slots, pb.REDUCE: reduce_slots}
        self._queues: dict[int, deque[Entry]] = {pb.MAP: deque(), pb.REDUCE: deque()}
        self._entries: dict[tuple[str, int], Entry] = {}
        self._known: dict[str, dict[int, None]] = {}  # attempts, by job
        self._jobs: dict[str, pb.Job] = {}
        self._forgotten: dict[str, int] = {}  # with the last attempt that was known
        self._done = done
        self._lost = lost
        self._idle = asyncio.Event()
        self._idle.set()

    def assign(self, task: pb.Task) -> None:
        """Takes a task: it begins at once, or when a slot is free."""
        if task.job in self._forgotten:
            if task.attempt // _LIFE <= self._forgotten[task.job] // _LIFE:
                return
            del self._forgotten[task.job]
        known = self._known.setdefault(task.job, {})
        if task.attempt in known:
            return
        known[task.attempt] = None
        entry = self._entries[task.job, task.attempt] = Entry(task)
        self._queues[task.kind].append(entry)
        self._idle.clear()
        self._fill(task.kind)

    def withdraw(self, task: pb.Task) -> None:
        """Ends an execution that nobody wants any more."""
        if task.job not in self._forgotten:
            self._known.setdefault(task.job, {})[task.attempt] = None  # should its assignment come late
        entry = self._entries.get((task.job, task.attempt))
        if entry is not None:
            self._end(entry, "withdrawn")

    def forget(self, job: str) -> None:
        """Ends all executions of a job that is over."""
        for entry in [entry for key, entry in self._entries.items() if key[0] == job]:
            self._end(entry, "the job is over")
        self._jobs.pop(job, None)
        known = self._known.pop(job, {})
        self._forgotten[job] = max(known, default=self._forgotten.get(job, -1))
        if len(self._forgotten) > FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    def running(self) -> list[pb.Report]:
        """Returns reports of the executions under way."""
        return [entry.report() for entry in self._wanted() if entry.runner is not None]

    def all(self) -> list[pb.Report]:
        """Returns reports of the executions under way, and of those that wait for a slot."""
        return [entry.report() for entry in self._wanted()]

    def _wanted(self) -> Iterator[Entry]:
        return (entry for entry in self._entries.values() if not entry.unwanted)

    async def finish(self) -> None:
        """Drops those that wait, and returns when those under way have ended."""
        for queue in self._queues.values():
            for entry in tuple(queue):
                self._end(entry, "the worker leaves")
        await self._idle.wait()

    async def close(self) -> None:
        """Ends all, and returns when they have ended."""
        for entry in tuple(self._entries.values()):
            self._end(entry, "the worker leaves")
        await self._idle.wait()

    def _end(self, entry: Entry, why: str) -> None:
        entry.unwanted = True
        if entry.runner is None:
            self._queues[entry.task.kind].remove(entry)
            self._drop(entry)
        elif entry.execution is not None:
            entry.execution.kill(why)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.task.job, entry.task.attempt]
        if not self._entries:
            self._idle.set()

    def _fill(self, kind: int) -> None:
        queue = self._queues[kind]
        while queue and self._free[kind] > 0:
            self._free[kind] -= 1
            entry = queue.popleft()
            name = f"{WORDS[entry.task.kind]} {entry.task.number}.{entry.task.attempt}"
            entry.runner = asyncio.create_task(self._run(entry), name=name)

    async def _run(self, entry: Entry) -> None:
        task = entry.task
        try:
            job = await self._job(entry)
            if job is None or entry.unwanted:
                return
            kind = WORDS[task.kind]
            with self._host.span(kind, job=task.job, number=task.number, attempt=task.attempt) as said:
                done = await self._execute(entry, job)
                said["outcome"] = "withdrawn" if entry.unwanted else _outcome(done)
            if not entry.unwanted:
                done.job, done.kind, done.number, done.attempt = (
                    task.job,
                    task.kind,
                    task.number,
                    task.attempt,
                )
                done.worker, done.incarnation = self._host.name, self._host.incarnation
                if done.failure:  # so far it had come
                    so_far = entry.report()
                    done.input_bytes, done.output_bytes = so_far.input_bytes, so_far.output_bytes
                self._done(done)
        finally:
            self._free[task.kind] += 1
            self._drop(entry)
            self._fill(task.kind)

    async def _execute(self, entry: Entry, job: pb.Job) -> pb.Completion:
        task = entry.task
        hears = None
        try:
            if task.kind == pb.MAP:
                entry.execution = self._plane.map(job, task)
            else:
                reduction = self._plane.reduce(job, task, self._lost)
                entry.execution = reduction
                hears = asyncio.create_task(follow(self._master, task.job, task.number, reduction))
                hears.add_done_callback(lambda ended: self._deaf(ended, reduction))
            return await entry.execution.run()
        except Exception as exc:  # a fault of ours: the task goes elsewhere, and somebody reads this
            self._host.trace("execution broke", error=traceback.format_exc())
            return pb.Completion(
                failure=pb.Completion.WORKER, error=f"{self._host.name} broke: {type(exc).__name__}: {exc}"
            )
        finally:
            if hears is not None:
                hears.cancel()

    def _deaf(self, hears: asyncio.Task[None], reduction: Reduction) -> None:
        """An execution that hears of no more map outputs, by a fault of ours, would wait for ever."""
        if not hears.cancelled() and (exc := hears.exception()) is not None:
            self._host.trace("execution broke", error="".join(traceback.format_exception(exc)))
            reduction.kill(f"{self._host.name} broke: {type(exc).__name__}: {exc}")

    async def _job(self, entry: Entry) -> pb.Job | None:
        """Returns what the user asked for; None when the master does not know the job any more."""
        name = entry.task.job
        while not entry.unwanted:
            if name in self._jobs:
                return self._jobs[name]
            try:
                job = await self._master.GetJob(pb.JobId(job=name), timeout=_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                await asyncio.sleep(_RETRY)
                continue
            if name not in self._forgotten:
                self._jobs[name] = job
            return job
        return None


def _outcome(done: pb.Completion) -> str:
    return "done" if done.failure == pb.Completion.NONE else done.error
