"""The master's decisions, carried out: what follows from what happens (3.1 to 3.6).

Each event leads to the smallest decision that it calls for: a completion to new work for that worker; work
that became available to workers that have free slots, which are kept in a list of their own. No event looks
at all tasks or, but for a job's start and a worker's death, at all workers.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from protos import mapreduce_pb2 as pb
from services.mapreduce.master.assignment import Assignment
from services.mapreduce.master.checkpoint import Failed, Joined, Lost, completed
from services.mapreduce.master.job import FAILURES_KEPT, FailedAttempt
from services.mapreduce.master.locality import Racks
from services.mapreduce.master.state import Execution, JobFailed, Kind
from services.mapreduce.master.unreadable import Blame
from services.mapreduce.master.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from services.host import Host
    from services.mapreduce.master.checkpoint import Journal, Record
    from services.mapreduce.master.job import RunningJob
    from services.mapreduce.master.state import Worker
    from services.mapreduce.master.workers import Link

LOOK_S = 5.0
"""The master looks at least so often for what only the passing of time calls for, be pings ever so rare."""


class Scheduler:
    """The decisions of one master.

    Args:
        host: its door.
        journal: where it writes what must outlive it.
        end: called when a job is to end: done (no error), or with why it failed and the completion that
            said so, if one did.
        late: called with a job that is over when a worker says what it has executed of it.
        ping_interval_s, ping_timeout_s: see `Workers`.
        locations_interval_s: map outputs are told to reduces so often.
        no_worker_limit_s: without any worker for so long, jobs are given up.

    Attributes:
        jobs: all that are not yet over, by id.
        workers: who is there.
        racks: of hosts.
        assignment: who is given what.
    """

    def __init__(
        self,
        host: Host,
        journal: Journal,
        end: Callable[[RunningJob, str, pb.Completion | None], None],
        late: Callable[[str], None],
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        locations_interval_s: float,
        no_worker_limit_s: float,
    ) -> None:
        self.jobs: dict[str, RunningJob] = {}
        self.racks = Racks()
        self.workers = Workers(
            host,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            answered=self._answered,
            failed=self._failed,
        )
        self.assignment = Assignment(host, self.workers, self.jobs)
        self._host = host
        self._journal = journal
        self._end, self._late = end, late
        self._interval = ping_interval_s
        self._locations_interval = locations_interval_s
        self._limit = no_worker_limit_s
        self._alone_since: float | None = None

    # Jobs

    def begin(self, job: RunningJob) -> None:
        """Takes a job."""
        self.jobs[job.id] = job
        for link in self.workers.links.values():
            link.forget.pop(job.id, None)  # a master that died had not made it durable: it begins anew
        if job.state.done:
            self._over(job, "", None)
        for kind in Kind:
            self.assignment.kick(kind)

    def stop(self, job: RunningJob) -> None:
        """Takes back all that is under way of a job that is ending."""
        job.ending = True
        job.locations.end()
        for link in list(self.workers.links.values()):
            for task in list(job.state.executing(link.id).values()):
                for execution in task.executions:
                    if execution.worker == link.id:
                        self._withdraw(job, execution)

    def forget(self, job: str) -> None:
        """Tells all workers that a job is over."""
        self.jobs.pop(job, None)
        for link in self.workers.links.values():
            link.forget[job] = None
            self.workers.send(link)
            self.assignment.fill(link)

    def _over(self, job: RunningJob, error: str, why: pb.Completion | None) -> None:
        if not job.ending:
            self.stop(job)
            self._end(job, error, why)

    def snapshot(self) -> Iterator[Record]:
        """Yields the records that lead to the present state of workers and jobs."""
        for link in self.workers.links.values():
            yield Joined(_registration(link))
        for job in self.jobs.values():
            if job.outcome is None:
                yield from job.snapshot()

    # Workers come, answer, fail

    def register(self, request: pb.Registration) -> None:
        """A worker says that it is there."""
        link, new = self.workers.register(request)
        if link is None:
            return
        if new:
            self._host.trace(
                "worker registered",
                worker=link.name,
                incarnation=link.id[1],
                maps=request.map_slots,
                reduces=request.reduce_slots,
                rack=link.rack,
            )
        self._journal.append(Joined(_registration(link)))
        if self.racks.learn(link.name, link.rack):
            for job in self.jobs.values():
                job.near.learn(link.name)
        if link.leaving:
            self._host.trace("worker leaving", worker=link.name, incarnation=link.id[1])
        for report in request.running:
            self._heard(link, report, adopt=new)
        self._release()
        self.assignment.fill(link)

    def _answered(self, link: Link, pong: pb.Pong) -> None:
        for report in pong.running:
            self._heard(link, report, adopt=False)
        said = {(report.job, report.attempt) for report in pong.running}
        for execution, job in link.absent(said, self._now()):
            self._give_up(link, job, execution, "its worker knows nothing of this execution")

    def _give_up(self, link: Link, job: str, execution: Execution, why: str) -> None:
        """An execution will come to nothing where it is: it has failed, by its machine's fault."""
        task = _task(job, execution)
        link.withdrawn.append(task)
        done = pb.Completion(
            job=job,
            kind=task.kind,
            number=task.number,
            attempt=task.attempt,
            worker=link.name,
            incarnation=link.id[1],
            failure=pb.Completion.WORKER,
            error=why,
        )
        self._completed(done, link)
        self.workers.send(link)
        self.assignment.fill(link)

    def _heard(self, link: Link, report: pb.Report, *, adopt: bool) -> None:
        """Takes what a worker says of an execution: it is known, taken over, or to be ended."""
        job = self.jobs.get(report.job)
        kind = Kind(report.kind)
        if job is None:
            link.forget[report.job] = None  # it is over
            self.workers.send(link)
            self._late(report.job)
            return
        if not 0 <= report.number < len(job.state.tasks[kind]):
            return
        task = job.state.tasks[kind][report.number]
        execution = task.execution(report.attempt)
        if execution is None and not job.ending and (adopt or report.attempt < job.state.first_attempt):
            now = self._now()
            execution = job.state.adopt(kind, report.number, report.attempt, link.id, now)
            if execution is not None:
                execution.started = math.inf
                link.put(job.id, execution)
                link.turns(kind, now)
                self.assignment.note("adopted", job, execution)
        if execution is not None and execution.worker == link.id:
            if execution.report is None or _reach(report) >= _reach(execution.report):
                execution.report = report
            job.version += 1
        elif task.attempt != report.attempt:
            link.withdrawn.append(
                pb.Task(job=report.job, kind=report.kind, number=report.number, attempt=report.attempt)
            )
            self.workers.send(link)

    def _failed(self, link: Link, why: str) -> None:
        """A worker has failed: what it had completed and had under way is executed again (3.3)."""
        self._host.trace("worker failed", worker=link.name, incarnation=link.id[1], why=why)
        self._journal.append(Failed(*link.id))
        self.assignment.drop(link)
        for job in list(self.jobs.values()):
            if job.ending:
                continue
            lost, died = job.worker_failed(link.id)
            for execution in died:
                self.assignment.note("died", job, execution)
            for task in lost:
                self._reopened(job, task.number, link, why)
            if lost:
                self._publish(job, at_once=False)  # many workers may fail in one moment
        self._release()
        self._pardon()
        for kind in Kind:
            self.assignment.kick(kind)

    def _release(self) -> None:
        if self.assignment.holding and all(link.ready for link in self.workers.links.values()):
            self.assignment.holding = False
            for link in list(self.workers.links.values()):
                self.assignment.fill(link)

    def _pardon(self) -> None:
        for link in self.workers.pardon():
            self._host.trace("worker pardoned", worker=link.name, incarnation=link.id[1])
            self.assignment.fill(link)

    # Executions end

    def knows(self, completions: Sequence[pb.Completion]) -> bool:
        """Says whether these come from a worker that has registered with this incarnation of the master."""
        if not completions:
            return True
        link = self.workers.links.get((completions[0].worker, completions[0].incarnation))
        return link is not None and link.ready

    def completed(self, completions: Iterable[pb.Completion]) -> None:
        """Takes completion messages (3.3)."""
        links: dict[Link, None] = {}
        for completion in completions:
            link = self.workers.links.get((completion.worker, completion.incarnation))
            if link is not None:
                links[link] = None
            self._completed(completion, link)
        for link in links:
            self.assignment.fill(link)

    def _completed(self, completion: pb.Completion, link: Link | None) -> None:
        kind = Kind(completion.kind)
        now = self._now()
        if link is not None:
            link.queue[kind].pop((completion.job, completion.attempt), None)
            link.turns(kind, now)
        job = self.jobs.get(completion.job)
        if (
            job is None
            or job.ending
            or link is None
            or not 0 <= completion.number < len(job.state.tasks[kind])
        ):
            self._ignored(completion)
            return
        if not completion.failure and kind is Kind.MAP and len(completion.region_sizes) != job.spec.reduces:
            completion.failure = pb.Completion.WORKER
            completion.error = f"{len(completion.region_sizes)} regions instead of {job.spec.reduces}"
        if completion.failure:
            self._attempt_failed(job, completion, link)
            return
        first_map = kind is Kind.MAP and not job.state.completed(Kind.MAP)
        known = job.state.tasks[kind][completion.number].execution(completion.attempt)
        others = job.accept(completion, now)
        if others is None:
            self._ignored(completion)
            return
        self._journal.append(completed(completion.SerializeToString()))
        if known is None:  # begun before the master's restart, and ended meanwhile
            adopted = Execution(kind, completion.number, completion.attempt, link.id, now)
            self.assignment.note("adopted", job, adopted)
        self._host.trace(
            "completed",
            job=job.id,
            kind=kind.word,
            number=completion.number,
            attempt=completion.attempt,
            worker=link.name,
            input_bytes=completion.input_bytes,
            output_bytes=completion.output_bytes,
        )
        for execution in others:
            self._withdraw(job, execution)
        if job.state.done:
            self._over(job, "", None)
        elif kind is Kind.MAP and not job.map_only:
            self._publish(job, at_once=first_map or job.state.maps_done)
            if first_map:
                self.assignment.kick(Kind.REDUCE)

    def _ignored(self, completion: pb.Completion) -> None:
        self._host.trace(
            "ignored",
            job=completion.job,
            kind=Kind(completion.kind).word,
            number=completion.number,
            attempt=completion.attempt,
            worker=completion.worker,
            failure=bool(completion.failure),
        )

    def _attempt_failed(self, job: RunningJob, completion: pb.Completion, link: Link) -> None:
        kind, now = Kind(completion.kind), self._now()
        task = job.state.tasks[kind][completion.number]
        mishap = completion.failure == pb.Completion.WORKER
        execution = task.execution(completion.attempt)
        if execution is None or execution.worker != link.id:
            self._ignored(completion)
            return
        self.assignment.note("failed", job, execution, error=completion.error, mishap=mishap)
        record = completion.bad_record.number if completion.HasField("bad_record") else -1
        skip = task.skip
        error = f"{completion.error} (on worker {link.name})"
        job.failures.append(
            FailedAttempt(
                kind, task.number, completion.attempt, link.id, completion.error, completion.log, now
            )
        )
        del job.failures[:-FAILURES_KEPT]
        job.version += 1
        try:
            job.state.fail(kind, task.number, completion.attempt, error, record=record, mishap=mishap)
        except JobFailed as failed:
            self._over(job, str(failed), completion)
        self._journal.append(job.troubled(task))
        if task.skip != skip:
            self._host.trace("skipping", job=job.id, kind=kind.word, number=task.number, record=record)
        if mishap and self.workers.trouble(link, now):
            self._host.trace(
                "worker banned", worker=link.name, incarnation=link.id[1], troubles=link.troubles
            )
        self.assignment.kick(kind)

    def input_lost(self, lost: pb.LostInput) -> None:
        """A reduce could not read a map's output: the map is executed again, or the reduce is moved."""
        job = self.jobs.get(lost.job)
        if job is None or job.ending or job.map_only or not 0 <= lost.map < len(job.splits):
            return
        task = job.state.tasks[Kind.MAP][lost.map]
        if task.worker is None or task.attempt != lost.attempt:
            return  # it has moved
        if not lost.missing and not self._is_to_blame(job, task.worker, lost):
            return
        worker = self.workers.links[task.worker]
        job.input_lost(lost.map, lost.attempt)
        self._journal.append(Lost(job.id, lost.map, lost.attempt))
        self._host.trace(
            "input lost",
            job=job.id,
            number=lost.map,
            attempt=lost.attempt,
            worker=worker.name,
            reduce=lost.reduce,
            missing=lost.missing,
        )
        self._reopened(job, lost.map, worker, "unreadable")
        job.locations.publish()
        self.assignment.kick(Kind.MAP)

    def _is_to_blame(self, job: RunningJob, source: Worker, lost: pb.LostInput) -> bool:
        """Says whether it is the map's worker that cannot be read from; if it is the reader, moves that."""
        if not 0 <= lost.reduce < job.spec.reduces:
            return False
        execution = job.state.tasks[Kind.REDUCE][lost.reduce].execution(lost.reader)
        if execution is None:
            return False  # nobody waits for it
        blame = job.unreadable.report(source, execution.worker, self._now())
        if blame is Blame.READER:
            link = self.workers.links[execution.worker]
            self._give_up(link, job.id, execution, f"cannot read from several workers, {lost.worker} is one")
        return blame is Blame.SOURCE

    def _reopened(self, job: RunningJob, number: int, link: Link, why: str) -> None:
        self._host.trace("reopened", job=job.id, kind=Kind.MAP.word, number=number, worker=link.name, why=why)

    def _withdraw(self, job: RunningJob, execution: Execution) -> None:
        """Ends an execution that is no longer wanted."""
        link = self.workers.links.get(execution.worker)
        if link is None:
            return
        self.assignment.note("withdrawn", job, execution)
        link.drop(job.id, execution, self._now())
        link.withdrawn.append(_task(job.id, execution))
        self.workers.send(link)
        self.assignment.fill(link)

    def _publish(self, job: RunningJob, *, at_once: bool) -> None:
        if at_once:
            job.locations.publish()
        elif not job.locations.due:
            job.locations.due = True
            asyncio.get_running_loop().call_later(self._locations_interval, job.locations.publish)

    # As time goes by

    async def tick(self) -> None:
        """Does, for ever, what only the passing of time calls for."""
        said, pause = self._now(), min(self._interval, LOOK_S)
        while True:
            await asyncio.sleep(pause)
            now = self._now()
            for kind in Kind:
                self.assignment.kick(kind)  # those that have rested
            for job in list(self.jobs.values()):
                if not job.ending and not job.spec.no_backups:
                    self.assignment.back_up(job, now)
            self._pardon()
            self._give_up_alone(now)
            if now - said > self._interval - pause / 2:
                said = now
                for job in self.jobs.values():
                    self._progress(job)

    def _give_up_alone(self, now: float) -> None:
        """Fails all jobs when there has been no worker for long: better than to wait for ever."""
        links = self.workers.links.values()
        if self.workers.usable or any(queue for link in links for queue in link.queue) or not self.jobs:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= self._limit:
            for job in list(self.jobs.values()):
                self._over(job, f"no worker left for {self._limit:g} s{self.workers.suspicion(job.id)}", None)

    def _progress(self, job: RunningJob) -> None:
        running = [task for tasks in job.state.running for task in tasks.values()]
        live = job.tally.live(running, map_only=job.map_only)
        self._host.trace(
            "progress",
            job=job.id,
            input_bytes=live.read,
            intermediate_bytes=live.mapped,
            shuffled_bytes=live.pulled,
            output_bytes=live.written,
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _task(job: str, execution: Execution) -> pb.Task:
    return pb.Task(
        job=job,
        kind=pb.Kind.Value(execution.kind.name),
        number=execution.number,
        attempt=execution.attempt,
    )


def _reach(report: pb.Report) -> tuple[float, int, int]:
    """Says how far an execution had come. It only goes forward: a report that says less is an older one.

    A registration and the answer to a ping may overtake each other.
    """
    return report.progress, report.input_bytes, report.output_bytes


def _registration(link: Link) -> bytes:
    return pb.Registration(
        worker=link.name,
        incarnation=link.id[1],
        map_slots=link.slots[0],
        reduce_slots=link.slots[1],
        rack=link.rack,
        leaving=link.leaving,
    ).SerializeToString()
