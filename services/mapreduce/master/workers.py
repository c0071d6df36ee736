"""The workers as the master knows them: who is there, what each can do and is told (3.1, 3.3).

A worker registers, and again whenever it has not been pinged for a while: so a master and a worker find
each other after any absence. Restarted, a worker is a new incarnation: another worker, with nothing on its
disk.

What a worker is told (tasks to execute, executions to end, jobs to forget) collects while a call to it is
under way and goes with the next one: a thousand tiny tasks a second need tens of calls. Calls are repeated
until the worker has answered or is marked as failed; workers take the same task once.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import grpc
from msgspec import Struct

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.mapreduce.master.state import Execution, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from services.host import Host
    from services.mapreduce.master.state import Kind

BATCH = 500
"""Tasks of one call."""

TROUBLES = 4
"""Executions that a worker's machine failed before it is no longer used."""

ABSENT_S = 5.0
"""An execution that its worker has not named for so long, though it should be under way, is lost: it may have
been withdrawn by a message from before the worker was given up and came back.
"""

REST_S = 1.0
"""A worker gets nothing for so long after its machine failed an execution, and longer each time."""

LONGEST_REST_S = 5.0
"""But not longer: a disk that is full for good shall end the job in about a minute, with a word."""


class Link(Struct, eq=False):
    """A worker that is there.

    Attributes:
        id: its name and incarnation.
        slots: tasks of each kind that it executes at a time.
        rack: "" when unknown.
        ready: it has registered with this incarnation of the master.
        leaving: it wants no more work.
        banned: it fails too often, and gets no more work.
        queue: by kind: executions given to it, in order, by job and attempt; the first ones are being
            executed.
        troubles: executions that its machine failed.
        rests_until: seconds of the loop's clock.
        heard: when it last answered.
        unnamed: executions that should be under way and that its last answers did not name, and since when.
    """

    id: Worker
    stub: rpc.WorkerAsyncStub
    slots: tuple[int, int]
    queue: tuple[dict[tuple[str, int], Execution], dict[tuple[str, int], Execution]]
    rack: str = ""
    ready: bool = True
    leaving: bool = False
    banned: bool = False
    gone: bool = False
    troubles: int = 0
    rests_until: float = 0.0
    heard: float = 0.0
    unnamed: dict[tuple[str, int], float] = {}
    tasks: list[pb.Task] = []
    withdrawn: list[pb.Task] = []
    forget: dict[str, None] = {}
    sender: asyncio.Task[None] | None = None
    pinger: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Its host."""
        return self.id[0]

    @property
    def usable(self) -> bool:
        """It may be given work."""
        return self.ready and not (self.leaving or self.banned or self.gone)

    def put(self, job: str, execution: Execution) -> None:
        """Adds an execution to its queue."""
        self.queue[execution.kind][job, execution.attempt] = execution

    def drop(self, job: str, execution: Execution, now: float) -> None:
        """Removes an execution from its queue; the next one's turn has come."""
        self.queue[execution.kind].pop((job, execution.attempt), None)
        self.turns(execution.kind, now)

    def turns(self, kind: Kind, now: float) -> None:
        """Notes which executions are being executed now."""
        for execution in islice(self.queue[kind].values(), self.slots[kind]):
            if execution.started == math.inf:
                execution.started = now

    def absent(self, named: Collection[tuple[str, int]], now: float) -> list[tuple[Execution, str]]:
        """Takes what the worker says it is executing.

        Returns:
            Executions that it has not named for too long, each with its job.
        """
        before, self.unnamed = self.unnamed, {}
        lost = []
        for kind, queue in enumerate(self.queue):
            for key, execution in islice(queue.items(), self.slots[kind]):
                if key in named or self.tasks:  # what it is about to be told of, it cannot know
                    continue
                since = before.get(key, now)
                if now - since < ABSENT_S:
                    self.unnamed[key] = since
                else:
                    lost.append((execution, key[0]))
        return lost


class Gone(Struct, frozen=True):
    """A worker that failed (4.8: the status page lists them, and what they were executing)."""

    worker: Worker
    why: str
    at: float
    executing: tuple[str, ...]


class Workers:
    """All workers.

    Args:
        host: the master's door.
        ping_interval_s: between two pings of a worker.
        ping_timeout_s: silence after which a worker is marked as failed (3.3).
        answered: called with each answer to a ping.
        failed: called when a worker is marked as failed, and why.

    Attributes:
        links: those that are there.
        usable: how many of these may be given work.
        failures: the last ones that failed.
    """

    def __init__(
        self,
        host: Host,
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        answered: Callable[[Link, pb.Pong], None],
        failed: Callable[[Link, str], None],
    ) -> None:
        self.links: dict[Worker, Link] = {}
        self.usable = 0
        self.failures: list[Gone] = []
        self._host = host
        self._interval = ping_interval_s
        self._timeout = ping_timeout_s
        self._answered = answered
        self._failed = failed
        self._newest: dict[str, int] = {}

    def register(self, request: pb.Registration, *, ready: bool = True) -> tuple[Link | None, bool]:
        """Takes a registration.

        Args:
            request: what the worker says.
            ready: False for one that was there before the master's restart, and has not been heard of since.

        Returns:
            The worker, None when a newer incarnation of it is known; and whether this is the first that is
            heard of it.
        """
        worker = (request.worker, request.incarnation)
        newest = self._newest.get(request.worker, -1)
        if request.incarnation < newest:
            return None, False
        if request.incarnation > newest >= 0:
            self.fail((request.worker, newest), "restarted")
        self._newest[request.worker] = request.incarnation
        link = self.links.get(worker)
        new = link is None or (ready and not link.ready)
        now = asyncio.get_running_loop().time()
        if link is None:
            stub = rpc.WorkerStub(self._host.connect(request.worker))
            link = Link(worker, stub, (0, 0), ({}, {}))
            self.links[worker] = link
            link.pinger = asyncio.create_task(self._ping(link), name=f"ping {request.worker}")
        link.slots = (request.map_slots, request.reduce_slots)
        link.rack = request.rack
        link.leaving = request.leaving
        link.ready = ready
        link.heard = now
        self._recount()
        return link, new

    def fail(self, worker: Worker, why: str) -> None:
        """Marks a worker as failed (3.3)."""
        link = self.links.pop(worker, None)
        if link is None:
            return
        link.gone = True
        for task in (link.pinger, link.sender):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        executing = tuple(
            f"{job}: {execution.kind.word} task {execution.number}"
            for kind, queue in enumerate(link.queue)
            for (job, _), execution in islice(queue.items(), link.slots[kind])
        )
        self.failures.append(Gone(worker, why, asyncio.get_running_loop().time(), executing))
        del self.failures[:-1000]
        self._recount()
        self._failed(link, why)

    def suspicion(self, job: str) -> str:
        """Says which tasks of a job several workers were executing when they failed: it may be these."""
        counts = Counter(task for gone in self.failures for task in gone.executing)
        tasks = [
            f"{task.removeprefix(f'{job}: ')} ({times} times)"
            for task, times in counts.most_common(3)
            if times > 1 and task.startswith(f"{job}: ")
        ]
        return f"; when they failed, workers were executing {', '.join(tasks)}" if tasks else ""

    def trouble(self, link: Link, now: float) -> bool:
        """Counts an execution that a machine failed: its worker rests; failing often, it is banned.

        The last worker is never banned.

        Returns:
            Whether it has been banned now.
        """
        link.troubles += 1
        link.rests_until = now + min(REST_S * 2 ** (link.troubles - 1), LONGEST_REST_S)
        if link.troubles < TROUBLES or not link.usable or self.usable <= 1:
            return False
        link.banned = True
        self._recount()
        return True

    def pardon(self) -> list[Link]:
        """Uses banned workers again, when there are no others. Returns them."""
        if self.usable:
            return []
        pardoned = [link for link in self.links.values() if link.banned and link.ready and not link.leaving]
        for link in pardoned:
            link.banned = False
        self._recount()
        return pardoned

    def send(self, link: Link) -> None:
        """Sees to it that what waits for a worker gets there."""
        if not link.gone and (link.sender is None or link.sender.done()):
            link.sender = asyncio.create_task(self._send(link), name=f"send {link.name}")

    def _recount(self) -> None:
        self.usable = sum(link.usable for link in self.links.values())

    async def _send(self, link: Link) -> None:
        while not link.gone:
            try:
                if link.withdrawn:
                    tasks = link.withdrawn[:BATCH]
                    await link.stub.Withdraw(pb.Tasks(tasks=tasks), timeout=self._timeout)
                    del link.withdrawn[: len(tasks)]
                elif link.tasks:
                    # What is no longer wanted need not begin. What waits longer is taken back by nobody else.
                    wanted = [t for t in link.tasks[:BATCH] if (t.job, t.attempt) in link.queue[t.kind]]
                    count = min(BATCH, len(link.tasks))
                    if wanted:
                        await link.stub.Assign(pb.Tasks(tasks=wanted), timeout=self._timeout)
                    del link.tasks[:count]
                elif link.forget:
                    job = next(iter(link.forget))
                    await link.stub.Forget(pb.JobId(job=job), timeout=self._timeout)
                    link.forget.pop(job, None)
                else:
                    return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(self._interval)

    async def _ping(self, link: Link) -> None:
        """Pings a worker until it is silent for too long (3.3)."""
        loop = asyncio.get_running_loop()
        request = pb.PingRequest(master_incarnation=self._host.incarnation)
        deadline = max(self._interval, self._timeout / 2)  # one answer may be slow
        while loop.time() - link.heard < self._timeout:
            await asyncio.sleep(self._interval)
            try:
                pong = await link.stub.Ping(request, timeout=deadline)
            except grpc.aio.AioRpcError:
                if link.leaving:
                    self.fail(link.id, "left")
                    return
                continue
            if pong.incarnation != link.id[1]:
                self.fail(link.id, "restarted")
                return
            link.heard = loop.time()
            self._answered(link, pong)
        self.fail(link.id, "silent")
