"""What a run of the paper's size keeps of its trace, and what its invariants rest on.

A quarter of a million messages say little that is not in the master's notes: they are left out of the
trace. The notes are read as they are written, and held against the paper's rules (1.C of the checks in
`services/mapreduce/README.md`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from protos.trace import Lost, Message, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.recorder import Recorder
    from sim.world.simulation import Simulation

IDLE, RUNNING, COMPLETED = "idle", "in-progress", "completed"


class Watch:
    """Takes the place of a simulation's recorder: passes on all but messages, and reads the master's notes.

    Args:
        simulation: whose trace.

    Attributes:
        near: maps by how near their input was (3.4).
        backups: started, by kind (3.6).
        early: backups that were started while a task of their kind was idle.
        deaths: times, in ns, at which the master marked a worker as failed.
        wrong: steps that the state machine of 3.2 and 3.3 does not allow, in words.
        progress: (ns, input, shuffled, output) as the master says, in bytes.
        falls: of these, by more than what has died since (1.C, 16), in words.
        commits: of each task: completions less reopenings.
        messages: that were left out of the trace.
        ignored: called with worker, job and attempt when the master ignores the completion of a map.
        finished: virtual ns of the job's end.
        first_map: when the first map was completed.
        last_map: when the last one was.
        reduced: when each reduce was, in their order.
    """

    def __init__(self, simulation: Simulation) -> None:
        recorder = simulation.trace
        assert recorder is not None
        self._recorder: Recorder = recorder
        simulation.trace = self  # type: ignore[assignment]
        self.near: dict[str, int] = {}
        self.backups = {"map": 0, "reduce": 0}
        self.early = 0
        self.deaths: list[int] = []
        self.wrong: list[str] = []
        self.progress: list[tuple[int, int, int, int]] = []
        self.messages = 0
        self.ignored: Callable[[str, str, int], None] | None = None
        self.finished = self.last_map = 0
        self.reduced: list[int] = []
        self.commits: dict[tuple[str, int], int] = {}
        self.falls: list[str] = []
        self._input: dict[int, int] = {}  # bytes read by each completed map
        self._losses = [0.0, 0.0, 0.0]  # since the last word of progress
        self._worth = {"map": [0.0, 0.0, 0.0], "reduce": [0.0, 0.0, 0.0]}
        self._states: dict[tuple[str, int], str] = {}
        self._failed: set[str] = set()
        self._dying: list[str] = []  # kinds of the executions that died since the last word of progress
        self._idle = {"map": 0, "reduce": 0}
        self.tasks = {"map": 0, "reduce": 0}

    def write(self, record: Any) -> None:
        """Takes a record of the trace."""
        kind = type(record)
        if kind is Message or kind is Lost:
            self.messages += 1
            return
        self._recorder.write(record)
        if kind is Note and record.host == "master":
            hear = getattr(self, f"_{record.name.replace(' ', '_')}", None)
            if hear is not None:
                hear(record.time, record.fields)

    def completed(self, kind: str) -> int:
        """Returns how many tasks of a kind are completed now."""
        return sum(state == COMPLETED for (of, _), state in self._states.items() if of == kind)

    def _job_started(self, time: int, said: dict[str, Any]) -> None:
        self.tasks = self._idle = {"map": said["maps"], "reduce": said["reduces"]}
        self._idle = dict(self.tasks)

    def _job_finished(self, time: int, said: dict[str, Any]) -> None:
        self.finished = time

    def _assigned(self, time: int, said: dict[str, Any]) -> None:
        task = said["kind"], said["number"]
        state = self._states.get(task, IDLE)
        if "near" in said and not said["backup"]:
            self.near[said["near"]] = self.near.get(said["near"], 0) + 1
        if said["backup"]:
            self.backups[said["kind"]] += 1
            self.early += self._idle[said["kind"]] > 0
        if state != (RUNNING if said["backup"] else IDLE):
            self.wrong.append(f"{said['kind']} {said['number']} was assigned though {state}")
        if state == IDLE:
            self._idle[said["kind"]] -= 1
        self._states[task] = RUNNING

    def _completed(self, time: int, said: dict[str, Any]) -> None:
        task = said["kind"], said["number"]
        if self._states.get(task) != RUNNING:
            self.wrong.append(
                f"{said['kind']} {said['number']} was completed though {self._states.get(task)}"
            )
        self._states[task] = COMPLETED
        self.commits[task] = self.commits.get(task, 0) + 1
        worth = self._worth[said["kind"]]
        if said["kind"] == "map":
            self.last_map = time
            self._input[said["number"]] = said["input_bytes"]
            worth[0] = max(worth[0], said["input_bytes"])
        else:
            self.reduced.append(time)
            worth[1] = max(worth[1], said["input_bytes"])
            worth[2] = max(worth[2], said["output_bytes"])

    def _ignored(self, time: int, said: dict[str, Any]) -> None:
        if self.ignored is not None and said["kind"] == "map" and not said["failure"]:
            self.ignored(said["worker"], said["job"], said["attempt"])

    def _worker_failed(self, time: int, said: dict[str, Any]) -> None:
        self.deaths.append(time)
        self._failed.add(said["worker"])

    def _died(self, time: int, said: dict[str, Any]) -> None:
        task = said["kind"], said["number"]
        if said["worker"] not in self._failed:
            self.wrong.append(f"an execution died on {said['worker']}, which has not failed")
        if self._states.get(task) == RUNNING:
            self._states[task] = IDLE
            self._idle[said["kind"]] += 1
        self._dying.append(said["kind"])

    def _reopened(self, time: int, said: dict[str, Any]) -> None:
        task = said["kind"], said["number"]
        if said["kind"] != "map" or self._states.get(task) != COMPLETED or said["worker"] not in self._failed:
            self.wrong.append(
                f"{said['kind']} {said['number']} went back to idle on {said['worker']}: {said['why']}"
            )
        self._states[task] = IDLE
        self._idle["map"] += 1
        self.commits[task] -= 1
        self._losses[0] += self._input.get(said["number"], 0)

    def _progress(self, time: int, said: dict[str, Any]) -> None:
        now = (said["input_bytes"], said["shuffled_bytes"], said["output_bytes"])
        for kind in self._dying:
            worth = self._worth[kind]
            # Before the first reduce is completed nobody knows how much one is worth.
            unknown = kind == "reduce" and not worth[1]
            self._losses = [
                a + (math.inf if unknown else b) for a, b in zip(self._losses, worth, strict=True)
            ]
        if self.progress:
            names = ("input", "shuffled", "output")
            for name, before, after, loss in zip(
                names, self.progress[-1][1:], now, self._losses, strict=True
            ):
                if before - after > loss:
                    self.falls.append(f"{name} fell by {before - after:,} bytes at {time / 1e9:.0f} s")
        self._losses, self._dying = [0.0, 0.0, 0.0], []
        self.progress.append((time, *now))
