"""What a run of the paper's size keeps of its trace, and the numbers that are read off the master's notes.

A quarter of a million messages say little that is not in the master's notes: they are left out of the
trace. The rules that notes are held to are those of every scenario (`scenarios/mapreduce/invariants.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import Lost, Message, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.recorder import Recorder
    from sim.world.simulation import Simulation


class Watch:
    """Takes the place of a simulation's recorder: passes on all but messages, and reads the master's notes.

    Args:
        simulation: whose trace.

    Attributes:
        tasks: M and R, by kind.
        near: maps by how near their input was (3.4), without backups.
        backups: started, by kind (3.6).
        deaths: how often the master marked a worker as failed.
        commits: of each task: completions less reopenings.
        messages: that were left out of the trace.
        ignored: called with worker, job and attempt when the master ignores the completion of a map.
        last_map: virtual ns of the last map's completion.
        reduced: when each reduce was completed, in their order.
    """

    def __init__(self, simulation: Simulation) -> None:
        recorder = simulation.trace
        assert recorder is not None
        self._recorder: Recorder = recorder
        simulation.trace = self  # type: ignore[assignment]
        self.tasks = {"map": 0, "reduce": 0}
        self.near: dict[str, int] = {}
        self.backups = {"map": 0, "reduce": 0}
        self.deaths = 0
        self.commits: dict[tuple[str, int], int] = {}
        self.messages = 0
        self.ignored: Callable[[str, str, int], None] | None = None
        self.last_map = 0
        self.reduced: list[int] = []

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
        return sum(count for (of, _), count in self.commits.items() if of == kind)

    def _job_started(self, time: int, said: dict[str, Any]) -> None:
        self.tasks = {"map": said["maps"], "reduce": said["reduces"]}

    def _assigned(self, time: int, said: dict[str, Any]) -> None:
        if said["backup"]:
            self.backups[said["kind"]] += 1
        elif "near" in said:
            self.near[said["near"]] = self.near.get(said["near"], 0) + 1

    def _completed(self, time: int, said: dict[str, Any]) -> None:
        task = said["kind"], said["number"]
        self.commits[task] = self.commits.get(task, 0) + 1
        if said["kind"] == "map":
            self.last_map = time
        else:
            self.reduced.append(time)

    def _reopened(self, time: int, said: dict[str, Any]) -> None:
        self.commits[said["kind"], said["number"]] -= 1

    def _ignored(self, time: int, said: dict[str, Any]) -> None:
        if self.ignored is not None and said["kind"] == "map" and not said["failure"]:
            self.ignored(said["worker"], said["job"], said["attempt"])

    def _worker_failed(self, time: int, said: dict[str, Any]) -> None:
        self.deaths += 1
