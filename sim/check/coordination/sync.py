"""`sync`, then read: the read reflects every write that was over before the sync was asked for (2.C 5)."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from sim.check.coordination.record import READS, Record, hexed, lines_of, zxid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from sim.check.operations import Call


class SyncedReads:
    """Reads that a session makes after a sync show all writes that were over when the sync was asked for.

    Args:
        allow_stale: how many such reads may be stale; the paper's sync is no quorum operation, so a scenario
            with two servers that believe to lead may allow some.
    """

    name = "sync then read"

    def __init__(self, allow_stale: int = 0) -> None:
        self._allow_stale = allow_stale

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        ends = [write.returned for write in record.acknowledged]
        highest = list(accumulate(record.acknowledged, _later))
        reads = stale = 0
        first = ""
        for session in record.sessions:
            floor: Call | None = None  # the write that everything after the last sync must show
            for call in sorted(session.requests, key=lambda call: call.called):
                if call.f == "sync" and call.ended == "ok":
                    over = bisect_left(ends, call.called)  # the writes that were over when it was asked for
                    floor = highest[over - 1] if over else None
                elif call.f in READS and floor is not None and (zxid := zxid_of(call)):
                    reads += 1
                    if zxid < zxid_of(floor):
                        stale += 1
                        first = first or (
                            f"{session} read {call.key} at {hexed(zxid)} ({lines_of(call)}), after a sync "
                            f"that was "
                            f"asked for when {floor.f} {floor.key or ''} ({lines_of(floor)}) at "
                            f"{hexed(zxid_of(floor))} was over"
                        )
        if stale > self._allow_stale:
            return False, first
        return True, f"{reads:,} reads after a sync" + (f", {stale} stale" if stale else "")


def _later(one: Call, other: Call) -> Call:
    return other if zxid_of(other) > zxid_of(one) else one
