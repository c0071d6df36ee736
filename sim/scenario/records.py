"""What a run writes while it goes on, and what happens when the disk takes no more."""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any

import msgspec

from services.recorder import Recorder
from sim.faults import write_schedule
from sim.scenario.folder import HISTORY, SCHEDULE, TRACE, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from protos.history import Operation
    from sim.faults import Action


class Records:
    """What a run writes while it goes on.

    Args:
        folder: where to; None keeps nothing but digests and counts.
        keep_history: see `operations`.
        watch_trace: called with each batch of trace events.

    Attributes:
        trace, history: the two streams.
        failed: the first refusal of the disk; the run is then aborted.
        unfit: the first record that cannot be written as JSON, and why; "" while there is none.
        operations: the history in memory, kept only where `keep_history`.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        keep_history: bool,
        watch_trace: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self.folder = folder
        self.failed: OSError | None = None
        self.unfit = ""
        self.abort: Callable[[], None] = lambda: None
        self.operations: list[Operation] = []
        self.has_played = False
        keep = self.operations.extend if keep_history else None
        try:
            self.trace = _GuardedRecorder(self, folder / TRACE if folder else None, watch_trace)
            self.history = _GuardedRecorder(self, folder / HISTORY if folder else None, keep)
        except OSError as exc:
            assert folder is not None
            raise unwritable(folder, exc) from None

    def played(self, schedule: list[Action]) -> None:
        """Keeps the schedule that is played."""
        self.has_played = True
        if self.folder is not None:
            try:  # in a context of its own: this is not the simulated host that writes
                Context().run((self.folder / SCHEDULE).write_bytes, write_schedule(schedule))
            except OSError as exc:
                self.refused(exc)

    def refused(self, exc: OSError) -> None:
        """Notes that the disk takes no more, and aborts the run."""
        if self.failed is None:
            self.failed = exc
            self.abort()

    def close(self) -> None:
        """Closes both streams.

        Raises:
            InvalidInput: the disk did not take what was recorded.
        """
        for recorder in (self.trace, self.history):
            recorder.close()
        if self.failed is not None:
            assert self.folder is not None
            raise unwritable(self.folder, self.failed)


class _GuardedRecorder(Recorder):
    """A recorder whose failures do not surface in the midst of whoever happens to fill its buffer."""

    def __init__(
        self, records: Records, path: Path | None, keep: Callable[[list[Any]], None] | None = None
    ) -> None:
        self._records = records
        super().__init__(path, keep)

    def flush(self) -> None:
        try:
            try:
                super().flush()
            except TypeError:
                self._drop_unfit()
                super().flush()
        except OSError as exc:
            self._batch.clear()
            self._records.refused(exc)

    def _drop_unfit(self) -> None:
        batch, self._batch[:] = list(self._batch), []
        for record in batch:
            try:
                msgspec.json.encode(record)
                self._batch.append(record)
            except TypeError as exc:
                self._records.unfit = self._records.unfit or f"{exc}, in {record!r}"

    def close(self) -> None:
        try:
            super().close()
        except OSError as exc:
            self._records.refused(exc)
