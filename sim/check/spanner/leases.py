"""Leases of leaders are disjoint (3.C 2): of each Paxos group, no two replicas lead at the same time.

Leaders write to the trace from when until when their lease holds, as TrueTime says, and when they take a
timestamp. So there are two looks. The leases themselves must not overlap: that is Appendix A's proof, which
counts on every host's TrueTime. And the stretches of absolute time in which two leaders were seen to use
theirs must not: that counts on nothing, and breaks where a clock leaves its bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from protos.trace import Note, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent

LEASE, LEASE_END, TRANSACTION = "lease", "lease-end", "transaction"


class Reign(Struct):
    """What is known of a leader.

    Attributes:
        group, term, host: which.
        start, end: of its lease, in TrueTime.
        first, last: when it was seen to use the lease, in nanoseconds of the run.
    """

    group: int
    term: int
    host: str
    start: int
    end: int
    first: int
    last: int


class Leases:
    """No two replicas of a group lead at the same time.

    Args:
        least: reigns of all groups without which nothing was shown.
    """

    name = "leases are disjoint"

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def begin(self) -> Watcher:
        """A run begins."""
        return Watcher(self._least)


class Watcher:
    """What `Leases` is in one run."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._reigns: dict[tuple[int, int, str, int], Reign] = {}
        self._latest: dict[tuple[int, str], list[Reign]] = {}

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if isinstance(event, Span) and event.name == TRANSACTION and "proposed" in event.fields:
                self._uses(event)
            if not isinstance(event, Note) or event.name not in (LEASE, LEASE_END):
                continue
            fields = event.fields
            group, term, start, end = (fields[name] for name in ("group", "term", "start", "end"))
            key = (group, term, event.host, start)
            reign = self._reigns.get(key)
            if reign is None:
                if event.name == LEASE:
                    reign = Reign(group, term, event.host, start, end, event.time, event.time)
                    self._reigns[key] = reign
                    self._latest.setdefault((group, event.host), []).append(reign)
            elif event.name == LEASE_END:
                reign.end = end
            else:
                reign.end = max(reign.end, end)
                reign.last = event.time

    def _uses(self, event: Span) -> None:
        """Takes note of when a leader took a timestamp of its lease."""
        group, timestamp = event.fields["group"], event.fields["timestamp"]
        used = event.start + event.fields["proposed"]
        for reign in reversed(self._latest.get((group, event.host), ())):
            if reign.start < timestamp:
                reign.last = max(reign.last, used)
                return

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        if len(self._reigns) < self._least:
            return False, f"{len(self._reigns)} leases: nothing was shown"
        groups: dict[int, list[Reign]] = {}
        for reign in self._reigns.values():
            groups.setdefault(reign.group, []).append(reign)
        for number, reigns in sorted(groups.items()):
            if found := _overlap(sorted(reigns, key=lambda one: (one.start, one.end)), "start", "end"):
                one, other = found
                by = min(one.end, other.end) - other.start
                return False, f"group {number}: {_told(one)} and {_told(other)} overlap by {by / 1e6:.3f} ms"
            if found := _overlap(sorted(reigns, key=lambda one: (one.first, one.last)), "first", "last"):
                one, other = found
                return False, (
                    f"group {number}: {_told(one)} used its lease at {one.last / 1e9:.3f} s, "
                    f"when {_told(other)} had used its own since {other.first / 1e9:.3f} s"
                )
        hosts = len(dict.fromkeys(reign.host for reign in self._reigns.values()))
        return True, f"{len(self._reigns)} leases of {len(groups)} groups on {hosts} hosts"


def _overlap(reigns: Sequence[Reign], start: str, end: str) -> tuple[Reign, Reign] | None:
    """Returns two that overlap, of those sorted by their starts."""
    longest: Reign | None = None
    for reign in reigns:
        if longest is not None and getattr(reign, start) < getattr(longest, end):
            return longest, reign
        if longest is None or getattr(reign, end) > getattr(longest, end):
            longest = reign
    return None


def _told(reign: Reign) -> str:
    return f"{reign.host} (reign {reign.term})"
