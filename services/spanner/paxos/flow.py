"""What each member has of the leader's log, and what is sent to it.

Entries are sent as they are proposed, without waiting for answers (2.1: pipelined). Who does not answer for a
while is only asked what it has, less and less often, until it answers. Who lacks what the log does not have
any more gets a checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.paxos.messages import Accept, Behind

if TYPE_CHECKING:
    from services.spanner.paxos.acceptor import Acceptor
    from services.spanner.paxos.ballots import Ballot
    from services.spanner.paxos.messages import Accepted, LogEntry
    from services.spanner.truetime.interval import Interval


class Peer:
    """Another member, as the leader knows it.

    Attributes:
        acked: its log is the leader's up to there, on stable storage.
        sent: it was sent all up to there.
        probing: it has not answered: nothing is sent but a question.
        due: when it is asked again (0: it has answered to all).
        wait: for how long the next time.
        gap, gap_until: from where it was sent entries again, and until when that counts as an answer.
    """

    __slots__ = ("acked", "due", "gap", "gap_until", "name", "probing", "sent", "wait")

    def __init__(self, name: str, sent: int, wait: int) -> None:
        self.name = name
        self.acked = 0
        self.sent = sent
        self.probing = False
        self.due = 0
        self.wait = wait
        self.gap = -1
        self.gap_until = 0


class Flow:
    """The other members."""

    def __init__(self, own: Acceptor, ballot: Ballot) -> None:
        self._own = own
        self._ballot = ballot
        self._began = own.log.last
        wait = own.settings.retry
        self.peers = {name: Peer(name, own.log.last, wait) for name in own.names if name != own.server}
        self._voters = [self.peers[name] for name in own.voters if name != own.server]
        self._writers = [self.peers[name] for name in own.writers if name != own.server]
        self.others = tuple(self.peers)

    def agreed(self) -> int:
        """Returns up to where a quorum has the leader's log on stable storage."""
        acked = [peer.acked for peer in self._voters]
        acked.append(self._own.durable_last)
        acked.sort()
        return acked[-self._own.quorum]

    def everywhere(self) -> int:
        """Returns up to where all read-write members have it, and it is chosen."""
        return min([self._own.committed, *(peer.acked for peer in self._writers)])

    # Sending

    def flush(self, now: Interval, promise: int) -> None:
        """Sends what has not been sent, to those who answer.

        Args:
            now: TT.now(), not later than now: v_leader is taken from it (Appendix A).
            promise: for all after the end of the log.
        """
        own, last, window = self._own, self._own.log.last, self._own.settings.window
        groups: dict[tuple[int, int], list[Peer]] = {}
        for peer in self.peers.values():
            if peer.sent < last and not peer.probing:
                limit = min(last, max(peer.acked, self._began) + window)
                if peer.sent < own.log.base.index:
                    self._behind(peer, now)
                elif peer.sent < limit:
                    groups.setdefault((peer.sent, limit), []).append(peer)
        for (sent, limit), peers in groups.items():
            names = [peer.name for peer in peers]
            while sent < limit:
                entries = own.log.after(sent, min(own.settings.batch, limit - sent), own.settings.batch_bytes)
                upto = sent + len(entries)
                own.send(self._accept(sent, now, entries, promise if upto == last else 0), *names)
                sent = upto
            for peer in peers:
                peer.sent = sent
                peer.due = peer.due or now.earliest + peer.wait

    def _accept(
        self, previous: int, now: Interval, entries: tuple[LogEntry, ...] = (), promise: int = 0
    ) -> Accept:
        own = self._own
        origin = own.log.position(previous).origin
        return Accept(
            self._ballot,
            now.earliest,
            previous,
            origin,
            entries,
            own.committed,
            self.everywhere(),
            promise,
        )

    def _behind(self, peer: Peer, now: Interval) -> None:
        base = self._own.log.base
        self._own.send(Behind(self._ballot, base.index, base.timestamp, base.origin), peer.name)
        peer.probing = True
        peer.due = now.earliest + peer.wait

    def beat(self, now: Interval, promise: int) -> None:
        """Asks all for their votes, and gives a sign of life; makes a promise to those that were sent all."""
        groups: dict[int, list[str]] = {}
        for peer in self.peers.values():
            previous = self._own.log.last if peer.probing else max(peer.sent, self._own.log.base.index)
            groups.setdefault(previous, []).append(peer.name)
        for previous, names in groups.items():
            told = promise if previous == self._own.log.last else 0
            self._own.send(self._accept(previous, now, (), told), *names)

    def probe(self, name: str, now: Interval) -> None:
        """Asks one what it has."""
        peer = self.peers[name]
        peer.probing = True
        peer.due = now.earliest + peer.wait
        self._own.send(self._accept(self._own.log.last, now), name)

    # Answers

    def accepted(self, sender: str, message: Accepted, now: Interval) -> bool:
        """Takes an answer; returns whether it has more than was known."""
        peer = self.peers[sender]
        upto = min(message.upto, self._own.log.last)
        if message.missing:
            if not peer.probing and upto == peer.gap and now.earliest < peer.gap_until:
                return False
            peer.gap, peer.gap_until = upto, now.earliest + self._own.settings.retry
            peer.sent = max(upto, peer.acked)
            peer.probing = False
            peer.due = now.earliest + peer.wait
            return False
        more = upto > peer.acked
        if more:
            peer.acked = upto
            peer.gap = -1
            peer.wait = self._own.settings.retry
        peer.sent = max(peer.sent, peer.acked)
        # What is under way to one that answers late is not sent again: only `missing` says that it was lost.
        # Else a busy replica would get everything twice, and be busier.
        if more or peer.acked == peer.sent:
            peer.probing = False
            peer.due = now.earliest + peer.wait if peer.sent > peer.acked else 0
        return more

    # Time

    def deadline(self) -> int:
        """When somebody is to be asked again; 0: never."""
        due = 0
        for peer in self.peers.values():
            if peer.due and (not due or peer.due < due):
                due = peer.due
        return due

    def tick(self, now: Interval) -> None:
        """Asks those again that have not answered."""
        for peer in self.peers.values():
            if peer.due and peer.due <= now.earliest:
                peer.wait = min(2 * peer.wait, self._own.settings.retry_max)
                self.probe(peer.name, now)
