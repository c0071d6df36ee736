"""A leader's lease, from the votes that it was given (Appendix A)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.spanner.truetime.interval import Interval


class Lease:
    """The lease of one reign: [start, end), which holds while TT.before(end)."""

    def __init__(self, quorum: int, duration: int) -> None:
        """Makes one without votes.

        Args:
            quorum: so many votes make a lease.
            duration: of a vote.
        """
        self._quorum = quorum
        self._duration = duration
        self._votes: dict[str, int] = {}  # of each member: v_leader of the last request that it granted
        self.start = 0
        self.end = 0

    def holds(self, now: Interval) -> bool:
        """Says whether it holds: TT.before(end)."""
        return now.latest < self.end

    def voted(self, member: str, vote: int, now: Interval) -> bool:
        """Notes a vote; returns whether the lease has moved, and holds.

        The quorum whose votes last longest makes the end: min over it of v_leader + 10 s. The start is
        TT.now().latest as a quorum is found; it stays as long as the lease is not lost.
        """
        votes = self._votes
        if vote <= votes.get(member, 0):
            return False
        votes[member] = vote
        if len(votes) < self._quorum:
            return False
        end = sorted(votes.values(), reverse=True)[self._quorum - 1] + self._duration
        if end <= self.end or now.latest >= end:
            return False
        if not self.holds(now):
            self.start = now.latest
        self.end = end
        return True
