"""An attempt to lead: phase 1, which takes promises and lease votes together.

A candidate promises itself last: one that is cut off changes nothing, and disturbs nobody when it comes back.
Its round is reserved durably before that, so no later attempt is taken for it after a crash.

Of a quorum's logs the one whose last entry has the greatest (origin, index) has all that is chosen: each
reign begins with an entry of its own, chosen before anything else of it counts, so whoever has accepted
anything in the latest reign has its leader's log, and the longest such log has most of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.paxos.ballots import round_of
from services.spanner.paxos.messages import Fetch, Prepare, Release

if TYPE_CHECKING:
    from services.spanner.paxos.acceptor import Acceptor
    from services.spanner.paxos.ballots import Ballot
    from services.spanner.paxos.messages import History, Promise, Refuse
    from services.spanner.truetime.interval import Interval


class Candidate:
    """One attempt.

    Attributes:
        won: a quorum has promised and voted, and the log is the one to go on with.
        lost: it comes to nothing.
        begun: its ballot was told.
        holder, until: who has the vote of a member that refused, until when.
        votes: v_leader of each vote.
    """

    def __init__(self, own: Acceptor, ballot: Ballot, released: Ballot, now: Interval) -> None:
        self._own = own
        self.ballot = ballot
        self._released = released
        self._promises: dict[str, Promise] = {}
        self._refused: dict[str, None] = {}
        self._write = 0  # the own promise is in this one
        self._best = ""  # whose log is being fetched
        self.votes: dict[str, int] = {}
        self.won = self.lost = False
        self.holder: Ballot = 0
        self.until = 0
        self._give_up = now.earliest + own.settings.election
        self._again = 0
        self.begun = False
        self._begin(now)

    def _begin(self, now: Interval) -> None:
        """Asks, as soon as no later attempt can be taken for this one."""
        if not self.begun and self._own.may_use(round_of(self.ballot)):
            self.begun = True
            self._ask(now)
            self._promise_itself(now)

    @property
    def fixed(self) -> bool:
        """Whether it has promised itself."""
        return self._write > 0

    def deadline(self) -> int:
        """When `tick` is due."""
        return min(self._give_up, self._again) if self.begun else self._give_up

    def tick(self, now: Interval) -> None:
        """Asks again, or gives up."""
        if now.earliest >= self._give_up:
            self.lost = True
        elif now.earliest >= self._again and self.begun:
            self._ask(now)

    def _ask(self, now: Interval) -> None:
        own = self._own
        self._again = now.earliest + own.settings.retry
        others = [name for name in own.voters if name != own.server and name not in self._promises]
        own.send(Prepare(self.ballot, now.earliest, self._released), *others)
        self.fetch()

    def promised(self, sender: str, message: Promise, now: Interval) -> None:
        """Takes a promise, and the vote that is in it."""
        if sender in self._own.voters:
            self._promises[sender] = message
            self._refused.pop(sender, None)
            self.votes[sender] = max(self.votes.get(sender, 0), message.vote)
            self._promise_itself(now)
            self._proceed()

    def refused(self, sender: str, message: Refuse) -> None:
        """Notes that a member will not; gives up when too many do."""
        own = self._own
        if sender not in own.voters:
            return
        if message.promised > self.ballot:
            self._promises.pop(sender, None)
        elif sender in self._promises:
            return  # overtaken by its promise
        self._refused[sender] = None
        if message.until > self.until and message.holder:
            self.holder, self.until = message.holder, message.until
        if len(own.voters) - len(self._refused) < own.quorum:
            self.lost = True

    def _promise_itself(self, now: Interval) -> None:
        own = self._own
        if self.fixed or len(self._promises) + 1 < own.quorum:
            return
        if not own.may_vote(self.ballot, now) or own.promised > self.ballot:
            self.lost = True
            return
        own.promise(self.ballot)
        own.give_vote(self.ballot, now)
        self.votes[own.server] = now.earliest
        self._write = own.number + 1

    def durable(self, now: Interval) -> None:
        """Notes that something is durable."""
        self._begin(now)
        self._proceed()

    def _proceed(self) -> None:
        own = self._own
        if not self.fixed or own.confirmed < self._write or len(self._promises) + 1 < own.quorum or self.lost:
            return
        best, (origin, last) = own.server, (own.log.end.origin, own.log.last)
        for name, promise in self._promises.items():
            if (promise.origin, promise.last) > (origin, last):
                best, origin, last = name, promise.origin, promise.last
        if best != own.server:
            if best != self._best:
                self._best = best
                self.fetch()
            return
        committed = max(promise.committed for promise in self._promises.values()) if self._promises else 0
        own.commit(committed)
        self.won = True

    def fetch(self) -> None:
        """Asks for the greatest log, where it is another's."""
        if self._best:
            self._own.send(Fetch(self.ballot, self._own.committed), self._best)

    def history(self, sender: str, message: History) -> None:
        """Takes over a part of the greatest log."""
        own = self._own
        if sender != self._best or self.lost:
            return
        if message.previous <= own.committed or own.log.origin(message.previous) is not None:
            own.store(message.previous, message.entries)
            promise = self._promises[sender]
            upto = message.previous + len(message.entries)
            if upto < promise.last:
                own.send(Fetch(self.ballot, upto), sender)
        self._proceed()

    def give_up(self) -> None:
        """Frees the votes that it was given: nothing was done with them, and nothing will be."""
        own = self._own
        if not self.begun:
            return
        own.release(self.ballot)
        own.send(Release(self.ballot), *(name for name in own.voters if name != own.server))
