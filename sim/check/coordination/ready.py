"""The *ready* pattern (2.3): who sees it sees all that its creator had written before it (2.C 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.check.coordination.record import READS, Record, hexed, lines_of, told_of, zxid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from sim.check.coordination.record import Change, Session
    from sim.check.operations import Call


class ReadyPattern:
    """Whoever has seen an incarnation of a znode reads nothing older than what its creator wrote before it.

    Args:
        ready: the path of the znode. Its readers must record `czxid`, and `mzxid` of what they read.
    """

    def __init__(self, ready: str = "/ready") -> None:
        self._ready = ready
        self.name = f"ready pattern ({ready})"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        made = {
            change.zxid: change
            for change in record.order
            if change.f == "create" and change.path == self._ready and change.happened
        }
        promised = {zxid: _written_before(record, change) for zxid, change in made.items()}
        reads = 0
        for session in record.sessions:
            floor: dict[str, Change] = {}
            for call in session.answered:
                told = told_of(call)
                if call.f not in READS:
                    continue
                if call.key == self._ready:
                    if told.get("version") is not None and not told.get("czxid"):
                        return (
                            False,
                            f"the reply of {lines_of(call)} does not tell the czxid of {self._ready}",
                        )
                    floor |= promised.get(int(told.get("czxid") or 0), {})
                elif call.key in floor:
                    reads += 1
                    wrong = self._older(session, call, told, floor[call.key])
                    if wrong:
                        return False, wrong
        return True, f"{reads:,} reads by those who saw {self._ready}, of {len(made):,} incarnations"

    def _older(self, session: Session, call: Call, told: dict[str, Any], promised: Change) -> str:
        shows = int(told.get("mzxid") or zxid_of(call))
        if not shows or shows >= promised.zxid:
            return ""
        return (
            f"{session} had seen {self._ready}, and then read {call.key} as of {hexed(shows)} "
            f"({lines_of(call)}); before {self._ready} came {promised.f} at {hexed(promised.zxid)} "
            f"({lines_of(promised.call)})"
        )


def _written_before(record: Record, ready: Change) -> dict[str, Change]:
    """Returns the last change of each znode that the creator of an incarnation asked for before it."""
    last: dict[str, Change] = {}
    for change in record.changes:
        if change.session is ready.session and change.zxid and change.call.called < ready.call.called:
            before = last.get(change.path)
            if before is None or before.zxid < change.zxid:
                last[change.path] = change
    return last
