"""A restarted master goes on where the journal ends (3.3, "master failure").

The records lead to the state that was durable. Workers that were there are pinged at once: they see that
the master is a new one, and register with what they are executing, which is taken over. Until each has
registered or is silent for too long, no tasks are given; one that is silent has failed, with all that it
held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos import mapreduce_pb2 as pb
from services.files.api import Range
from services.mapreduce.master.checkpoint import (
    Claimed,
    Completed,
    Failed,
    Joined,
    Lost,
    Over,
    Submitted,
    Troubled,
    completion_in,
)
from services.mapreduce.master.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.host import Host
    from services.mapreduce.master.checkpoint import Record
    from services.mapreduce.master.job import RunningJob
    from services.mapreduce.master.service import Master


class Recovery:
    """Builds a master's state from records."""

    def __init__(self, master: Master, host: Host) -> None:
        self._master = master
        self._host = host
        self._jobs: dict[str, RunningJob] = {}
        self._workers: dict[tuple[str, int], pb.Registration] = {}

    async def run(self, records: Iterable[Record]) -> None:
        """Replays the records, and begins what was under way again."""
        for record in records:
            await self._replay(record)
        scheduler = self._master.scheduler
        for registration in self._workers.values():
            scheduler.workers.register(registration, ready=False)
            scheduler.racks.learn(registration.worker, registration.rack)
        scheduler.assignment.holding = bool(self._workers and self._jobs)
        for job in self._jobs.values():
            for host in scheduler.racks.of:
                job.near.learn(host)
            if not job.state.done:
                for task in list(job.state.tasks[Kind.MAP]):
                    if task.worker is not None and task.worker not in self._workers:
                        job.worker_failed(task.worker)
            job.locations.publish()
            self._host.trace(
                "job started",
                job=job.id,
                title=job.spec.code.title,
                maps=len(job.splits),
                reduces=job.spec.reduces,
                input_bytes=job.input_bytes,
                output=job.spec.output,
                recovered=True,
            )
            scheduler.begin(job)

    async def _replay(self, record: Record) -> None:
        match record:
            case Claimed(job, output):
                self._master.claims[job] = output
            case Submitted(spec, splits, input_bytes, began):
                job_spec = pb.Job.FromString(spec)
                self._master.claims.pop(job_spec.id, None)
                ranges = [tuple(Range(*piece) for piece in split) for split in splits]
                self._jobs[job_spec.id] = await self._master.new_job(job_spec, ranges, input_bytes, began)
            case Completed():
                completion = pb.Completion.FromString(completion_in(record))
                if completion.job in self._jobs:
                    self._jobs[completion.job].accept(completion, 0.0, replayed=True)
            case Troubled(job=name) if name in self._jobs:
                task = self._jobs[name].state.tasks[record.kind][record.number]
                task.failures, task.mishaps = record.failures, record.mishaps
                task.reports, task.skip = record.reports, record.skip
                task.shunned = record.shunned
            case Lost(name, number, attempt) if name in self._jobs:
                self._jobs[name].input_lost(number, attempt)
            case Joined(registration):
                said = pb.Registration.FromString(registration)
                self._workers[said.worker, said.incarnation] = said
            case Failed(worker, incarnation):
                self._workers.pop((worker, incarnation), None)
                for running in self._jobs.values():
                    if not running.state.done:
                        running.worker_failed((worker, incarnation))
            case Over(progress):
                outcome = pb.Progress.FromString(progress)
                self._jobs.pop(outcome.job, None)
                self._master.outcomes[outcome.job] = outcome
