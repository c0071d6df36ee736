"""The recipes of 2.4: locks exclude, are fair, wake no herd; barriers hold everybody (2.C 16, 17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from sim.check.coordination.record import Record, Session, asked_of, lines_of, parent_of, told_of
from sim.check.operations import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation

FOREVER = 1 << 62


class Hold(Struct, eq=False):
    """A lock, held.

    Attributes:
        until: line of its release, or FOREVER.
        sure_until: ns until which the holder could be sure to hold it, when nobody heard of it again.
    """

    call: Call
    session: Session
    writes: bool
    until: int
    sure_until: int

    @property
    def number(self) -> int:
        """The sequence number of its znode; -1 if it has none."""
        digits = str(told_of(self.call).get("node", ""))[-10:]
        return int(digits) if digits.isdigit() else -1


def _holds(record: Record) -> dict[str, list[Hold]]:
    """Returns who held each lock, in the order in which they were granted."""
    ends: dict[tuple[str, str], list[int]] = {}  # by lane and lock: lines of the releases
    for call in record.calls:
        if call.f == "unlock":
            ends.setdefault((_lane(call), call.key), []).append(call.called)
    held: dict[str, list[Hold]] = {}
    for call in record.calls:
        if call.f != "lock" or call.ended != "ok":
            continue
        session = record.of[call.called]
        lines = [line for line, _, what in session.states if what != "connected"]
        lines += [] if session.end is None else [session.end.called]
        lines += ends.get((_lane(call), call.key), [])
        until = min((line for line in lines if line > call.returned), default=FOREVER)
        writes = asked_of(call).get("mode", "write") == "write"
        held.setdefault(call.key, []).append(Hold(call, session, writes, until, _sure_until(session, call)))
    for holds in held.values():
        holds.sort(key=lambda hold: hold.call.returned)
    return held


def _sure_until(session: Session, lock: Call) -> int:
    """Returns until when (ns) a holder whose session expired was sure of it: nobody heard of it later."""
    expired = session.expired
    if expired is None or not session.timeout_s:
        return FOREVER
    heard = [call.start for call in session.answered if call.returned < expired[0]]
    return max(heard, default=lock.start) + round(session.timeout_s * 1e9)


def _lane(call: Call) -> str:
    return str(call.process).split(".")[0]


class LockExclusion:
    """At any time a lock has one holder, or any number of readers.

    A hold begins when `lock` returns and ends when `unlock` is called, or when its holder hears that it lost
    the connection or session. A session that expired was sure of its hold only for its time-out after the
    last request that was answered.
    """

    name = "lock exclusion"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        held = _holds(Record(history))
        for lock, holds in held.items():
            current: list[Hold] = []
            for hold in holds:
                begin, now = hold.call.returned, hold.call.end
                current = [one for one in current if one.until > begin and one.sure_until > now]
                clash = next((one for one in current if one.writes or hold.writes), None)
                if clash is not None:
                    return False, (
                        f"{lock}: {hold.session} got it (line {begin}) while {clash.session} held it "
                        f"({lines_of(clash.call)})"
                    )
                current.append(hold)
        count = sum(map(len, held.values()))
        return True, f"{count:,} holds of {len(held):,} locks"


class LockFairness:
    """A lock is granted in the order of the sequence numbers; among readers, any order."""

    name = "lock fairness"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        held = _holds(Record(history))
        judged = 0
        for lock, holds in held.items():
            highest: dict[bool, Hold] = {}
            for hold in holds:
                if hold.number < 0:
                    continue
                judged += 1
                for writes in (True, False) if hold.writes else (True,):
                    before = highest.get(writes)
                    if before is not None and before.number > hold.number:
                        return False, (
                            f"{lock}: {before.session} with number {before.number} got it (line "
                            f"{before.call.returned}) before {hold.session} with {hold.number} (line "
                            f"{hold.call.returned})"
                        )
                if hold.writes not in highest or highest[hold.writes].number < hold.number:
                    highest[hold.writes] = hold
        return True, f"{judged:,} grants in the order of their numbers"


class NoHerd:
    """The release of a lock wakes one waiter at most.

    Args:
        lock: its path: the parent of the waiters' znodes.
    """

    def __init__(self, lock: str = "/lock") -> None:
        self._lock = lock
        self.name = f"no herd ({lock})"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        woken: dict[str, dict[str, Call]] = {}
        for session in record.sessions:
            for event in session.events:
                type_ = asked_of(event).get("type")
                if event.key == self._lock and type_ in ("children", "deleted"):
                    return False, (
                        f"{session} was woken by {type_} of {self._lock} (line {event.called}), as all who "
                        f"wait are"
                    )
                if parent_of(event.key) == self._lock and type_ == "deleted":
                    woken.setdefault(event.key, {})[str(session)] = event
        for path, those in woken.items():
            if len(those) > 1:
                return False, f"the end of {path} woke {len(those)}: {', '.join(those)}"
        grants = sum(
            call.f == "lock" and call.ended == "ok" and call.key == self._lock for call in record.calls
        )
        return True, f"{len(woken):,} releases woke one waiter each, {grants:,} grants"


class DoubleBarrier:
    """Nobody gets in before as many want to as it waits for; nobody gets out before all want to.

    Whoever's session has ended has left.
    """

    name = "double barrier"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        barriers: dict[str, list[Call]] = {}
        for call in record.calls:
            if call.f in ("enter", "leave"):
                barriers.setdefault(call.key, []).append(call)
        for barrier, these in barriers.items():
            wrong = _entered_early(these) or _left_early(record, these)
            if wrong:
                return False, f"{barrier}: {wrong}"
        calls = [call for these in barriers.values() for call in these]
        entered = sum(call.f == "enter" and call.ended == "ok" for call in calls)
        return True, f"{entered:,} entered {len(barriers):,} barriers"


def _entered_early(these: Sequence[Call]) -> str:
    enters = [call for call in these if call.f == "enter"]
    for call in enters:
        size = int(asked_of(call).get("size") or 0)
        asked = sum(other.called < call.returned for other in enters)
        if call.ended == "ok" and asked < size:
            return f"{call.process} got in (line {call.returned}) when {asked} of {size} had come"
    return ""


def _left_early(record: Record, these: Sequence[Call]) -> str:
    leaves = {_lane(call): call.called for call in reversed(these) if call.f == "leave"}
    inside = [call for call in these if call.f == "enter" and call.ended == "ok"]
    for call in these:
        if call.f != "leave" or call.ended != "ok":
            continue
        for other in inside:
            session = record.of[other.called]
            ends = [line for line, _, what in session.states if what == "expired"]
            ends += [session.end.called] if session.end is not None else []
            left = min([leaves.get(_lane(other), FOREVER), *ends])
            if other.returned < call.returned < left:
                return f"{call.process} got out (line {call.returned}) while {other.process} was still inside"
    return ""
