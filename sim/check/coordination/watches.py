"""Watches: an event comes before what it tells of can be seen, once, and never without a change.

*Watch order* and *one-shot* (2.C 6 and 7, 2.1, 4.4).
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct

from sim.check.coordination.record import (
    Record,
    asked_of,
    hexed,
    lines_of,
    parent_of,
    told_of,
    zxid_of,
)
from sim.check.operations import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protos.history import Operation
    from sim.check.coordination.record import Change, Session

DATA, CHILD = "data", "children"
FIRES = {"created": (DATA,), "changed": (DATA,), "deleted": (DATA, CHILD), "children": (CHILD,)}
"""Which watches an event uses up."""

CAUSES = {
    "created": ("create",),
    "changed": ("set",),
    "deleted": ("delete",),
    "children": ("create", "delete"),
}


class Armed(Struct):
    """A watch that waits.

    Attributes:
        zxid: of the reply that armed it; 0 if that is not known.
        due: zxid of the first known change after that; 0 if there is none.
    """

    path: str
    kind: str
    call: Call
    zxid: int
    due: int = 0


class Happened(Struct):
    """The known changes that fire watches of one path and kind, by zxid."""

    zxids: list[int]
    what: list[str]
    unsure: bool = False  # there may be more: writes of unknown end, sessions that expired


class WatchOrder:
    """Events come in time, once, and with reason.

    A reply whose zxid is that of a change, or above, comes after the event of each watch that was waiting
    for that change. So an event that is lost, or too late, is found with the next reply of the session.
    """

    name = "watch order"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        happened = _changes(record)
        armed = events = 0
        for session in record.sessions:
            watcher = _Watcher(session, happened)
            wrong = watcher.wrong()
            if wrong:
                return False, wrong
            armed += watcher.armings
            events += len(session.events)
        return True, f"{events:,} events of {armed:,} watches"


def _changes(record: Record) -> dict[tuple[str, str], Happened]:
    """Returns what is known to have happened, by path and kind of watch."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    unsure: dict[tuple[str, str], None] = {}

    def add(path: str, f: str, zxid: int) -> None:
        targets = [(path, DATA)]
        if f in ("create", "delete"):
            targets.append((parent_of(path), CHILD))
        if f == "delete":
            targets.append((path, CHILD))
        for target in targets:
            if zxid:
                found.setdefault(target, []).append((zxid, f))
            else:
                unsure[target] = None

    for change in record.changes:
        if change.f != "check":
            add(change.path, change.f, change.zxid)
            if not change.happened and change.asked.get("sequential"):
                unsure[parent_of(change.path), CHILD] = None
        if change.f == "create" and change.asked.get("ephemeral"):
            _end_of(record, change, add)
    made = {}
    for target in dict.fromkeys([*found, *unsure]):
        these = sorted(found.get(target, []))
        made[target] = Happened([zxid for zxid, _ in these], [f for _, f in these], target in unsure)
    return made


def _end_of(record: Record, made: Change, add: Callable[[str, str, int], None]) -> None:
    """Adds the deletion of an ephemeral znode with its session."""
    end = 0 if made.session.end is None else zxid_of(made.session.end)
    certain = made.happened and not any(
        not change.zxid or made.zxid < change.zxid < end for change in record.deletions.get(made.path, ())
    )
    add(made.path, "delete", end if certain else 0)


class _Watcher:
    """The watches of one session, followed line by line."""

    def __init__(self, session: Session, happened: dict[tuple[str, str], Happened]) -> None:
        self._session = session
        self._happened = happened
        self._armed: dict[tuple[str, str], Armed] = {}
        self._lasting: dict[str, str] = {}  # persistent watches: by path, their mode
        self._due: list[tuple[int, int, Armed]] = []
        self._last_event = 0
        self.armings = 0

    def wrong(self) -> str:
        """Returns what is wrong, or ""."""
        lines = [(call.returned, call) for call in self._session.answered]
        lines += [(call.called, call) for call in self._session.events]
        for _, call in sorted(lines, key=lambda pair: pair[0]):
            wrong = self._event(call) if call.f == "event" else self._reply(call)
            if wrong:
                return f"{self._session}: {wrong}"
        return ""

    def _reply(self, call: Call) -> str:
        zxid = zxid_of(call)
        while self._due and zxid and self._due[0][0] <= zxid:
            due, _, armed = heapq.heappop(self._due)
            if self._armed.get((armed.path, armed.kind)) is not armed or self._unseen(armed, call, zxid):
                continue
            if call.f == "close" and due == zxid:
                continue  # its own end is what it was watching for
            return (
                f"{call.f} {call.key or ''} was answered at {hexed(zxid)} ({lines_of(call)}) without an "
                f"event of the "
                f"change of {armed.path} at {hexed(due)}, which {armed.call.f} ({lines_of(armed.call)}) "
                f"was watching"
            )
        if call.ended != "ok":
            return ""
        if call.f == "watch":
            self._lasting[call.key] = asked_of(call).get("mode", "persistent")
            self.armings += 1
        elif asked_of(call).get("watch"):
            kind = CHILD if call.f == "children" else DATA
            self.armings += 1
            if (call.key, kind) not in self._armed:
                self._arm(Armed(call.key, kind, call, zxid))
        return ""

    def _arm(self, armed: Armed) -> None:
        self._armed[armed.path, armed.kind] = armed
        happened = self._happened.get((armed.path, armed.kind))
        if happened is None or not armed.zxid:
            return
        at = bisect_right(happened.zxids, armed.zxid)
        if at < len(happened.zxids):
            armed.due = happened.zxids[at]
            heapq.heappush(self._due, (armed.due, armed.call.returned, armed))

    def _unseen(self, armed: Armed, call: Call, zxid: int) -> bool:
        """Says whether it may be missed: created and deleted while the client was cut off."""
        if told_of(armed.call).get("exists") is not False or not self._cut_off(armed, call.returned):
            return False
        happened = self._happened[armed.path, armed.kind]
        at = bisect_right(happened.zxids, armed.zxid)
        until = bisect_right(happened.zxids, zxid)
        return happened.unsure or "delete" in happened.what[at:until]

    def _cut_off(self, armed: Armed, line: int) -> bool:
        return any(
            what == "suspended" and armed.call.returned < at < line for at, _, what in self._session.states
        )

    def _event(self, event: Call) -> str:
        told = asked_of(event)
        type_, path = str(told.get("type")), event.key
        zxid = int(told.get("zxid") or 0)
        if zxid and zxid < self._last_event:
            before = hexed(self._last_event)
            return f"the event of {path} at {hexed(zxid)} (line {event.called}) came after one at {before}"
        self._last_event = max(zxid, self._last_event)
        spent = [
            armed
            for kind in FIRES.get(type_, ())
            if (armed := self._armed.pop((path, kind), None)) is not None
        ]
        if any(self._lasts(path, at, mode, type_) for at, mode in self._lasting.items()):
            return ""
        if not spent:
            return f"{type_} of {path} (line {event.called}) came, but nothing was watching for that"
        if not any(self._caused(armed, type_, event.called) for armed in spent):
            return (
                f"{type_} of {path} (line {event.called}) came without such a change since the watch was set"
            )
        return ""

    @staticmethod
    def _lasts(path: str, at: str, mode: str, type_: str) -> bool:
        """Says whether a persistent watch at `at` covers an event."""
        if mode != "recursive":
            return path == at
        return type_ != "children" and (path == at or path.startswith(at.rstrip("/") + "/"))

    def _caused(self, armed: Armed, type_: str, line: int) -> bool:
        happened = self._happened.get((armed.path, armed.kind))
        if happened is None:
            return False
        if happened.unsure:
            return True
        since = bisect_right(happened.zxids, armed.zxid)
        if self._cut_off(armed, line):  # what is told then is what became of it
            return since < len(happened.zxids)
        return any(what in CAUSES[type_] for what in happened.what[since:])
