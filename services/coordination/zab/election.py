"""Fast leader election: the oracle that nominates (IV).

It nominates the process with the highest ⟨f.a, f.zxid⟩, which owns I_e' already (V). Apache's
`FastLeaderElection`: everyone votes for itself, tells everyone, and changes to any better vote that it
hears, by (epoch, zxid, id), until a quorum votes alike and nothing better comes for a while. A round is one
such contest; votes of older rounds do not count. Whoever comes late joins the leader that a quorum says it
follows.

While a configuration is in some histories and perhaps committed, the members of both may vote and be voted
for, and one of the new ones may be the only one that has all; a quorum is one of what holds. Those who do
not know the new configuration learn of its candidates by the votes of those who do.

Nothing that is decided here needs to be right: two nominated at once is a waste of time, and phase 1 sees to
it that one at most is established.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from protos.coordination_pb2 import Notification

if TYPE_CHECKING:
    from services.coordination.zab.acceptor import Acceptor
    from services.coordination.zab.timing import Timing

LOOKING, FOLLOWING, LEADING, OBSERVING = (
    Notification.LOOKING,
    Notification.FOLLOWING,
    Notification.LEADING,
    Notification.OBSERVING,
)


class Vote(NamedTuple):
    """For whom, and how much it has: the order of the fields is the order of votes."""

    epoch: int
    zxid: int
    leader: int


NOBODY = Vote(0, 0, 0)  # of those who may not vote


class Ballot(NamedTuple):
    """What a voter said last."""

    vote: Vote
    round: int
    state: Any


class Election:
    """One server's part in an election.

    Attributes:
        round: the count of contests.
        vote: the present one; `NOBODY` for those who may not vote, who wait until others have a leader.
        elected: the outcome, once there is one.
        over: always None: an election has no other end.
    """

    def __init__(self, own: Acceptor, timing: Timing, round: int, hasty: bool) -> None:
        """Makes one.

        Args:
            own: this server.
            timing: how long to wait.
            round: of the last contest it was in.
            hasty: whether to end as soon as all have voted alike: not after an attempt that failed, so as
                not to spin.
        """
        self._own = own
        self._timing = timing
        self.round = round
        self.hasty = hasty
        self.vote = NOBODY
        self.elected: int | None = None
        self.over: str | None = None
        self._ballots: dict[int, Ballot] = {}
        self._settle_at: float | None = None
        self._resend = timing.resend
        self._tell_at = 0.0

    def start(self, now: float) -> None:
        """Votes for itself, in a new round."""
        self.round += 1
        self._ballots.clear()
        self.vote = self._for_itself()
        self._tell(now)
        self._count(now)

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return self._tell_at if self._settle_at is None else min(self._tell_at, self._settle_at)

    def tick(self, now: float) -> None:
        """Settles on a vote that nothing better came for, or tells its vote again."""
        if self._settle_at is not None and now >= self._settle_at:
            self.elected = self._joins() or self.vote.leader
        elif now >= self._tell_at:
            self._resend = min(2 * self._resend, self._timing.resend_max)
            self._tell_all(now)

    def heard(self, sender: int, message: Notification, now: float) -> None:
        """Takes a vote."""
        state = message.state
        if sender not in self._own.voters:
            if state == LOOKING and self.vote is not NOBODY and self._concerns(message):
                self._tell_one(sender)
            return
        ballot = Ballot(Vote(message.epoch, message.zxid, message.leader), message.round, state)
        if state in (FOLLOWING, LEADING):
            self._ballots[sender] = ballot
        elif state != LOOKING or self.vote is NOBODY or not ballot.vote.leader:
            self._ballots.pop(sender, None)
        elif message.round < self.round:
            self._ballots.pop(sender, None)
            self._tell_one(sender)
        else:
            if message.round > self.round:
                self.round = message.round
                self.vote = max(self._for_itself(), ballot.vote)
                self._tell(now)
            elif ballot.vote > self.vote:
                self.vote = ballot.vote
                self._tell(now)
            self._ballots[sender] = ballot
        self._count(now)

    def _concerns(self, message: Notification) -> bool:
        """Says whether to answer a stranger: who only learns, or missed a round or a configuration.

        Others who hold themselves for voters would answer the answer, and so on for ever.
        """
        behind = message.round < self.round or message.config < self._own.configuration.version
        return behind or not message.leader

    def _for_itself(self) -> Vote:
        own = self._own
        if own.server not in own.voters:
            return NOBODY
        return Vote(own.current_epoch, own.history.last, own.server)

    def _count(self, now: float) -> None:
        """Settles, at once or after `finalize_wait`, on a leader that there is, or on a quorum's vote."""
        own = self._own
        alike = [own.server]
        for sender, ballot in self._ballots.items():
            if ballot.round == self.round and ballot.vote.leader == self.vote.leader:
                alike.append(sender)
        joins = self._joins()
        if joins is None and (self.vote is NOBODY or not own.settled.is_quorum(alike)):
            self._settle_at = None
        elif self.hasty and (joins is not None or all(voter in alike for voter in own.voters)):
            self.elected = joins or self.vote.leader
        elif self._settle_at is None:
            self._settle_at = now + self._timing.finalize_wait

    def _joins(self) -> int | None:
        """Returns who says it leads, and makes a quorum with those who follow it and this server."""
        for leader, said in self._ballots.items():
            if said.state == LEADING and said.vote.leader == leader:
                with_it = [self._own.server]
                for sender, ballot in self._ballots.items():
                    if ballot.vote.leader == leader and ballot.state in (FOLLOWING, LEADING):
                        with_it.append(sender)
                if any(electorate.is_quorum(with_it) for electorate in self._own.electorates):
                    return leader
        return None

    def _tell(self, now: float) -> None:
        """Tells a new vote, which starts the wait and the back-off anew."""
        self._settle_at = None
        self._resend = self._timing.resend
        self._tell_all(now)

    def _tell_all(self, now: float) -> None:
        self._tell_at = now + self._resend
        for to in dict.fromkeys([*self._own.voters, self.vote.leader]):
            if to not in (self._own.server, NOBODY.leader):
                self._tell_one(to)

    def _tell_one(self, to: int) -> None:
        self._own.send(to, notification(self._own, self.vote, self.round, LOOKING))


def notification(own: Acceptor, vote: Vote, round: int, state: Any) -> Notification:
    """Returns what a server says of its vote, and of the ensemble as it knows it."""
    return Notification(
        sender=own.server,
        leader=vote.leader,
        zxid=vote.zxid,
        epoch=vote.epoch,
        round=round,
        state=state,
        config=own.configuration.version,
        members=str(own.configuration),
    )
