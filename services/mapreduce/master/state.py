"""The master's data structures and rules (3.2, 3.3, 4.6), without any I/O.

For each map and reduce task the master stores its state (idle, in-progress or completed) and the identity
of the worker machine. Inputs are method calls (a worker is free, a task was completed, a worker failed, an
input was lost), outputs are return values; the other modules carry them over the network.

Invariants, asserted where they could break:

- idle -> in-progress -> completed; back to idle from in-progress when no execution is left, and from
  completed only for a *map* task whose output was on a failed worker's disk, or could not be read there
  (3.3);
- a task is completed by exactly one execution: later completions are ignored (3.3);
- a record is left out only after two reports of it, and only where the user asked for it (4.6).

Each decision costs O(1), and a worker's failure as much as it had done: a job of 200,000 maps on 2,000
workers (3.5) has no step that looks at all tasks. What a task costs in memory is in `Task`; the bytes per
pair of map and reduce are in `locations`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from protos import mapreduce_pb2 as pb
from services.mapreduce.master.locality import Near

if TYPE_CHECKING:
    from services.mapreduce.master.locality import Locality

Worker: TypeAlias = tuple[str, int]
"""A worker's name and incarnation: restarted, it is another worker, with nothing on its disk."""

MAX_FAILURES = 4
"""Failures of a task before its job is given up, unless the job says otherwise."""

MAX_MISHAPS = 12
"""Executions of a task that the *machine* failed (disk, memory, network) before its job is given up."""

MAX_SKIPPED = 100
"""Bad records of one task that are left out (4.6): beyond, it is not the data that is bad."""

REPORTS = 2
"""Reports of a bad record before it is left out ("more than one failure", 4.6)."""


class State(Enum):
    """The states of a task (3.2)."""

    IDLE = "idle"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"


class Kind(IntEnum):
    """The kinds of task; the numbers are those on the wire."""

    MAP = 0
    REDUCE = 1

    @property
    def word(self) -> str:
        """What people call it."""
        return WORDS[self]


WORDS = ("map", "reduce")


class JobFailed(Exception):
    """The job cannot be completed; says which task, and why, in one line."""


class Execution(Struct, eq=False):
    """One attempt at a task, under way.

    Attributes:
        started: seconds of the loop's clock; infinite while it was sent ahead and its turn has not come.
        backup: a second execution of a task that is slow (3.6).
        near: of a map task: where its input lies.
        report: what the worker last said of it (`protos.mapreduce.Report`).
    """

    kind: Kind
    number: int
    attempt: int
    worker: Worker
    started: float
    backup: bool = False
    near: Near | None = None
    report: pb.Report | None = None


class Task(Struct, eq=False):
    """One of the M + R tasks; without anything that only few tasks need, it costs about 120 bytes.

    Attributes:
        executions: under way.
        worker, attempt: whose execution completed it.
        shunned: workers that it failed on, or from which its output could not be read: not asked again while
            there is another.
        failures: attempts that failed by user code or input.
        mishaps: attempts that failed by the machine they ran on.
        reports: bad records, once for each report.
        skip: records that are left out from now on.
    """

    kind: Kind
    number: int
    state: State = State.IDLE
    executions: tuple[Execution, ...] = ()
    worker: Worker | None = None
    attempt: int = -1
    shunned: tuple[Worker, ...] = ()
    failures: int = 0
    mishaps: int = 0
    reports: tuple[int, ...] = ()
    skip: tuple[int, ...] = ()

    def execution(self, attempt: int) -> Execution | None:
        """Returns the execution under way of that number."""
        for execution in self.executions:
            if execution.attempt == attempt:
                return execution
        return None

    def __str__(self) -> str:
        return f"{self.kind.word} task {self.number}"


class JobState:
    """A job as its master sees it.

    Args:
        maps: M, the number of map tasks.
        reduces: R, the number of reduce tasks; 0 is a map-only job, whose maps write final output.
        first_attempt: executions are numbered from here; a restarted master goes on above.
        max_failures: of one task before the job is given up.
        skip_bad_records: 4.6.
        near: where the inputs of the maps lie; None: nobody knows.

    Attributes:
        tasks: by kind and number.
        idle, running: by kind: tasks by number, in the order in which they are to be taken, and were.
        executions: how many were started.
        backups: how many of these were backups.
    """

    def __init__(
        self,
        maps: int,
        reduces: int,
        *,
        first_attempt: int = 1,
        max_failures: int = MAX_FAILURES,
        skip_bad_records: bool = False,
        near: Locality | None = None,
    ) -> None:
        self.tasks = tuple(
            [Task(kind, n) for n in range(count)] for kind, count in zip(Kind, (maps, reduces), strict=False)
        )
        self.idle: tuple[dict[int, Task], dict[int, Task]]
        self.idle = tuple({task.number: task for task in tasks} for tasks in self.tasks)  # type: ignore[assignment]
        self.running: tuple[dict[int, Task], dict[int, Task]] = ({}, {})
        self.executions = 0
        self.backups = 0
        self.first_attempt = first_attempt
        self._next = first_attempt
        self._max_failures = max_failures
        self._skip = skip_bad_records
        self._near = near
        self._executing: dict[Worker, dict[int, Task]] = {}  # by attempt
        self._held: dict[
            Worker, dict[int, Task]
        ] = {}  # by number: completed maps, whose output is on its disk

    def completed(self, kind: Kind) -> int:
        """Returns how many tasks of a kind are completed."""
        return len(self.tasks[kind]) - len(self.idle[kind]) - len(self.running[kind])

    @property
    def done(self) -> bool:
        """All M + R tasks are completed (3.1 step 7)."""
        return not (self.idle[0] or self.idle[1] or self.running[0] or self.running[1])

    @property
    def maps_done(self) -> bool:
        """All M map tasks are completed, now."""
        return not (self.idle[Kind.MAP] or self.running[Kind.MAP])

    def available(self, kind: Kind) -> bool:
        """Says whether there is an idle task that may be executed now."""
        if kind is Kind.REDUCE and not self.completed(Kind.MAP) and self.tasks[Kind.MAP]:
            return False  # shuffling starts as soon as the first map task is done (5.3)
        return bool(self.idle[kind])

    # Executions begin

    def take(
        self, kind: Kind, worker: Worker, workers: int, now: float, at_most: Near = Near.ANY
    ) -> Execution | None:
        """Picks an idle task for a worker with a free slot, and begins an execution of it.

        Args:
            kind: of the free slot.
            worker: who asks.
            workers: how many there are that could.
            now: seconds.
            at_most: of maps whose input's place is known: no farther away than that.

        Returns:
            None when there is nothing for this worker.
        """
        if not self.available(kind):
            return None

        def fits(number: int) -> bool:
            shunned = self.tasks[kind][number].shunned
            return worker not in shunned or len(shunned) >= workers

        if kind is Kind.MAP and self._near is not None:
            picked = self._near.take(worker[0], self.idle[kind], fits, at_most)
            if picked is None:
                return None
            execution = self.begin(self.tasks[kind][picked[0]], worker, now)
            execution.near = picked[1]
            return execution
        for number, task in self.idle[kind].items():
            if fits(number):
                return self.begin(task, worker, now)
        return None

    def begin(self, task: Task, worker: Worker, now: float, *, backup: bool = False) -> Execution:
        """Begins an execution of a task that is not completed."""
        attempt, self._next = self._next, self._next + 1
        self.executions += 1
        self.backups += backup
        return self._begin(task, Execution(task.kind, task.number, attempt, worker, now, backup))

    def adopt(self, kind: Kind, number: int, attempt: int, worker: Worker, now: float) -> Execution | None:
        """Takes over an execution that a worker says it has under way: begun by this master before a restart.

        Returns:
            None when it is of no use: its task is completed, or under way already.
        """
        task = self.tasks[kind][number]
        if task.state is not State.IDLE:
            return None
        self.executions += 1
        return self._begin(task, Execution(kind, number, attempt, worker, now))

    def _begin(self, task: Task, execution: Execution) -> Execution:
        assert task.state is not State.COMPLETED
        task.executions += (execution,)
        self._executing.setdefault(execution.worker, {})[execution.attempt] = task
        if task.state is State.IDLE:
            self._move(task, State.IN_PROGRESS)
        return execution

    # Executions end

    def complete(
        self, kind: Kind, number: int, attempt: int, worker: Worker, *, replayed: bool = False
    ) -> tuple[Execution, ...] | None:
        """Takes a completion message (3.3).

        Args:
            kind, number, attempt, worker: of the execution.
            replayed: it comes from the journal: it was accepted before.

        Returns:
            The other executions of the task, which have lost the race; None when the message is to be
            ignored. It is
            when the task is completed already, and when the execution is one that the master has given up:
                its
            worker failed, and with it the regions on its disk. An execution begun before the master's restart
            is welcome, unless its output is known to be unreadable.
        """
        task = self.tasks[kind][number]
        if task.state is State.COMPLETED:
            return None
        execution = task.execution(attempt)
        if execution is None:
            if not replayed and (attempt >= self.first_attempt or worker in task.shunned):
                return None
            self.executions += 1
        elif execution.worker != worker:
            return None
        others = tuple(other for other in task.executions if other is not execution)
        for ended in task.executions:
            self._forget(ended)
        task.executions = ()
        self._move(task, State.COMPLETED)
        task.worker, task.attempt = worker, attempt
        if kind is Kind.MAP and self.tasks[Kind.REDUCE]:
            self._held.setdefault(worker, {})[number] = task
        return others

    def fail(
        self, kind: Kind, number: int, attempt: int, error: str, *, record: int = -1, mishap: bool = False
    ) -> bool:
        """Takes the report that an execution failed.

        Args:
            kind, number, attempt: which.
            error: why, in one line.
            record: on which record, if that is known.
            mishap: it was the machine's fault, not that of user code or input.

        Returns:
            False when it is to be ignored, like that of an execution that was given up.

        Raises:
            JobFailed: this task has failed too often.
        """
        task = self.tasks[kind][number]
        execution = task.execution(attempt)
        if execution is None:
            return False
        self._end(task, execution)
        self.count_failure(task, execution.worker, error, record=record, mishap=mishap)
        return True

    def count_failure(
        self, task: Task, worker: Worker, error: str, *, record: int = -1, mishap: bool = False
    ) -> None:
        """Remembers that an execution failed.

        Raises:
            JobFailed: this task has failed too often.
        """
        if worker not in task.shunned:
            task.shunned += (worker,)
        if mishap:
            task.mishaps += 1
            if task.mishaps >= MAX_MISHAPS:
                raise JobFailed(
                    f"{task} could not be executed by the workers it was given to, {task.mishaps} times; "
                    f"the last time: {error}"
                )
            return
        if self._skip and record >= 0 and record not in task.skip:
            task.reports += (record,)
            if task.reports.count(record) < REPORTS:
                return
            if len(task.skip) >= MAX_SKIPPED:
                raise JobFailed(f"{task} has more than {MAX_SKIPPED} bad records; the last: {error}")
            task.skip = tuple(sorted((*task.skip, record)))
            return
        task.failures += 1
        if task.failures >= self._max_failures:
            times = "once" if task.failures == 1 else f"{task.failures} times; the last time"
            raise JobFailed(f"{task} failed {times}: {error}")

    def worker_failed(self, worker: Worker) -> tuple[list[Task], list[Execution]]:
        """Resets what a failed worker did (3.3).

        In-progress tasks of either kind become idle, and so do its completed map tasks, for their output is
        on its disk; completed reduce tasks stay, for theirs is in the global file system.

        Returns:
            The map tasks whose output is lost, and the executions that died.
        """
        died = []
        for attempt, task in self._executing.pop(worker, {}).items():
            execution = task.execution(attempt)
            assert execution is not None
            died.append(execution)
            self._end(task, execution)
        lost = list(self._held.pop(worker, {}).values())
        for task in lost:
            self._reopen(task)
        return lost, died

    def input_lost(self, number: int, attempt: int) -> bool:
        """Takes a reduce worker's report that it cannot read the output of a map task's execution.

        Returns:
            Whether the task is executed again; False when its output has moved already.
        """
        task = self.tasks[Kind.MAP][number]
        if task.state is not State.COMPLETED or task.attempt != attempt:
            return False
        assert task.worker is not None
        del self._held[task.worker][number]
        if task.worker not in task.shunned:
            task.shunned += (task.worker,)
        self._reopen(task)
        return True

    def executing(self, worker: Worker) -> dict[int, Task]:
        """Returns a worker's executions under way, by attempt: the task of each. Not to be changed."""
        return self._executing.get(worker, {})

    def _end(self, task: Task, execution: Execution) -> None:
        self._forget(execution)
        task.executions = tuple(other for other in task.executions if other is not execution)
        if not task.executions:
            self._move(task, State.IDLE)

    def _forget(self, execution: Execution) -> None:
        mine = self._executing.get(execution.worker, {})
        mine.pop(execution.attempt, None)
        if not mine:
            self._executing.pop(execution.worker, None)

    def _reopen(self, task: Task) -> None:
        assert task.kind is Kind.MAP, "a completed reduce task never goes back (3.3)"
        assert self.tasks[Kind.REDUCE], "the output of a map-only job is in the global file system"
        task.worker, task.attempt = None, -1
        self._move(task, State.IDLE)

    def _move(self, task: Task, state: State) -> None:
        if task.state is State.IDLE:
            del self.idle[task.kind][task.number]
        elif task.state is State.IN_PROGRESS:
            del self.running[task.kind][task.number]
        if state is State.IDLE:
            self.idle[task.kind][task.number] = task
            if task.kind is Kind.MAP and self._near is not None:
                self._near.back(task.number)
        elif state is State.IN_PROGRESS:
            self.running[task.kind][task.number] = task
        task.state = state
