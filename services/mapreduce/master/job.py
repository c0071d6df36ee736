"""A job under way, put together: splits, state, locations, sums, and what is told of it (4.8)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from protos import mapreduce_pb2 as pb
from services.mapreduce.master.backups import Backups, Rule
from services.mapreduce.master.checkpoint import Completed, Submitted, Troubled, completed
from services.mapreduce.master.locality import Locality
from services.mapreduce.master.locations import Locations
from services.mapreduce.master.state import MAX_FAILURES, JobState, Kind, Worker
from services.mapreduce.master.tally import Tally
from services.mapreduce.master.unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.files.api import Range
    from services.mapreduce.master.locality import Racks
    from services.mapreduce.master.state import Execution, Task

AHEAD_S = 0.2
"""So much work waits at a worker beyond what it is executing, so that it never waits for the next task."""

MAX_AHEAD = 250
"""Tasks that wait at a worker at most."""

FAILURES_KEPT = 1_000
"""Failed executions that the status page can show."""


class FailedAttempt(Struct, frozen=True):
    """An execution that failed, for the status page (4.8)."""

    kind: Kind
    number: int
    attempt: int
    worker: Worker
    error: str
    log: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind.word} task {self.number}: {self.error}"


class RunningJob:
    """One job.

    Args:
        spec: what the user asked for.
        splits: the M splits.
        hosts: for each split, who holds a replica.
        racks: of these hosts.
        input_bytes: of all input files.
        first_attempt: the number of the first execution by this master.
        rule: when backups are started.
        began: seconds of the loop's clock, and of the wall clock.

    Attributes:
        state, locations, tally, backups, unreadable: its parts.
        records: by kind: the completion of each completed task, serialized, without its sizes.
        outcome: the last report, once the job is over.
        ending: all is done, or nothing more will be: no more tasks are given.
        over: set when there is an outcome.
        version: grows with each change.
    """

    def __init__(
        self,
        spec: pb.Job,
        splits: Sequence[tuple[Range, ...]],
        hosts: Sequence[tuple[str, ...]],
        racks: Racks,
        *,
        input_bytes: int,
        first_attempt: int,
        rule: Rule,
        began: tuple[float, float],
    ) -> None:
        self.spec = spec
        self.splits = splits
        self.near = Locality(hosts, racks)
        self.state = JobState(
            len(splits),
            spec.reduces,
            first_attempt=first_attempt,
            max_failures=spec.max_attempts or MAX_FAILURES,
            skip_bad_records=spec.skip_bad_records,
            near=self.near,
        )
        self.locations = Locations(len(splits), spec.reduces)
        self.tally = Tally()
        self.backups = Backups(self.state, rule)
        self.unreadable = Unreadable()
        self.records: tuple[list[bytes], list[bytes]] = ([b""] * len(splits), [b""] * spec.reduces)
        self.failures: list[FailedAttempt] = []
        self.failed_workers: dict[str, None] = {}
        self.input_bytes = input_bytes
        self.map_phase_s = 0.0
        self.outcome: pb.Progress | None = None
        self.ending = False
        self.over = asyncio.Event()
        self.version = 0
        self._began, self._began_wall = began

    @property
    def id(self) -> str:
        """Its name."""
        return self.spec.id

    @property
    def map_only(self) -> bool:
        """It has no reduce tasks: maps write final output."""
        return not self.spec.reduces

    # What happens to it

    def accept(
        self, completion: pb.Completion, now: float, *, replayed: bool = False
    ) -> tuple[Execution, ...] | None:
        """Takes the completion message of a task.

        Returns:
            The executions that have lost the race, or None when it is to be ignored.
        """
        kind = Kind(completion.kind)
        worker = (completion.worker, completion.incarnation)
        execution = self.state.tasks[kind][completion.number].execution(completion.attempt)
        others = self.state.complete(kind, completion.number, completion.attempt, worker, replayed=replayed)
        if others is None:
            return None
        if execution is not None:
            self.backups.completed(execution, now)
        self.tally.add(kind, completion, map_only=self.map_only)
        if kind is Kind.MAP:
            if not self.map_only:
                self.locations.add(completion.number, worker, completion.attempt, completion.region_sizes)
            if self.state.maps_done:
                self.backups.maps_done = now
                self.map_phase_s = now - self._began
        slim = pb.Completion()
        slim.CopyFrom(completion)
        slim.ClearField("region_sizes")
        self.records[kind][completion.number] = slim.SerializeToString()
        self.version += 1
        return others

    def worker_failed(self, worker: Worker) -> tuple[list[Task], list[Execution]]:
        """Resets what a failed worker did. Returns the maps that are lost, and the executions that died."""
        lost, died = self.state.worker_failed(worker)
        for task in lost:
            self._take_back(task.number)
        if lost or died:
            self.failed_workers[worker[0]] = None
        return lost, died

    def input_lost(self, number: int, attempt: int) -> bool:
        """Takes the report that a map's output cannot be read. Returns whether the map is executed again."""
        if not 0 <= number < len(self.splits) or not self.state.input_lost(number, attempt):
            return False
        self._take_back(number)
        return True

    def _take_back(self, number: int) -> None:
        self.locations.lose(number)
        record = pb.Completion.FromString(self.records[Kind.MAP][number])
        self.tally.add(Kind.MAP, record, map_only=False, sign=-1)
        self.records[Kind.MAP][number] = b""
        self.version += 1

    # What is told of it

    def task(self, execution: Execution) -> pb.Task:
        """Returns an execution as its worker is told of it."""
        task = self.state.tasks[execution.kind][execution.number]
        message = pb.Task(
            job=self.id,
            kind=pb.Kind.Value(execution.kind.name),
            number=execution.number,
            attempt=execution.attempt,
            skip=task.skip,
        )
        if execution.kind is Kind.MAP:
            message.split.extend(
                [pb.Piece(path=p.path, offset=p.offset, size=p.size) for p in self.splits[execution.number]]
            )
        else:
            message.maps = len(self.splits)
        return message

    def ahead(self, kind: Kind, slots: int, workers: int) -> int:
        """Returns how many tasks may wait at a worker: `AHEAD_S` of work, and no more than its share."""
        durations = self.backups.durations[kind]
        if not durations or (kind is Kind.REDUCE and not self.state.maps_done):
            return 0
        share = len(self.state.idle[kind]) // max(1, workers)
        return min(share, MAX_AHEAD, int(AHEAD_S * slots / max(durations.mean, 1e-4)))

    def progress(self, now: float, workers: int) -> pb.Progress:
        """Returns a report for the user."""
        if self.outcome is not None:
            return self.outcome
        state = self.state
        live = self.tally.live(
            [task for running in state.running for task in running.values()], map_only=self.map_only
        )
        return pb.Progress(
            job=self.id,
            maps=len(state.tasks[Kind.MAP]),
            maps_completed=state.completed(Kind.MAP),
            maps_running=len(state.running[Kind.MAP]),
            reduces=len(state.tasks[Kind.REDUCE]),
            reduces_completed=state.completed(Kind.REDUCE),
            reduces_running=len(state.running[Kind.REDUCE]),
            executions=state.executions,
            backups=state.backups,
            workers=workers,
            failed_workers=list(self.failed_workers),
            counters=pb.Counters(values=live.counters),
            input_bytes=live.read,
            total_input_bytes=self.input_bytes,
            intermediate_bytes=live.mapped,
            output_bytes=live.written,
            elapsed_s=now - self._began,
            map_phase_s=self.map_phase_s,
            trouble=str(self.failures[-1]) if self.failures else "",
        )

    def skipped(self) -> list[pb.BadRecord]:
        """Returns the records that were left out of what is completed (4.6).

        Completions say so: a master that died may not have written down what was to be left out.
        """
        if not self.spec.skip_bad_records:
            return []
        return [
            bad
            for records in self.records
            for record in records
            if record
            for bad in pb.Completion.FromString(record).skipped
        ]

    # What a restarted master must know of it

    def submitted(self) -> Submitted:
        """Returns the record of its beginning."""
        splits = [tuple((p.path, p.offset, p.size) for p in split) for split in self.splits]
        return Submitted(self.spec.SerializeToString(), splits, self.input_bytes, self._began_wall)

    def troubled(self, task: Task) -> Troubled:
        """Returns the record of what has gone wrong with a task."""
        return Troubled(
            self.id,
            task.kind,
            task.number,
            task.failures,
            task.mishaps,
            task.reports,
            task.skip,
            task.shunned,
        )

    def snapshot(self) -> Iterator[Submitted | Troubled | Completed]:
        """Yields the records that lead to its present state."""
        yield self.submitted()
        for kind in Kind:
            for task, record in zip(self.state.tasks[kind], self.records[kind], strict=True):
                if task.shunned or task.failures or task.mishaps or task.reports:
                    yield self.troubled(task)
                if record:
                    if kind is Kind.MAP and not self.map_only:
                        whole = pb.Completion.FromString(record)
                        whole.region_sizes = self.locations.sizes(task.number)
                        record = whole.SerializeToString()
                    yield completed(record)
