"""Who is given which task (3.1 step 2), the first execution or a backup (3.6).

A worker gets as many tasks of a kind as it has slots, and of small tasks some more, which wait there, so
that it never waits for the next one. Workers with free slots for which there was nothing are remembered:
they are the ones to ask when there is work again.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from services.mapreduce.master.locality import Near
from services.mapreduce.master.state import Kind, State

if TYPE_CHECKING:
    from services.host import Host
    from services.mapreduce.master.job import RunningJob
    from services.mapreduce.master.state import Execution, Task
    from services.mapreduce.master.workers import Link, Workers


class Assignment:
    """Gives tasks of all jobs to all workers.

    Args:
        host: the master's door.
        workers: who is there.
        jobs: those under way, by id; the first one comes first.

    Attributes:
        holding: a restarted master gives no tasks until it knows what its workers are executing.
    """

    def __init__(self, host: Host, workers: Workers, jobs: dict[str, RunningJob]) -> None:
        self.holding = False
        self._host = host
        self._workers = workers
        self._jobs = jobs
        self._hungry: tuple[dict[Link, None], dict[Link, None]] = ({}, {})  # have free slots of that kind

    def fill(self, link: Link, at_most: Near = Near.ANY) -> None:
        """Gives a worker as much as it can take.

        Args:
            link: the worker.
            at_most: maps whose input lies farther away are left to others.
        """
        now = asyncio.get_running_loop().time()
        if self.holding or not link.usable:
            return
        if now < link.rests_until:
            self._hungry[0][link] = self._hungry[1][link] = None
            return
        for kind in Kind:
            first = True
            while self._give_one(link, kind, now, first, at_most):
                first = False
            if len(link.queue[kind]) < link.slots[kind]:
                self._hungry[kind][link] = None
            else:
                self._hungry[kind].pop(link, None)

    def kick(self, kind: Kind) -> None:
        """Work of a kind may have become available: those with free slots get it, the nearest first (3.4)."""
        hungry = self._hungry[kind]
        if kind is Kind.MAP:
            by_name = {link.name: link for link in hungry}
            for job in self._jobs.values():
                if len(job.state.idle[kind]) < len(by_name):  # else there is something for each of them
                    for number in list(job.state.idle[kind]):
                        for name in job.near.hosts[number]:
                            if name in by_name and number in job.state.idle[kind]:
                                self.fill(by_name[name], Near.HOST)
        for at_most in (Near.RACK, Near.ANY) if kind is Kind.MAP else (Near.ANY,):
            for link in list(hungry):
                if not any(job.state.available(kind) for job in self._jobs.values() if not job.ending):
                    return
                self.fill(link, at_most)

    def drop(self, link: Link) -> None:
        """Forgets a worker that has failed."""
        for hungry in self._hungry:
            hungry.pop(link, None)

    def back_up(self, job: RunningJob, now: float) -> None:
        """Starts the backup executions that a job deserves, on workers with free slots (3.6)."""
        for kind in Kind:
            free = [link for link in self._hungry[kind] if link.usable and now >= link.rests_until]
            if not free:
                continue
            for task in job.backups.candidates(kind, now):
                fit = [link for link in free if _suits(link, task)]
                if not fit:
                    continue
                near = job.near.hosts[task.number] if kind is Kind.MAP else ()
                link = next((link for link in fit if link.name in near), fit[0])  # 3.4 holds for backups too
                self._give(job, job.backups.begin(task, link.id, now), link, now)
                if len(link.queue[kind]) >= link.slots[kind]:
                    free.remove(link)
                    self._hungry[kind].pop(link, None)

    def note(self, name: str, job: RunningJob, execution: Execution, **fields: object) -> None:
        """Writes a note about an execution to the trace."""
        self._host.trace(
            name,
            job=job.id,
            kind=execution.kind.word,
            number=execution.number,
            attempt=execution.attempt,
            worker=execution.worker[0],
            backup=execution.backup,
            **fields,
        )

    def _give_one(self, link: Link, kind: Kind, now: float, first: bool, at_most: Near) -> bool:
        waiting = len(link.queue[kind]) - link.slots[kind]
        for job in self._jobs.values():
            if job.ending or not job.state.available(kind):
                continue
            if waiting >= 0:
                # What waits is topped up when half of it is gone: many tasks go in one call.
                ahead = job.ahead(kind, link.slots[kind], self._workers.usable)
                if waiting >= ((ahead + 1) // 2 if first else ahead):
                    continue
            execution = job.state.take(kind, link.id, self._workers.usable, now, at_most)
            if execution is not None:
                self._give(job, execution, link, now)
                return True
        return False

    def _give(self, job: RunningJob, execution: Execution, link: Link, now: float) -> None:
        execution.started = math.inf
        link.put(job.id, execution)
        link.turns(execution.kind, now)
        link.tasks.append(job.task(execution))
        self._workers.send(link)
        fields = {} if execution.near is None else {"near": execution.near.word}
        self.note("assigned", job, execution, **fields)
        job.version += 1


def _suits(link: Link, task: Task) -> bool:
    assert task.state is State.IN_PROGRESS
    return link.id not in task.shunned and all(e.worker != link.id for e in task.executions)
