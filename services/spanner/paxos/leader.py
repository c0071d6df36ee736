"""A reign: the lease, timestamps, and what is proposed.

A reign begins with an entry of its own, which no state machine gets. Once that is chosen, nothing that an
earlier leader has proposed and that this one has not found can be chosen any more, and so timestamps and
promises above the lease's start are sound.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.spanner.group import NotLeader, TooFar
from services.spanner.paxos import invariants
from services.spanner.paxos.flow import Flow
from services.spanner.paxos.lease import Lease
from services.spanner.paxos.messages import Learn, LogEntry, Quiet
from services.spanner.paxos.outputs import Elsewhere, Leads, Renewed

if TYPE_CHECKING:
    from services.spanner.paxos.acceptor import Acceptor
    from services.spanner.paxos.candidate import Candidate
    from services.spanner.paxos.messages import Accepted, Ask
    from services.spanner.truetime.interval import Interval


NEVER = 1 << 63


class Leader:
    """One reign.

    Attributes:
        s_max: the last timestamp assigned or promised.
        ready: it is told that it leads: all that was chosen before is applied.
        yielding: to whom leadership is being given away ("": to nobody); None: it is not.
        over: leadership was given away: the votes may be released.
    """

    def __init__(self, own: Acceptor, won: Candidate, now: Interval) -> None:
        self._own = own
        self.ballot = won.ballot
        self.lease = Lease(own.quorum, own.settings.lease)
        self.flow = Flow(own, won.ballot)
        self.s_max = max(own.log.end.timestamp, own.safe)
        self.ready = False
        self.yielding: str | None = None
        self.over = False
        self._opening = 0  # the index of the entry that opens the reign
        self._used = now.latest
        self._asleep = False
        self._told = self._beat = now.earliest
        self._needed = 0  # until when the lease is to move; 0: it need not
        self._asks: dict[str, int] = {}  # promises that are asked for, by whom
        self._ask_at = 0  # when the next of them can be made; 0: not by time
        self._yield_until = 0
        self._learned = own.committed
        self._votes: deque[tuple[int, int]] = deque()  # for itself: in which write, v_leader
        for member, vote in won.votes.items():
            self._voted(member, vote, now)
        if not self._opening:
            self.need(now)

    # The lease

    def holds(self, now: Interval) -> bool:
        """Says whether it leads, and its lease holds."""
        return self.ready and self.lease.holds(now)

    def _voted(self, member: str, vote: int, now: Interval) -> None:
        lease = self.lease
        if not vote or not lease.voted(member, vote, now):
            return
        self.s_max = max(self.s_max, lease.start)
        if not self._opening:
            self._open()
        self._settle(now)
        if self._needed:
            self._needed = 0
            if self.ready:
                self._own.out.append(Renewed())
        if self._asks:
            self._answer(now)

    def _open(self) -> None:
        self.s_max += 1
        invariants.within_lease(self.lease.start, self.lease.end, self.s_max)
        self._opening = self._own.log.last + 1
        self._own.put(self._opening, (LogEntry(self.ballot, self.s_max, b""),))

    def _settle(self, now: Interval) -> None:
        """Leads from the moment on that the first entry is chosen and the lease holds."""
        if (
            not self.ready
            and self._opening
            and self._own.committed >= self._opening
            and self.lease.holds(now)
        ):
            self.ready = True
            self._own.out.append(Leads(self.ballot))
            if self._asks:
                self._answer(now)

    def need(self, now: Interval) -> None:
        """The lease has to move: asks for votes until it does, or for as long as an election may take."""
        if not self._needed:
            self._needed = now.earliest + self._own.settings.election
            if now.earliest >= self._beat + self._own.settings.retry or not self.ready:
                self._ask_for_votes(now)

    def _ask_for_votes(self, now: Interval) -> None:
        self._beat = now.earliest
        self._told = now.earliest
        if self._may_promise(now.earliest, now):
            self.s_max = max(self.s_max, now.earliest)
        self._vote(now)
        self.flow.beat(now, self._promise())

    def _vote(self, now: Interval) -> None:
        """Votes for itself: it counts once that is durable."""
        own = self._own
        if own.may_vote(self.ballot, now):
            own.give_vote(self.ballot, now)
            self._votes.append((own.number + 1, now.earliest))

    def use(self, now: Interval) -> bool:
        """Notes that somebody asks this leader for something; returns whether it had let go of its lease."""
        self._used = now.latest
        asleep, self._asleep = self._asleep, False
        return asleep

    def _in_use(self, now: Interval) -> bool:
        own = self._own
        return (
            now.latest - self._used < own.settings.idle
            or own.committed < own.log.last
            or self._needed > 0
            or bool(self._asks)
        )

    # What is asked of it

    def lead(self, now: Interval) -> None:
        """Somebody needs the lease."""
        if self.yielding is not None:
            self._own.out.append(Elsewhere(self.yielding))
            return
        self.use(now)
        if not self.holds(now):
            self.need(now)

    def assign(self, at_least: int, now: Interval) -> int:
        """Returns the next timestamp, 0 where the lease does not reach so far.

        Raises:
            NotLeader, TooFar: as `Paxos.assign`.
        """
        if self.yielding is not None or not self.ready:
            raise NotLeader(self.yielding or "")
        self.use(now)
        timestamp = max(self.s_max + 1, at_least)
        if timestamp >= now.earliest + self._own.settings.lease:
            raise TooFar(f"no lease reaches timestamp {timestamp}: it is too far in the future")
        if timestamp >= self.lease.end or not self.lease.holds(now):
            self.need(now)
            return 0
        invariants.within_lease(self.lease.start, self.lease.end, timestamp)
        self.s_max = timestamp
        return timestamp

    def propose(self, timestamp: int, value: bytes) -> int:
        """Puts an entry into the log; `flush` sends it."""
        if timestamp != self.s_max or not value:
            raise ValueError("an entry has the timestamp that was just assigned, and a value")
        index = self._own.log.last + 1
        self._own.put(index, (LogEntry(self.ballot, timestamp, value),))
        return index

    def ask(self, sender: str, message: Ask, now: Interval) -> None:
        """Tells what is chosen, and promises (4.2.4)."""
        if message.at_least or message.lead:
            self.use(now)
        if message.lead and not self.holds(now):
            self.need(now)
        peer = self.flow.peers.get(sender)
        if peer is not None and (peer.acked < self._own.log.last or message.last < peer.acked):
            self.flow.probe(sender, now)
        self._asks[sender] = max(self._asks.get(sender, 0), message.at_least)
        self._answer(now)

    def _may_promise(self, t: int, now: Interval) -> bool:
        return self.holds(now) and self.yielding is None and self.lease.start < t < self.lease.end

    def _promise(self) -> int:
        """Returns what holds for all after the end of the log."""
        return self.s_max if self.ready else 0

    def _answer(self, now: Interval) -> None:
        own = self._own
        self._ask_at = 0
        for name, t in list(self._asks.items()):
            if t > self.s_max:
                if not self.ready or self.yielding is not None:
                    continue
                if t > now.latest + own.settings.ahead:
                    at = t - own.settings.ahead
                    self._ask_at = min(at, self._ask_at) if self._ask_at else at
                    continue
                if not self._may_promise(t, now):
                    self.need(now)
                    continue
                # What comes now is above TT.now().latest anyway (start rule): others may ask for that next.
                self.s_max = now.latest if now.latest > t and self._may_promise(now.latest, now) else t
            del self._asks[name]
            if name == own.server:
                own.promised_safe(own.log.last, self.s_max)
            else:
                own.send(self._learn(), name)

    def _learn(self) -> Learn:
        own = self._own
        at = own.applied
        return Learn(self.ballot, at.index, at.origin, own.log.last, self._promise())

    # What comes of it

    def accepted(self, sender: str, message: Accepted, now: Interval) -> None:
        """Takes an answer: what has been accepted, and perhaps a vote."""
        if message.vote and sender in self._own.voters:
            self._voted(sender, message.vote, now)
        if self.flow.accepted(sender, message, now):
            self._agree(now)
            if self.yielding is not None:
                self._yield(now)

    def durable(self, number: int, now: Interval) -> None:
        """Notes that something is durable here."""
        vote = 0
        while self._votes and self._votes[0][0] <= number:
            vote = self._votes.popleft()[1]
        if vote:
            self._voted(self._own.server, vote, now)
        self._agree(now)
        if self.yielding is not None:
            self._yield(now)

    def _agree(self, now: Interval) -> None:
        """What a quorum has accepted is chosen (from the entry that opens the reign on)."""
        index = self.flow.agreed()
        if self._opening and index >= self._opening and index > self._own.committed:
            self._own.commit(index)
            self._settle(now)

    def flush(self, now: Interval) -> None:
        """Sends what was proposed since; tells what is chosen when no `Accept` does it soon.

        Args:
            now: TT.now() of the last input: not later than now, as v_leader has to be.
        """
        own = self._own
        if own.unwritten:
            self._vote(now)  # rides along
            self._told = now.earliest
        self.flow.flush(now, self._promise())
        if self._learned < own.committed == own.log.last:
            own.send(self._learn(), *self.flow.others)
            self._learned = own.committed

    # Giving it away

    def abdicate(self, successor: str, now: Interval) -> None:
        """Assigns nothing more; `over` tells when the votes may be released."""
        if self.yielding is None:
            self.yielding = successor
            self._yield_until = now.earliest + self._own.settings.election
            self._yield(now)

    def _yield(self, now: Interval) -> None:
        if self._all_done():
            self.over = now.earliest > self.s_max
        elif now.earliest >= self._yield_until:
            self.yielding = None

    def _all_done(self) -> bool:
        own, to = self._own, self.flow.peers.get(self.yielding or "")
        return own.committed == own.log.last and (to is None or to.acked == own.log.last)

    # Time

    def _renew_at(self) -> int:
        """When votes are asked for again; NEVER: the lease is lost, and nobody needs it."""
        settings = self._own.settings
        if self._needed:
            return min(self._needed, self._beat + settings.retry)
        at = min(self.lease.end - settings.renew, self._told + settings.advance)
        at = max(at, self._beat + settings.retry)
        return at if at < self.lease.end and not self._asleep else NEVER

    def deadline(self) -> int | None:
        """When `tick` is due; None: never."""
        at = self._renew_at()
        if self._minds() and (due := self.flow.deadline()):
            at = min(at, due)
        if self._ask_at:
            at = min(at, self._ask_at)
        if self.yielding is not None:
            at = min(at, self.s_max + 1 if self._all_done() else self._yield_until)
        return at if at < NEVER else None

    def _minds(self) -> bool:
        """Whether it asks those again that have not answered: not for their own sake, in an idle group."""
        return not self._asleep or self._own.committed < self._own.log.last

    def tick(self, now: Interval) -> None:
        """Renews the lease while it is in use; asks again those that have not answered."""
        if self.yielding is not None:
            self._yield(now)
        if self.over:
            return
        if self._minds():
            self.flow.tick(now)
        if self._asks:
            self._answer(now)
        if self._needed and now.earliest >= self._needed:
            self._needed = 0
            self._asks.clear()
            self._own.out.append(Elsewhere(""))
        if now.earliest >= self._renew_at():
            if self._in_use(now):
                self._ask_for_votes(now)
            else:
                self._asleep = True
                self._own.send(Quiet(self.ballot), *self.flow.others)
