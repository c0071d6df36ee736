"""One replica's part in a Paxos group: the inputs, what can be read, and which role gets what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.group import NotLeader
from services.spanner.paxos import invariants
from services.spanner.paxos.acceptor import Acceptor
from services.spanner.paxos.ballots import ballot_of
from services.spanner.paxos.candidate import Candidate
from services.spanner.paxos.follower import Follower
from services.spanner.paxos.leader import Leader
from services.spanner.paxos.messages import (
    Accept,
    Accepted,
    Ask,
    Behind,
    Elsewhere,
    Fetch,
    History,
    Learn,
    Prepare,
    Promise,
    Quiet,
    Refuse,
    Release,
)
from services.spanner.paxos.outputs import FetchCheckpoint, Follows, Position
from services.spanner.paxos.plausible import plausible
from services.spanner.paxos.recovered import Recovered
from services.spanner.truetime.interval import Interval

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from services.spanner.group import Member
    from services.spanner.paxos.ballots import Ballot
    from services.spanner.paxos.messages import Message
    from services.spanner.paxos.outputs import Output
    from services.spanner.paxos.settings import Settings

__all__ = ["Paxos", "Recovered"]


class Paxos:
    """The rules at one replica."""

    def __init__(
        self,
        server: str,
        members: Sequence[Member],
        recovered: Recovered,
        settings: Settings,
        rng: random.Random,
        preferred: str = "",
    ) -> None:
        """Makes one that does nothing of itself until something is asked of it or comes.

        Args:
            server: the name of this member.
            members: the group's, the same everywhere; their order does not matter.
            recovered: what its disk holds.
            settings: how long to wait for what.
            rng: for waits that should differ between replicas.
            preferred: who should lead, if it can: a hint.

        Raises:
            InvariantBroken: what was recovered contradicts itself.
            ValueError: the server is no member, or nobody may lead.
        """
        self._own = own = Acceptor(server, members, recovered, settings)
        self._follower = Follower(own, preferred, rng)
        self._role: Candidate | Leader | None = None
        self._now = Interval(0, 0)  # of the last input
        self._released = 0  # a ballot of which this replica knows that it is over
        self._fetching = False

    # What the driver reads

    @property
    def leader(self) -> str:
        """Who leads, as far as this replica knows; "" where it does not."""
        role = self._role
        return self._own.server if isinstance(role, Leader) and role.ready else self._follower.leader

    def term(self, now: Interval) -> Ballot:
        """Returns the reign's ballot while this replica leads (since `Leads`) and its lease holds; else 0.

        A lease that ran out and is taken again without another reign between is the same reign.
        """
        role = self._role
        return role.ballot if isinstance(role, Leader) and role.holds(now) else 0

    @property
    def lease(self) -> tuple[int, int]:
        """The lease's start and end (Appendix A), of this replica's reign; 0, 0 where there was none.

        It holds while TT.before(end). `Leads` and each extension move it.
        """
        role = self._role
        return (role.lease.start, role.lease.end) if isinstance(role, Leader) else (0, 0)

    @property
    def assigned(self) -> int:
        """s_max: the last timestamp assigned or promised. Only while it leads."""
        return self._role.s_max if isinstance(self._role, Leader) else 0

    @property
    def paxos_safe(self) -> int:
        """t_Paxos_safe, once all outputs are carried out: nothing applied later here has a timestamp ≤ it."""
        return self._own.safe

    @property
    def applied(self) -> Position:
        """Up to where entries were handed out by `Apply`."""
        return self._own.applied

    @property
    def last(self) -> int:
        """The last index of the log, chosen or not."""
        return self._own.log.last

    @property
    def promised(self) -> Ballot:
        """No ballot below it is accepted."""
        return self._own.promised

    def next_deadline(self) -> int | None:
        """When `tick` is due, if nothing happens before: when TT.now().earliest reaches it. None: never."""
        role = self._role
        return (self._follower if role is None else role).deadline()

    def take(self) -> list[Output]:
        """Hands over the outputs since the last call."""
        if isinstance(self._role, Leader):
            self._role.flush(self._now)
        return self._own.take()

    # Inputs

    def receive(self, sender: str, message: Message, now: Interval) -> None:
        """Takes a message of another member (others are ignored, and what no member can have said)."""
        own = self._own
        self._now = now
        if (
            sender in own.names
            and sender != own.server
            and plausible(message, now.latest, own.settings.lease)
        ):
            handler = getattr(self, "_on_" + type(message).__name__.lower())
            handler(sender, message, now)
            self._turn(now)

    def durable(self, number: int, now: Interval) -> None:
        """Notes that the `Write` or `Install` of that number is durable, and all before it."""
        self._now = now
        self._own.durable(number)
        role = self._role
        if isinstance(role, Leader):
            role.durable(number, now)
        elif role is not None:
            role.durable(now)
        self._turn(now)

    def tick(self, now: Interval) -> None:
        """Does what is due."""
        self._now = now
        role = self._role
        if role is None:
            if self._follower.tick(now):
                self._stand(now)
        else:
            role.tick(now)
        self._turn(now)

    def lead(self, now: Interval) -> None:
        """Notes that somebody needs this replica to lead, and its lease to hold.

        Does nothing where `term` says so already. Else `Leads` (a new reign) or `Renewed` (the lease holds
        again) tells when it does, or `Elsewhere` that it does not come to that; asking twice before that is
        harmless.
        """
        self._now = now
        if isinstance(self._role, Leader):
            self._role.lead(now)
        elif self._role is not None:
            self._follower.asked = True
        elif self._follower.lead(now):
            self._stand(now)
        self._turn(now)

    def use(self, now: Interval) -> bool:
        """Notes that the leader is asked for what takes no entry: that, too, keeps its lease.

        Returns whether there is something to carry out: it had meant to let the lease run out.
        """
        role = self._role
        return isinstance(role, Leader) and role.use(now)

    def assign(self, at_least: int, now: Interval) -> int:
        """Returns the timestamp of the next entry: above all assigned and promised, not below `at_least`.

        It lies in the lease (3.C 3). 0: the lease does not reach so far yet; `Renewed` tells when to try
        again.

        Raises:
            NotLeader: this replica does not lead (`services.spanner.group`), or gives leadership away.
            TooFar: it is so far in the future that no lease will reach it.
        """
        if not isinstance(self._role, Leader):
            raise NotLeader(self._follower.leader)
        self._now = now
        return self._role.assign(at_least, now)

    def propose(self, timestamp: int, value: bytes) -> int:
        """Puts an entry with the timestamp that `assign` returned right before into the log; returns its
        index.

        It was chosen when `Apply` brings that index while this replica still leads the same reign.
        """
        if not isinstance(self._role, Leader):
            raise NotLeader(self._follower.leader)
        return self._role.propose(timestamp, value)

    def safe(self, t: int, now: Interval) -> None:
        """Notes that somebody waits for t_Paxos_safe ≥ t: `Safe` tells of each step towards it.

        A leader promises it to itself, if its lease reaches so far; others ask the leader (4.2.4). Asked
        again after longer and longer times until it is reached, or `safe(0)` says that nobody waits any more.
        """
        own = self._own
        self._now = now
        own.safe_wanted = max(t, own.safe_wanted) if t else 0
        if t > own.safe:
            if isinstance(self._role, Leader):
                self._role.ask(own.server, Ask(t, own.log.last), now)
            elif self._role is None:
                self._follower.safe(now)
            self._turn(now)

    def abdicate(self, now: Interval, successor: str = "") -> None:
        """Gives leadership away (4.1.1): assigns nothing more, waits until all is chosen and TT.after(s_max).

        Then it releases its votes and tells the successor to stand.

        Args:
            now: TT.now().
            successor: a read-write member; "": nobody. A member that does not follow: the most up to date.
        """
        self._now = now
        role = self._role
        if isinstance(role, Leader):
            role.abdicate(self._successor(role, successor), now)
            self._turn(now)

    def fetched(self, position: Position | None, now: Interval) -> None:
        """Notes that the checkpoint asked for is here (with its header), or could not be fetched: None.

        `Install` follows, or nothing when it is of no use (any more).
        """
        own = self._own
        self._now = now
        self._fetching = False
        if position is not None and position.index > own.committed:
            own.install(position)
            if self._follower.leader not in ("", own.server):
                own.send(Ask(0, own.log.last), self._follower.leader)

    def compacted(self, index: int) -> None:
        """Notes that entries up to `index` (not above `applied`) need not be kept: a checkpoint has them."""
        self._own.compacted(index)

    # Roles

    def _turn(self, now: Interval) -> None:
        """Goes from role to role, where an input has brought it to that."""
        own, role = self._own, self._role
        if isinstance(role, Candidate):
            if role.won:
                self._role = Leader(own, role, now)
                self._follower.asked = False
                if own.safe_wanted > own.safe:
                    self._role.ask(own.server, Ask(own.safe_wanted, own.log.last), now)
            elif role.lost:
                self._give_up(now)
        elif isinstance(role, Leader) and role.over:
            invariants.s_max_has_passed(now.earliest, role.s_max)
            successor = role.yielding or ""
            self._release(role.ballot, successor)
            self._step_down(successor if successor != own.server else "", now, stand=False)
            self._follower.released(successor, now)
            if successor == own.server:
                self._stand(now)

    def _stand(self, now: Interval) -> None:
        own = self._own
        if own.may_vote(0, now):
            ballot = ballot_of(own.next_round(), own.names.index(own.server))
            self._role = Candidate(own, ballot, self._released, now)
            self._turn(now)

    def _give_up(self, now: Interval) -> None:
        role = self._role
        assert isinstance(role, Candidate)
        self._end_attempt(role)
        self._follower.failed(role.holder, role.until, now)
        self._follower.safe(now)

    def _end_attempt(self, role: Candidate) -> None:
        role.give_up()
        if role.begun:
            self._released = role.ballot
        self._role = None

    def _release(self, ballot: Ballot, successor: str = "") -> None:
        own = self._own
        own.release(ballot)
        self._released = ballot
        own.send(Release(ballot, successor), *(name for name in own.names if name != own.server))

    def _step_down(self, leader: str, now: Interval, stand: bool) -> None:
        """Ends the own reign."""
        self._role = None
        self._follower.leader = leader
        self._follower.deposed(now, stand)
        self._own.out.append(Follows(leader))

    def _overruled(self, ballot: Ballot, now: Interval) -> None:
        """A member has promised a greater ballot: it accepts nothing of this leader any more.

        Where it was only somebody who had lost sight of this leader, it takes a greater ballot itself.
        """
        role = self._role
        assert isinstance(role, Leader)
        self._own.hear_of(ballot)
        if role.holds(now):
            role.abdicate(self._own.server, now)
            return
        if now.earliest > role.s_max:
            self._release(role.ballot)
        self._step_down("", now, stand=True)

    def _successor(self, role: Leader, wanted: str) -> str:
        """Returns to whom it goes: as wanted, or to the read-write member that has most of the log."""
        others = [name for name in self._own.writers if name != self._own.server]
        if wanted in others:
            return wanted
        return max(others, key=lambda name: role.flow.peers[name].acked, default="")

    # Messages

    def _is_from(self, sender: str, ballot: Ballot) -> bool:
        return self._own.proposer(ballot) == sender

    def _on_prepare(self, sender: str, message: Prepare, now: Interval) -> None:
        own, role, ballot = self._own, self._role, message.ballot
        if not self._is_from(sender, ballot) or not own.member.votes:
            return
        own.hear_of(ballot)
        if (isinstance(role, Leader) and role.lease.holds(now)) or (
            isinstance(role, Candidate) and ballot < role.ballot
        ):
            own.refuse(sender, ballot)
        elif own.prepare(sender, message, now):
            self._yield_to(ballot, now)
            self._follower.voted(now)

    def _yield_to(self, ballot: Ballot, now: Interval) -> None:
        """Ends what was begun in a lesser ballot."""
        role = self._role
        if isinstance(role, Leader) and ballot > role.ballot:
            self._step_down(self._own.proposer(ballot), now, stand=False)
        elif isinstance(role, Candidate):
            self._end_attempt(role)

    def _on_promise(self, sender: str, message: Promise, now: Interval) -> None:
        role = self._role
        if isinstance(role, Candidate) and message.ballot == role.ballot:
            role.promised(sender, message, now)

    def _on_refuse(self, sender: str, message: Refuse, now: Interval) -> None:
        role = self._role
        self._own.hear_of(message.promised)
        if role is None or message.ballot != role.ballot:
            return
        if isinstance(role, Candidate):
            role.refused(sender, message)
        elif message.promised > role.ballot:
            self._overruled(message.promised, now)

    def _on_accept(self, sender: str, message: Accept, now: Interval) -> None:
        if self._is_from(sender, message.ballot) and self._own.accept(sender, message, now):
            self._yield_to(message.ballot, now)
            self._follower.heard(message.ballot, now)

    def _on_accepted(self, sender: str, message: Accepted, now: Interval) -> None:
        role = self._role
        if isinstance(role, Leader) and message.ballot == role.ballot:
            role.accepted(sender, message, now)

    def _on_learn(self, sender: str, message: Learn, now: Interval) -> None:
        own = self._own
        if not self._is_from(sender, message.ballot):
            return
        if message.index > own.committed and own.log.origin(message.index) == message.origin:
            own.commit(message.index)
        if message.promise:
            own.promised_safe(message.after, message.promise)
        if self._role is None and message.ballot >= own.promised:
            self._follower.leader = sender

    def _on_quiet(self, sender: str, message: Quiet, now: Interval) -> None:
        if message.ballot == self._own.promised:
            self._follower.quiet()

    def _on_release(self, sender: str, message: Release, now: Interval) -> None:
        own = self._own
        if not self._is_from(sender, message.ballot):
            return
        own.release(message.ballot)
        if message.ballot == own.promised and self._role is None:
            self._released = message.ballot
            self._follower.released(message.successor, now)
            if message.successor == own.server:
                self._stand(now)

    def _on_fetch(self, sender: str, message: Fetch, now: Interval) -> None:
        own = self._own
        if message.ballot != own.promised:
            own.refuse(sender, message.ballot)
        elif message.after < own.log.base.index:
            base = own.log.base
            own.send(Behind(message.ballot, base.index, base.timestamp, base.origin), sender)
        else:
            entries = own.log.after(message.after, own.settings.batch, own.settings.batch_bytes)
            own.tell(sender, History(message.ballot, message.after, entries))

    def _on_history(self, sender: str, message: History, now: Interval) -> None:
        role = self._role
        if isinstance(role, Candidate) and message.ballot == role.ballot:
            role.history(sender, message)

    def _on_behind(self, sender: str, message: Behind, now: Interval) -> None:
        own, role = self._own, self._role
        if message.index <= own.committed or isinstance(role, Leader):
            return
        if own.log.origin(message.index) == message.origin:
            own.commit(message.index)
            if isinstance(role, Candidate):
                role.fetch()
            else:
                own.send(Ask(0, own.log.last), sender)
            return
        if not own.member.holds_data:
            own.install(Position(message.index, message.timestamp, message.origin))
            return
        if isinstance(role, Candidate) and message.ballot == role.ballot:
            role.lost = True
        if not self._fetching:
            self._fetching = True
            own.out.append(FetchCheckpoint(sender, message.index))

    def _on_ask(self, sender: str, message: Ask, now: Interval) -> None:
        role = self._role
        if isinstance(role, Leader):
            role.ask(sender, message, now)
        elif role is None:
            holder = self._follower.holder(now)
            if holder not in (None, self._own.server, sender):
                self._own.send(Elsewhere(holder or ""), sender)
            if message.lead and self._follower.wanted(now):
                self._stand(now)

    def _on_elsewhere(self, sender: str, message: Elsewhere, now: Interval) -> None:
        self._follower.elsewhere(message.leader, now)
