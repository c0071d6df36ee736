"""Backup executions near the end of a job (3.6): which task is slow enough for one.

The paper says when ("close to completion") and not how. The rule here:

- no task of that kind is idle, and (for reduces) all maps are completed: a backup never takes the place of
  a task's first execution;
- the task has one execution, on another worker, and it has run longer than `slow` times the median of the
  completed ones, and longer than `least_s`;
- at the rate of progress that it reports, it needs longer still than a new execution would take (the median):
  otherwise the backup would come second. An execution that reports no progress is taken to need for ever;
- of several, the one that needs longest comes first (LATE's rule);
- a job starts no more than `share` of its tasks of a kind as backups, or `least` where that is more: "a few
  per cent".

Measured (20 simulated workers with two slots, 200 maps of 4 s and 40 reduces, mean of 3 seeds): nobody
slow, 30 s either way and 0.1 % backups; one worker 10 times slower, 95 s without and 35 s with 2.4 %
backups; two, 110 s and 36 s with 3.6 %; one 100 times slower, 954 s and 35 s with 2.4 %; four 5 times
slower, 67 s and 57 s with 5.6 %: there the cap ends it.

With `rest` the rule is 3.6 in its own words: "when a MapReduce operation is close to completion, the master
schedules backup executions of the remaining in-progress tasks". Close is when these, but for those that
have a backup, are no more than the job may still start backups of that kind; then each gets one, after
`least_s`, and before that none does.

Where fewer than half of the tasks of a kind are completed there is no median worth the name, and no backup.
"""

from __future__ import annotations

import math
import statistics
from array import array
from typing import TYPE_CHECKING

from msgspec import Struct

from services.mapreduce.master.state import Kind, State

if TYPE_CHECKING:
    from services.mapreduce.master.state import Execution, JobState, Task, Worker


class Rule(Struct, frozen=True):
    """When a backup is started; see the module."""

    slow: float = 1.5
    least_s: float = 1.0
    share: float = 0.05
    least: int = 5
    rest: bool = False

    def cap(self, tasks: int) -> int:
        """Returns how many backups a job with so many tasks of a kind may start."""
        return max(self.least, math.ceil(self.share * tasks))


class Durations:
    """How long executions of one kind have taken.

    Attributes:
        mean: of the last few dozen, in seconds; 0.0 before the first.
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self._all = array("f")
        self._median = 0.0
        self._counted = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, seconds: float) -> None:
        """Takes one more."""
        self._all.append(seconds)
        self.mean += (seconds - self.mean) / min(len(self._all), 64)

    def median(self) -> float:
        """Returns the median; counted anew when there are a twentieth more."""
        if len(self._all) > 1.05 * self._counted:
            self._median = statistics.median(self._all)
            self._counted = len(self._all)
        return self._median


class Backups:
    """The backups of one job.

    Attributes:
        started: by kind.
        durations: by kind, of the executions that completed tasks.
        maps_done: when the last map was completed; reduces are timed from then on, for until then they wait.
    """

    def __init__(self, state: JobState, rule: Rule) -> None:
        self.started = [0, 0]
        self.durations = (Durations(), Durations())
        self.maps_done = 0.0
        self._state = state
        self._rule = rule

    def since(self, execution: Execution) -> float:
        """Returns when an execution began to be timed."""
        if execution.kind is Kind.REDUCE:
            return max(execution.started, self.maps_done)
        return execution.started

    def completed(self, execution: Execution, now: float) -> None:
        """Takes the time of an execution that has completed its task."""
        self.durations[execution.kind].add(max(0.0, now - self.since(execution)))

    def candidates(self, kind: Kind, now: float) -> list[Task]:
        """Returns the tasks that deserve a backup, the slowest first."""
        state, rule, durations = self._state, self._rule, self.durations[kind]
        left = rule.cap(len(state.tasks[kind])) - self.started[kind]
        if left <= 0 or state.idle[kind] or not state.running[kind]:
            return []
        if kind is Kind.REDUCE and not state.maps_done:
            return []
        if 2 * state.completed(kind) < len(state.tasks[kind]):
            return []
        median = durations.median()
        alone = [task for task in state.running[kind].values() if len(task.executions) == 1]
        if rule.rest and len(alone) > left:
            return []
        slow = []
        for task in alone:
            elapsed = now - self.since(task.executions[0])
            remaining = _remaining(task.executions[0], elapsed)
            late = elapsed > rule.slow * median and remaining > median
            if elapsed > rule.least_s and (late or rule.rest):
                slow.append((remaining, task))
        slow.sort(key=lambda pair: (-pair[0], pair[1].number))
        return [task for _, task in slow[:left]]

    def begin(self, task: Task, worker: Worker, now: float) -> Execution:
        """Begins a backup execution."""
        assert not self._state.idle[task.kind], "a backup before the job was close to completion (3.6)"
        assert task.state is State.IN_PROGRESS
        assert all(execution.worker != worker for execution in task.executions)
        self.started[task.kind] += 1
        assert self.started[task.kind] <= self._rule.cap(len(self._state.tasks[task.kind]))
        return self._state.begin(task, worker, now, backup=True)


def _remaining(execution: Execution, elapsed: float) -> float:
    progress = execution.report.progress if execution.report is not None else 0.0
    return elapsed * (1 - progress) / progress if progress > 0 else math.inf
