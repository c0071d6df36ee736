"""Counters and bytes (4.8, 4.9): sums over one successful execution a task, and live over those under way.

Values come with completions, and piggybacked on ping replies for what is under way. A backup's or a
re-execution's are not added to those of the execution that counts; when the output of a completed map is
lost, what it had counted goes with it, and its re-execution counts anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.mapreduce.master.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from protos import mapreduce_pb2 as pb
    from services.mapreduce.master.state import Task


class Tally(Struct):
    """Sums.

    Attributes:
        counters: by name.
        read: bytes of input that maps have read.
        mapped: bytes of all regions that maps have written.
        pulled: bytes of regions that reduces have pulled.
        written: bytes of final output.
    """

    counters: dict[str, int] = {}
    read: int = 0
    mapped: int = 0
    pulled: int = 0
    written: int = 0

    def add(self, kind: Kind, said: pb.Completion | pb.Report, *, map_only: bool, sign: int = 1) -> None:
        """Adds what an execution says it has done (or takes it away again)."""
        self.count(said.counters.values, sign)
        if kind is Kind.MAP:
            self.read += sign * said.input_bytes
            if map_only:
                self.written += sign * said.output_bytes
            else:
                self.mapped += sign * said.output_bytes
        else:
            self.pulled += sign * said.input_bytes
            self.written += sign * said.output_bytes

    def count(self, values: Mapping[str, int], sign: int = 1) -> None:
        """Adds counters."""
        for name, value in values.items():
            total = self.counters.get(name, 0) + sign * value
            self.counters[name] = total

    def live(self, running: Iterable[Task], *, map_only: bool) -> Tally:
        """Returns these sums and those of the executions under way, the furthest one a task."""
        total = Tally(dict(self.counters), self.read, self.mapped, self.pulled, self.written)
        for task in running:
            reports = [execution.report for execution in task.executions if execution.report is not None]
            if reports:
                total.add(task.kind, max(reports, key=lambda report: report.progress), map_only=map_only)
        return total
