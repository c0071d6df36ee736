"""What is on stable storage where, and what that commits (IV, phase 3).

An acknowledgement stands for all before it, so one number a server says all. It stays true when its server
goes away: a promise to a later leader tells that one of what was accepted before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.zab.zxid import counter_of

if TYPE_CHECKING:
    from services.coordination.zab.acceptor import Acceptor


class Acknowledged:
    """The last zxid that each server has acknowledged."""

    def __init__(self, own: Acceptor) -> None:
        self._own = own
        self._last: dict[int, int] = {}
        self._participants: list[tuple[int, ...]] = []
        self.recount()

    def recount(self) -> None:
        """Takes note of other electorates."""
        self._participants = [electorate.participants for electorate in self._own.electorates]

    def note(self, server: int, zxid: int) -> bool:
        """Takes an acknowledgement; returns whether it says anything new."""
        if zxid <= self._last.get(server, 0):
            return False
        self._last[server] = zxid
        return True

    def forget(self, server: int) -> None:
        """Drops what is said of a server that does not count."""
        self._last.pop(server, None)

    def committed(self) -> int:
        """Returns the last zxid that is committed by this.

        A configuration is committed by quorums of what holds and of itself, what comes before it by one of
        what holds, and what comes after it by one of its own.
        """
        zxid = self._by_majority(self._participants[0])
        if self._own.proposed:
            change = self._own.proposed[0].version
            if zxid >= change:
                zxid = self._by_majority(self._participants[1])
                if zxid < change:
                    return change - 1 if counter_of(change) > 1 else self._own.committed
        return zxid

    def _by_majority(self, participants: tuple[int, ...]) -> int:
        last = sorted([self._last.get(server, 0) for server in participants])
        return last[(len(last) - 1) // 2]
