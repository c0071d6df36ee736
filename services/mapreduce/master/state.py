"""The master's data structures and rules (MapReduce 3.2, 3.3, 3.6), without any I/O.

For each map and reduce task the master stores its state (idle, in-progress or completed) and the
identity of the worker machine; for each completed map task also where its R regions are and how
large. Inputs are method calls (a worker is idle, a task was completed, a worker failed, an input
was lost), outputs are return values; `services.mapreduce.master` carries them over the network.

Invariants, asserted where they could break:

- idle -> in-progress -> completed; back to idle from in-progress when the worker failed, and from
  completed only for a *map* task whose output was on a failed worker's disk (3.3);
- a task is completed by exactly one execution: later completions are ignored (3.3);
- a completed map task has one location, on a worker that has not failed;
- backup executions start only when no task of that kind is idle (3.6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

Worker: TypeAlias = tuple[str, int]
"""A worker's name and incarnation: restarted, it is another worker, with nothing on its disk."""


class State(Enum):
    """The states of a task (3.2)."""

    IDLE = "idle"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"


class Kind(Enum):
    """The kinds of task."""

    MAP = "map"
    REDUCE = "reduce"


@dataclass(eq=False)
class Task:
    """One of the M + R tasks.

    Attributes:
        executions: the attempts now under way, by attempt number, and the worker of each.
        worker, attempt: whose execution completed it.
        region_bytes: sizes of the R regions of a completed map task.
        shunned: workers that others could not read this task's output from: not asked again
            while there is another.
        failures: attempts that ended with an error of the user's code.
    """

    kind: Kind
    number: int
    state: State = State.IDLE
    executions: dict[int, Worker] = field(default_factory=dict)
    worker: Worker | None = None
    attempt: int = -1
    region_bytes: list[int] = field(default_factory=list)
    shunned: dict[Worker, None] = field(default_factory=dict)
    failures: int = 0


class JobFailed(Exception):
    """The job cannot be completed; says which task, and why."""


class JobState:
    """A job as its master sees it.

    Args:
        maps: M, the number of map tasks.
        reduces: R, the number of reduce tasks.
        max_failures: errors of the user's code in one task before the job is given up.
        backups: start backup executions near the end (3.6).
    """

    def __init__(self, maps: int, reduces: int, *, max_failures: int = 4, backups: bool = True) -> None:
        self.maps = [Task(Kind.MAP, number) for number in range(maps)]
        self.reduces = [Task(Kind.REDUCE, number) for number in range(reduces)]
        self.executions = 0
        self._max_failures = max_failures
        self._backups = backups
        # Tasks by state, in order of number or of return: decisions cost O(1), not O(M + R) (3.5).
        self._idle = {kind: {task.number: task for task in self.tasks(kind)} for kind in Kind}
        self._in_progress: dict[Kind, dict[int, Task]] = {kind: {} for kind in Kind}

    def tasks(self, kind: Kind) -> list[Task]:
        """Returns the tasks of a kind."""
        return self.maps if kind is Kind.MAP else self.reduces

    def completed(self, kind: Kind) -> int:
        """Returns how many tasks of a kind are completed."""
        return len(self.tasks(kind)) - len(self._idle[kind]) - len(self._in_progress[kind])

    @property
    def done(self) -> bool:
        """All M + R tasks are completed (3.1 step 7)."""
        return not any((*self._idle.values(), *self._in_progress.values()))

    def next_task(self, kind: Kind, worker: Worker, workers: int) -> tuple[Task, int] | None:
        """Picks a task for a worker with a free slot of that kind, and starts an execution of it.

        Args:
            kind: of the free slot.
            worker: who asks.
            workers: how many there are.

        Returns:
            The task and the number of the attempt, or None when there is nothing for this worker.
        """
        if kind is Kind.REDUCE and not self._shuffle_can_begin():
            return None
        for task in self._idle[kind].values():
            # Others could not read this task's output from a worker that it shuns: last resort.
            if worker not in task.shunned or len(task.shunned) >= workers:
                return self._execute(task, worker)
        if (
            self._backups
            and not self._idle[kind]
            and not (kind is Kind.REDUCE and self._unfinished(Kind.MAP))
        ):
            # 3.6: near completion, the master schedules backup executions of the in-progress tasks.
            for task in self._in_progress[kind].values():
                if len(task.executions) == 1 and worker not in task.executions.values():
                    return self._execute(task, worker)
        return None

    def _unfinished(self, kind: Kind) -> bool:
        return bool(self._idle[kind] or self._in_progress[kind])

    def _shuffle_can_begin(self) -> bool:
        # Shuffling starts as soon as the first map task is done (5.3); a reduce worker waits for the rest.
        return self.completed(Kind.MAP) > 0 or not self.maps

    def _execute(self, task: Task, worker: Worker) -> tuple[Task, int]:
        assert task.state is not State.COMPLETED
        attempt = self.executions  # unique in the job, and growing: the smallest is the oldest
        self.executions += 1
        self._move(task, State.IN_PROGRESS)
        task.executions[attempt] = worker
        return task, attempt

    def complete(self, kind: Kind, number: int, attempt: int, worker: Worker, regions: list[int]) -> bool:
        """Takes a completion message. Returns False when it is to be ignored (3.3).

        It is ignored when the task is completed already, and when the execution is one that the
        master has given up: its worker failed, and with it the regions on its disk.
        """
        task = self.tasks(kind)[number]
        if task.state is State.COMPLETED or task.executions.get(attempt) != worker:
            return False
        self._move(task, State.COMPLETED)
        task.worker, task.attempt, task.region_bytes = worker, attempt, regions
        task.executions.clear()
        task.shunned.clear()
        return True

    def attempt_failed(self, kind: Kind, number: int, attempt: int, error: str) -> None:
        """Takes the report that the user's code failed in an attempt.

        Raises:
            JobFailed: this task has failed too often.
        """
        task = self.tasks(kind)[number]
        if self.give_up(task, attempt):
            task.failures += 1
            if task.failures >= self._max_failures:
                raise JobFailed(
                    f"{kind.value} task {number} failed {task.failures} times; the last time: {error}"
                )

    def give_up(self, task: Task, attempt: int) -> bool:
        """Forgets one execution (its worker could not be reached); False when it was not under way."""
        if task.executions.pop(attempt, None) is None:
            return False
        if not task.executions and task.state is State.IN_PROGRESS:
            self._move(task, State.IDLE)
        return True

    def worker_failed(self, worker: Worker) -> list[Task]:
        """Resets what a failed worker did (3.3). Returns the map tasks whose output is lost.

        In-progress tasks of either kind become idle, and so do its completed map tasks, for their
        output is on its disk; completed reduce tasks stay, for theirs is in the global file system.
        """
        lost = []
        for task in (*self.maps, *self.reduces):
            for attempt in [a for a, w in task.executions.items() if w == worker]:
                self.give_up(task, attempt)
            if task.kind is Kind.MAP and task.state is State.COMPLETED and task.worker == worker:
                self._reopen(task)
                lost.append(task)
        return lost

    def input_lost(self, number: int, attempt: int) -> bool:
        """Takes a reduce worker's report that it cannot read the output of a map task's execution.

        Returns:
            Whether the task is executed again; False when its output has moved already.
        """
        task = self.maps[number]
        if task.state is not State.COMPLETED or task.attempt != attempt:
            return False
        assert task.worker is not None
        task.shunned[task.worker] = None
        self._reopen(task)
        return True

    def _reopen(self, task: Task) -> None:
        assert task.kind is Kind.MAP, "a completed reduce task never goes back (3.3)"
        self._move(task, State.IDLE)
        task.worker, task.attempt, task.region_bytes = None, -1, []

    def _move(self, task: Task, state: State) -> None:
        for tasks in (self._idle, self._in_progress):
            tasks[task.kind].pop(task.number, None)
        if state is State.IDLE:
            self._idle[task.kind][task.number] = task
        elif state is State.IN_PROGRESS:
            self._in_progress[task.kind][task.number] = task
        task.state = state
