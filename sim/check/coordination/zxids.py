"""The time of zxids: when, in the one order of writes, each request happened or may have happened.

Each known zxid has room for `ROOM` moments: its changes first, in the order within their transaction, then
the reads that were answered there. What has no zxid of its own lies between those of the replies before and
after it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, TypeAlias

from sim.check.coordination.record import WRITES, told_of, zxid_of

if TYPE_CHECKING:
    from sim.check.coordination.record import Change, Record, Session
    from sim.check.operations import Call

ROOM = 100_000
READS_AT = 90_000
AFTER_READS = 5
Span: TypeAlias = tuple[int, int]
"""From when to when; until 0: for ever."""


class Zxids:
    """Places the requests of a record."""

    def __init__(self, record: Record) -> None:
        self._record = record
        known = {zxid_of(call) for call in record.requests}
        for call in record.requests:  # a read may show a write that nobody was told the zxid of
            known |= {int(told_of(call).get(name) or 0) for name in ("czxid", "mzxid")}
        self._known = sorted(known - {0})
        replies = sorted((call for call in record.requests if zxid_of(call)), key=lambda call: call.returned)
        self._ends = [call.returned for call in replies]
        self._highest: list[int] = []  # by position in `_ends`: the highest zxid so far
        for call in replies:
            self._highest.append(max(zxid_of(call), self._highest[-1] if self._highest else 0))
        writes = sorted(record.acknowledged, key=lambda call: call.called)
        self._begins = [call.called for call in writes]
        self._lowest: list[int] = []  # by position in `_begins`: the lowest zxid from there on
        for call in reversed(writes):
            lower = zxid_of(call)
            self._lowest.append(min(lower, self._lowest[-1]) if self._lowest else lower)
        self._lowest.reverse()
        self._own: dict[int, tuple[list[int], list[int]]] = {}
        for session in record.sessions:
            told = [(call.returned, zxid_of(call)) for call in session.answered if zxid_of(call)]
            self._own[id(session)] = ([line for line, _ in told], [zxid for _, zxid in told])

    def write(self, change: Change, zxid: int) -> Span:
        """Returns when a change happens: at its zxid, or if that is 0, after all that was answered before."""
        if zxid:
            start = self._at(zxid) + 2 * change.position
            return start, start + 1
        start = self._after(self._replied(change.call.called)) + AFTER_READS
        return (start, 0) if not change.happened else (start, max(start + 1, self._until(change.call)))

    def at(self, zxid: int) -> Span:
        """Returns when the first change of a zxid happens."""
        return self._at(zxid), self._at(zxid) + 1

    def read(self, call: Call) -> Span:
        """Returns when a read was answered."""
        if zxid := zxid_of(call):
            return self._at(zxid) + READS_AT, self._at(zxid) + READS_AT + 1
        start = self._after(self._own_before(call))
        return start, max(start + 1, self._until(call))

    def refusal(self, call: Call) -> Span:
        """Returns between what a request may have been refused."""
        lowest = self._own_before(call)
        if call.f in WRITES:
            lowest = max(lowest, self._replied(call.called))
        start = self._after(lowest)
        return start, max(start + 1, self._until(call))

    def end(self, session: Session) -> Span:
        """Returns when a session ended; one that was not closed: after its last reply, if at all."""
        if session.end is not None and (zxid := zxid_of(session.end)):
            return self.at(zxid)
        last = max(self._own[id(session)][1], default=0)
        return self._after(last) + AFTER_READS, 0

    def _at(self, zxid: int) -> int:
        return (bisect_left(self._known, zxid) + 1) * ROOM

    def _after(self, zxid: int) -> int:
        """Returns a moment after the changes of a zxid, and before its reads."""
        return (self._at(zxid) if zxid else 0) + READS_AT - 2

    def _replied(self, line: int) -> int:
        """Returns the highest zxid in any reply before a line."""
        before = bisect_left(self._ends, line)
        return self._highest[before - 1] if before else 0

    def _own_before(self, call: Call) -> int:
        """Returns the last zxid that the session of a request had seen when it was answered."""
        ends, zxids = self._own[id(self._record.of[call.called])]
        before = bisect_left(ends, call.returned)
        return zxids[before - 1] if before else 0

    def _until(self, call: Call) -> int:
        """Returns until when a request without a zxid may have happened."""
        later = bisect_right(self._begins, call.returned)
        limit = (len(self._known) + 2) * ROOM
        if later < len(self._lowest):
            limit = self._at(self._lowest[later]) - 1
        ends, zxids = self._own[id(self._record.of[call.called])]
        after = bisect_right(ends, call.returned)
        return min(limit, self._at(zxids[after]) + READS_AT + 2) if after < len(zxids) else limit
