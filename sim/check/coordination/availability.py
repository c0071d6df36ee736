"""Availability: the service makes progress when a majority is up and connected, and only then (2.C 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.check.coordination.record import WRITES, lines_of
from sim.check.operations import Call, calls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation


class Progress:
    """Within a time after a majority is back a write is acknowledged; none asked for without a majority is.

    Args:
        within_s: that time, in seconds. Rests on the history's `quorum` operations.
    """

    def __init__(self, within_s: float = 10.0) -> None:
        self._within = round(within_s * 1e9)
        self.name = f"progress within {within_s:g} s"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        marks = [event for event in history if event.f == "quorum" and event.type == "ok"]
        if not marks:
            return False, "nothing to judge: nobody said when there was a majority"
        clients = [event for event in history if event.f != "quorum"]
        writes = [call for call in calls(clients, [event.index + 1 for event in clients]) if call.f in WRITES]
        done = [call for call in writes if call.ended == "ok"]
        over = max(event.time for event in history) + 1
        longest = -1.0
        judged = 0
        for mark, next_ in zip(marks, [*marks[1:], None], strict=True):
            end = over if next_ is None else next_.time
            if not mark.value:
                wrong = _without_majority(done, mark.time, end)
                if wrong is not None:
                    return False, (
                        f"{wrong.f} {wrong.key or ''} ({lines_of(wrong)}) was acknowledged although there "
                        f"had been "
                        f"no majority since {mark.time / 1e9:.3f} s"
                    )
                continue
            first = min((call.end for call in done if mark.time <= call.end), default=None)
            if first is not None and first <= mark.time + self._within:
                judged += 1
                longest = max(longest, (first - mark.time) / 1e9)
                continue
            limit = mark.time + self._within
            if limit <= end and any(call.start < limit for call in writes):
                when = "never" if first is None else f"only {(first - mark.time) / 1e9:.3f} s later"
                return False, (
                    f"a majority was back at {mark.time / 1e9:.3f} s, but a write was acknowledged {when}"
                )
        return True, f"{judged:,} times a majority was back; longest wait {max(longest, 0):.3f} s"


def _without_majority(done: Sequence[Call], begin: int, end: int) -> Call | None:
    """Returns a write that was asked for and acknowledged while there was no majority."""
    return next((call for call in done if begin <= call.start and call.end < end), None)
