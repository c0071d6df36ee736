"""What a status page may see of a master (4.8): a read-only view, in plain values. Times are seconds ago."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import grpc
from msgspec import Struct

from protos import mapreduce_pb2 as pb
from services.mapreduce.master.locality import Near

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.mapreduce.master.job import RunningJob
    from services.mapreduce.master.scheduler import Scheduler
    from services.mapreduce.master.state import Kind, State, Task


JOBS_KEPT, TASKS_KEPT = 20, 10_000
"""Of so many jobs that are over the tasks can still be seen, unless they have more tasks than that."""


class WorkerView(Struct, frozen=True):
    """A worker that is there. `running` and `waiting`: executions of both kinds, in slots and sent ahead."""

    name: str
    incarnation: int
    rack: str
    map_slots: int
    reduce_slots: int
    running: int
    waiting: int
    leaving: bool
    banned: bool
    troubles: int
    heard: float


class FailedWorker(Struct, frozen=True):
    """A worker that failed, and the tasks that it was executing then."""

    name: str
    incarnation: int
    why: str
    ago: float
    executing: tuple[str, ...]


class AttemptView(Struct, frozen=True):
    """An execution: under way, or the one that completed its task, or one that failed.

    Attributes:
        state: "waiting" (sent ahead), "running", "completed", "failed".
        near: "data-local", "rack-local", "remote", or "".
        seconds: since it began, or since it failed; 0.0 of a completed one.
        log: file on the worker's disk, "" when not known (yet).
    """

    kind: str
    number: int
    attempt: int
    worker: str
    incarnation: int
    state: str
    backup: bool = False
    near: str = ""
    seconds: float = 0.0
    progress: float = 0.0
    status: str = ""
    error: str = ""
    log: str = ""


class TaskView(Struct, frozen=True):
    """A task, and what is known of its executions."""

    kind: str
    number: int
    state: str
    failures: int
    skip: tuple[int, ...]
    attempts: tuple[AttemptView, ...]


class View:
    """A view of one master.

    Args:
        scheduler: its jobs and workers.
        outcomes: last reports of jobs that are over.
    """

    def __init__(self, scheduler: Scheduler, outcomes: dict[str, pb.Progress]) -> None:
        self._scheduler = scheduler
        self._outcomes = outcomes
        self._over: dict[str, RunningJob] = {}

    def keep(self, job: RunningJob) -> None:
        """Keeps the tasks of a job that is over: workers keep their logs for a while too."""
        if sum(map(len, job.state.tasks)) <= TASKS_KEPT:
            self._over[job.id] = job
        while len(self._over) > JOBS_KEPT:
            del self._over[next(iter(self._over))]

    def _find(self, job: str) -> RunningJob | None:
        return self._scheduler.jobs.get(job) or self._over.get(job)

    def jobs(self) -> list[pb.Progress]:
        """Returns a report of each job: those over first, then those under way."""
        links = len(self._scheduler.workers.links)
        running = [job.progress(_now(), links) for job in self._scheduler.jobs.values()]
        return [*self._outcomes.values(), *(report for report in running if report.job not in self._outcomes)]

    def title(self, job: str) -> str:
        """Returns what people call a job."""
        found = self._find(job)
        return found.spec.code.title if found is not None else ""

    def workers(self) -> list[WorkerView]:
        """Returns the workers that are there, by name."""
        views = []
        for link in self._scheduler.workers.links.values():
            given = sum(map(len, link.queue))
            running = sum(e.started != math.inf for queue in link.queue for e in queue.values())
            views.append(
                WorkerView(
                    *link.id,
                    link.rack,
                    *link.slots,
                    running,
                    given - running,
                    link.leaving,
                    link.banned,
                    link.troubles,
                    _now() - link.heard,
                )
            )
        return sorted(views, key=lambda view: view.name)

    def failed_workers(self) -> list[FailedWorker]:
        """Returns the workers that failed, the latest first."""
        return [
            FailedWorker(*gone.worker, gone.why, _now() - gone.at, gone.executing)
            for gone in reversed(self._scheduler.workers.failures)
        ]

    def locality(self, job: str) -> dict[str, int]:
        """Returns how many maps of a job were given to workers how near their input (3.4)."""
        found = self._find(job)
        return {near.word: found.near.taken[near] for near in Near} if found is not None else {}

    def running(self, job: str) -> list[AttemptView]:
        """Returns the executions under way of a job."""
        found = self._find(job)
        if found is None or found.outcome is not None:
            return []
        return [view for tasks in found.state.running for task in tasks.values() for view in _under_way(task)]

    def failed(self, job: str) -> list[AttemptView]:
        """Returns the last executions of a job that failed, the latest first."""
        found = self._find(job)
        return list(reversed(_failed(found))) if found is not None else []

    def tasks(
        self, job: str, kind: Kind, start: int = 0, count: int = 100, state: State | None = None
    ) -> list[TaskView]:
        """Returns some tasks of a job.

        Args:
            job: its id.
            kind: of the tasks.
            start: number of the first.
            count: how many at most.
            state: only those in this state.
        """
        found = self._find(job)
        views: list[TaskView] = []
        if found is None:
            return views
        failed = _failed(found)
        for task in found.state.tasks[kind][max(0, start) :]:
            if len(views) == count:
                break
            if state is None or task.state is state:
                views.append(_task(found, task, failed))
        return views

    async def log(self, job: str, kind: Kind, number: int, attempt: int) -> AsyncIterator[bytes]:
        """Yields the log of an execution, from its worker's disk.

        Raises:
            LookupError: it is not known, or its worker cannot be asked; says so in one line.
        """
        found = self._find(job)
        if found is None or not 0 <= number < len(found.state.tasks[kind]):
            raise LookupError(f"no {kind.word} task {number} of a job {job}")
        views = _task(found, found.state.tasks[kind][number], _failed(found)).attempts
        view = next((view for view in views if view.attempt == attempt), None)
        if view is None or not view.log:
            raise LookupError(f"no log of attempt {attempt} of {kind.word} task {number}")
        link = self._scheduler.workers.links.get((view.worker, view.incarnation))
        if link is None:
            raise LookupError(f"worker {view.worker}, which has the log, is gone")
        try:
            async for chunk in link.stub.ReadLog(pb.LogRequest(log=view.log), timeout=60.0):
                yield chunk.data
        except grpc.aio.AioRpcError as error:
            raise LookupError(f"worker {view.worker} does not give the log: {error.details()}") from None


def _task(job: RunningJob, task: Task, failed: list[AttemptView]) -> TaskView:
    attempts = [view for view in failed if view.kind == task.kind.word and view.number == task.number]
    if job.outcome is None:
        attempts += _under_way(task)
    record = job.records[task.kind][task.number]
    if record:
        done = pb.Completion.FromString(record)
        attempts.append(
            AttemptView(
                task.kind.word,
                task.number,
                done.attempt,
                done.worker,
                done.incarnation,
                "completed",
                progress=1.0,
                log=done.log,
            )
        )
    return TaskView(task.kind.word, task.number, task.state.value, task.failures, task.skip, tuple(attempts))


def _under_way(task: Task) -> list[AttemptView]:
    return [
        AttemptView(
            task.kind.word,
            task.number,
            execution.attempt,
            *execution.worker,
            "waiting" if execution.started == math.inf else "running",
            execution.backup,
            execution.near.word if execution.near is not None else "",
            0.0 if execution.started == math.inf else _now() - execution.started,
            execution.report.progress if execution.report is not None else 0.0,
            execution.report.status if execution.report is not None else "",
            log=execution.report.log if execution.report is not None else "",
        )
        for execution in task.executions
    ]


def _failed(job: RunningJob) -> list[AttemptView]:
    return [
        AttemptView(
            f.kind.word,
            f.number,
            f.attempt,
            *f.worker,
            "failed",
            seconds=_now() - f.at,
            error=f.error,
            log=f.log,
        )
        for f in job.failures
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()
