"""A replica that does not lead: whom it believes to, what it asks, and when it stands for election.

It stands when it has reason to (somebody needs a leader, or the leader fell silent while it was in use) and
its vote is free. The preferred leader does so at once, others after a while, and by chance not all at the
same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.paxos.messages import Ask
from services.spanner.paxos.outputs import Elsewhere

if TYPE_CHECKING:
    import random

    from services.spanner.paxos.acceptor import Acceptor
    from services.spanner.paxos.ballots import Ballot
    from services.spanner.truetime.interval import Interval

TRIES = 8
"""Attempts, and questions that nobody answers, until somebody asks for it again."""


class Follower:
    """What a replica knows of the leader, and wants of one.

    Attributes:
        leader: who leads, as far as it knows; "" where it does not.
        asked: `lead` waits for an answer.
        active: the leader was in use when it was last heard: silence has a meaning.
    """

    def __init__(self, own: Acceptor, preferred: str, rng: random.Random) -> None:
        self._own = own
        self._preferred = preferred if preferred in own.writers else ""
        self._rng = rng
        self.leader = ""
        self.asked = False
        self.active = False
        self._stand = 0  # when; 0: not
        self._rest = 0  # not before that, after an attempt that came to nothing
        self._blocker, self._blocked = "", 0  # who has somebody's vote, until when
        self._after = self._delay()  # the end of the vote, where the leader falls silent
        self._tries = 0
        self._ask = 0  # when the leader is asked (again) for a promise; 0: not
        self._ask_wait = own.settings.retry
        self._asked_of = ""
        self._asked_for = 0  # the promise
        self._sent_on = False  # an answer named somebody else, who was asked then
        self._tail = 0  # when the leader is asked what became of the end of the log
        self._tail_tries = 0

    def _delay(self) -> int:
        if self._own.server == self._preferred:
            return 0
        stand = self._own.settings.stand
        return stand + self._rng.randrange(stand)

    def holder(self, now: Interval) -> str | None:
        """Returns who has the vote of this replica ("" where a stranger has it); None: it is free."""
        own = self._own
        return own.proposer(own.vote) if not own.may_vote(0, now) else None

    # What is wanted

    def lead(self, now: Interval) -> bool:
        """Somebody needs this replica to lead; returns whether to stand at once."""
        own = self._own
        if own.server not in own.writers:
            own.out.append(Elsewhere(self.leader or self._preferred))
            return False
        self._tries = 0
        holder = self.holder(now)
        if holder is None and now.earliest <= self._blocked:
            holder = self._blocker
        if holder is not None:
            own.out.append(Elsewhere(holder if holder != own.server else ""))
            self._want(now)
            return False
        self.asked = True
        if now.earliest < self._rest:
            self._stand = self._stand or self._rest
            return False
        others = dict.fromkeys(name for name in (self._preferred, self.leader) if name)
        others.pop(own.server, None)
        if own.server == self._preferred or not others:
            return True
        if not self._stand:
            own.send(Ask(0, own.log.last, lead=True), *others)
        self._want(now)
        return False

    def _want(self, now: Interval) -> None:
        own = self._own
        if own.server in own.writers and not self._stand:
            free = own.until + 1 if self.holder(now) is not None else now.earliest
            self._stand = free + self._delay()

    def wanted(self, now: Interval) -> bool:
        """Another member needs a leader; returns whether to stand at once."""
        own = self._own
        if own.server not in own.writers:
            return False
        self._tries = 0
        at_once = own.server in (self._preferred, self.leader) and now.earliest >= self._rest
        if at_once and self.holder(now) is None:
            return True
        self._want(now)
        return False

    def safe(self, now: Interval) -> None:
        """Somebody waits for t_Paxos_safe: asks the leader, unless it owes an answer already."""
        own = self._own
        if own.safe_wanted > own.safe and (not self._ask or own.safe >= self._asked_for):
            self._ask, self._ask_wait = 0, own.settings.retry
            self._ask_for_promise(now)

    def _ask_for_promise(self, now: Interval) -> None:
        own = self._own
        again = self._ask > 0
        to = self.leader or self._preferred
        if to in ("", own.server) or (again and to == self._asked_of):
            others = [name for name in own.writers if name not in (own.server, self._asked_of)]
            to = others[self._rng.randrange(len(others))] if others else to
        self._asked_of, self._asked_for = to, own.safe_wanted
        self._ask = now.earliest + self._ask_wait
        if to not in ("", own.server):
            own.send(Ask(own.safe_wanted, own.log.last, lead=True), to)
        if again or to in ("", own.server):
            self._want(now)

    def elsewhere(self, leader: str, now: Interval) -> None:
        """Takes a hint who leads."""
        if leader in self._own.names and leader != self._own.server:
            self.leader = leader
            if self._ask and leader != self._asked_of and not self._sent_on:
                self._sent_on = True  # once: two may each believe that the other leads
                self._ask_for_promise(now)

    # What is heard

    def heard(self, ballot: Ballot, now: Interval) -> None:
        """A leader is alive: nobody needs to stand."""
        own = self._own
        leader = own.proposer(ballot)
        if leader != self.leader or not self.active:
            self._after = self._delay()
        self.leader, self.active = leader, True
        self._stand = self._rest = self._blocked = self._tries = self._tail_tries = 0
        self._tail = now.earliest + own.settings.retry if own.log.last > own.committed else 0
        if self.asked:
            self.asked = False
            own.out.append(Elsewhere(leader))

    def quiet(self) -> None:
        """The leader lets its lease run out: no reason to stand."""
        self.active = False

    def released(self, successor: str, now: Interval) -> None:
        """The leader is gone, of its own will: somebody else stands, or this one some time later."""
        settings = self._own.settings
        if self._own.server in self._own.writers and (successor or self.active or self._stand):
            self._stand = now.earliest + self._delay() + (settings.election if successor else 0)
        self.active = False
        self.leader = successor

    def voted(self, now: Interval) -> None:
        """Another candidate has the vote: leaves it some time."""
        if self._stand or self.asked:
            self._stand = max(self._stand, now.earliest + self._own.settings.election + self._delay())

    def failed(self, holder: Ballot, until: int, now: Interval) -> None:
        """The own attempt came to nothing: tells who asked for it, and tries again later, some times."""
        own = self._own
        if self.asked:
            self.asked = False
            name = own.proposer(holder)
            own.out.append(Elsewhere(name if name != own.server else ""))
        self._tries += 1
        self._blocker, self._blocked = own.proposer(holder), until
        wait = min(own.settings.stand << self._tries, own.settings.retry_max)
        self._rest = max(now.earliest + wait, until + 1) + self._rng.randrange(wait)
        self._stand = self._rest
        if self._tries >= TRIES:
            self.active = False
            self._stand = 0

    def deposed(self, now: Interval, stand: bool) -> None:
        """This replica has led, and does not any more."""
        self.asked = self.active = False
        self._stand = now.earliest + self._delay() if stand else 0

    # Time

    def deadline(self) -> int | None:
        """When `tick` is due; None: never."""
        own = self._own
        due = [at for at in (self._stand, self._ask) if at]
        if self._tail and self._tail_tries < TRIES and own.log.last > own.committed:
            due.append(self._tail)
        if self.active and own.vote and own.server in own.writers:
            due.append(own.until + 1 + self._after)
        return min(due) if due else None

    def tick(self, now: Interval) -> bool:
        """Asks again what was not answered; returns whether to stand."""
        own, settings = self._own, self._own.settings
        if self._ask and now.earliest >= self._ask:
            self._sent_on = False
            if own.safe_wanted > own.safe:
                self._ask_wait = min(2 * self._ask_wait, settings.retry_max)
                self._ask_for_promise(now)
            else:
                self._ask = 0
        if self._tail and now.earliest >= self._tail and self._tail_tries < TRIES:
            self._tail_tries += 1
            self._tail = now.earliest + (settings.retry << self._tail_tries)
            if own.log.last > own.committed and self.leader not in ("", own.server):
                own.send(Ask(0, own.log.last), self.leader)
        silent = self.active and own.vote and now.earliest > own.until + self._after
        if (self._stand and now.earliest >= self._stand) or silent:
            self._stand = 0
            if self.holder(now) is None:
                return own.server in own.writers
            self._want(now)
        return False
