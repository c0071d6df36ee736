"""A leader: the right columns of phases 1 to 3 (IV).

It is its own follower: its promises, its log and its ACKs count
like anyone's, once they are durable.

What is agreed on needs a quorum of each electorate: of the configuration that holds, and of one that is in
the history and may be committed, so that whichever of both holds, its quorums intersect with this leader's.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING

from protos.coordination_pb2 import (
    Ack,
    AckEpoch,
    AckLeader,
    CEpoch,
    Commit,
    CommitLeader,
    Inform,
    NewEpoch,
    Ping,
    Pong,
    Propose,
)
from services.coordination.configuration import Configuration
from services.coordination.zab import invariants
from services.coordination.zab.acknowledged import Acknowledged
from services.coordination.zab.learner import Learner, Stage, synchronize
from services.coordination.zab.outputs import Hangup, Heard, Lost, Ready, SendAll
from services.coordination.zab.zxid import LAST_COUNTER, LAST_EPOCH, counter_of, epoch_of, zxid_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from services.coordination.zab.acceptor import Acceptor
    from services.coordination.zab.outputs import Message
    from services.coordination.zab.timing import Timing


FOREVER = float("inf")


class Phase(IntEnum):
    """How far it has come."""

    DISCOVERY = 0  # collects CEPOCHs
    NEW_EPOCH = 1  # has told e', collects ACK-Es
    SYNCHRONIZATION = 2  # owns I_e', collects ACK-LDs
    BROADCAST = 3  # is established


class Leader:
    """One server's leadership: of an attempt, and of an epoch once it is established.

    Attributes:
        phase: how far it has come.
        epoch: e', once it is chosen.
        learners: followers and observers that are connected, by server.
        over: why it has ended, once it has.
    """

    def __init__(self, own: Acceptor, timing: Timing) -> None:
        self._own = own
        self._timing = timing
        self.phase = Phase.DISCOVERY
        self.epoch = 0
        self.over: str | None = None
        self.learners: dict[int, Learner] = {}
        self._said: dict[int, int] = {}  # CEPOCHs: f.p
        self._promised: dict[int, tuple[int, int]] = {}  # ACK-Es: (f.a, f.zxid), of new promises
        self._entered: dict[int, None] = {}  # ACK-LDs
        self._acked = Acknowledged(own)
        self._outstanding: deque[Propose] = deque()  # proposed and not committed: what `Inform` will carry
        self._propose_to: tuple[int, ...] = ()
        self._inform_to: tuple[int, ...] = ()
        self._commit_to: tuple[int, ...] = ()
        self._deadline = self._ping_at = 0.0
        self._silent_at = FOREVER  # when a learner may have been silent for too long: not after that
        self._count_voters()

    def _count_voters(self) -> None:
        """Keeps what follows from the configuration, which changes rarely."""
        self._acked.recount()
        self._voters = self._own.voters

    def _quorum(self, servers: Collection[int]) -> bool:
        return all(electorate.is_quorum(servers) for electorate in self._own.electorates)

    # Connections and time

    def start(self, now: float) -> None:
        """Begins phase 1 with its own CEPOCH."""
        self._deadline = now + self._timing.patience
        self._said[self._own.server] = self._own.accepted_epoch
        self._discover()

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(self._ping_at, self._silent_at) if self.phase == Phase.BROADCAST else self._deadline

    def tick(self, now: float) -> None:
        """Heartbeats (V): pings, and gives up without a quorum of answers.

        An answer counts from when its ping was sent: so a leader gives up before its followers do, as sync
        has it (ZooKeeper, 4.4).
        """
        if self.phase != Phase.BROADCAST:
            if now >= self._deadline:
                self.over = (
                    f"no quorum in phases 1 and 2 within {self._timing.patience:g} s ({self.phase.name})"
                )
            return
        for learner in list(self.learners.values()):
            if now >= learner.deadline:
                self._drop(learner.server, f"server {learner.server} was silent for too long")
        self._check_quorum()
        self._silent_at = min((learner.deadline for learner in self.learners.values()), default=FOREVER)
        if now < self._ping_at:
            return
        self._ping_at = now + self._timing.tick / 2
        ready = tuple(server for server, learner in self.learners.items() if learner.stage == Stage.READY)
        if ready:
            self._own.out.append(SendAll(ready, Ping(zxid=self._own.committed, number=int(now * 1e9))))

    def _check_quorum(self) -> None:
        """Gives up at once when a quorum is no longer connected: nothing can be agreed on."""
        present = self.synchronized() if self.phase == Phase.BROADCAST else [self._own.server, *self.learners]
        if self.phase != Phase.DISCOVERY and not self._quorum(present):
            self.over = "no quorum of followers"

    def synchronized(self) -> list[int]:
        """Returns who takes part in phase 3."""
        return [
            self._own.server,
            *(s for s, learner in self.learners.items() if learner.stage == Stage.READY),
        ]

    def closed(self, server: int) -> None:
        """Forgets a learner whose connection ended; what it has acknowledged stays true."""
        learner = self.learners.pop(server, None)
        if learner is not None:
            if server not in self._voters:
                self._acked.forget(server)
            if self.phase == Phase.DISCOVERY:
                self._said.pop(server, None)
            elif self.phase == Phase.BROADCAST and learner.stage == Stage.READY:
                self._own.out.append(Lost(server))
            self._retarget()
            self._check_quorum()

    def _drop(self, server: int, why: str) -> None:
        self._own.out.append(Hangup(server, why))
        self.closed(server)

    def _retarget(self) -> None:
        """Keeps who is sent what.

        Proposals go out from ACK-E on, not only after ACK-LD: else those in between would be missing.
        """
        taking = [learner for learner in self.learners.values() if learner.stage >= Stage.SYNCHRONIZING]
        self._propose_to = tuple(learner.server for learner in taking if not learner.informed)
        self._inform_to = tuple(learner.server for learner in taking if learner.informed)
        self._commit_to = tuple(
            learner.server for learner in taking if learner.stage == Stage.READY and not learner.informed
        )

    def heard(self, sender: int, message: Message, now: float) -> None:
        """Takes a message of a learner."""
        kind = type(message)
        learner = self.learners.get(sender)
        if kind is Ack and learner is not None and learner.stage == Stage.READY:
            self._ack(sender, message.zxid)
        elif kind is CEpoch and learner is None:
            self._c_epoch(sender, message, now)
        elif learner is None:
            pass  # of a learner that was dropped meanwhile
        elif kind is Pong and learner.stage == Stage.READY:
            learner.deadline = min(message.number / 1e9, now) + self._timing.silence
            self._own.out.append(Heard(sender, message))
        elif kind is AckEpoch and learner.stage == Stage.NEW_EPOCH:
            self._ack_epoch(learner, message, now)
        elif kind is AckLeader and learner.stage == Stage.SYNCHRONIZING and message.epoch == self.epoch:
            self._ack_leader(learner, now)
        elif kind in _OF_ZAB:
            self._drop(sender, f"server {sender} sent {kind.__name__} while it was at {learner.stage.name}")
        elif learner.stage == Stage.READY:
            self._own.out.append(Heard(sender, message))

    # Phase 1

    def _c_epoch(self, server: int, message: CEpoch, now: float) -> None:
        """CEPOCH(f.p): of a quorum in phase 1, or of a late one in phase 3."""
        own = self._own
        member = any(electorate.member(server) for electorate in own.electorates)
        if self.phase != Phase.DISCOVERY and message.promised > self.epoch:
            if member:  # it can only follow a later epoch
                own.seen_epoch = max(own.seen_epoch, message.promised)
                self.over = f"server {server} has promised epoch {message.promised}"
            else:
                own.out.append(Hangup(server, f"server {server} is no member and has promised a later epoch"))
            return
        if self.phase == Phase.NEW_EPOCH and message.promised == self.epoch and server not in self._promised:
            # To another leader, or to this one and the answer was lost: another epoch is the quickest way.
            self.over = f"server {server} has promised epoch {message.promised} already"
            return
        learner = self.learners[server] = Learner(server, now + self._timing.patience)
        self._silent_at = min(self._silent_at, learner.deadline)
        learner.informed = server not in self._voters and message.observer
        if self.phase == Phase.DISCOVERY:
            if server in self._voters:
                self._said[server] = message.promised
                self._discover()
        elif self.phase == Phase.BROADCAST or server in self._voters:
            self._new_epoch(learner)

    def _discover(self) -> None:
        """NEWEPOCH(e') with e' above all that a quorum has promised."""
        own = self._own
        if not self._quorum(self._said):
            return
        epoch = max(own.seen_epoch, *self._said.values()) + 1
        if epoch > LAST_EPOCH:
            self.over = "there is no epoch left"
            return
        invariants.epoch_is_new(epoch, own.accepted_epoch, own.history.last)
        self.phase = Phase.NEW_EPOCH
        self.epoch = epoch
        own.promise(epoch)
        for server, learner in self.learners.items():
            if server in self._voters:  # the promise of others counts for nothing before there is an epoch
                self._new_epoch(learner)

    def _new_epoch(self, learner: Learner) -> None:
        learner.stage = Stage.NEW_EPOCH
        self._own.send(learner.server, NewEpoch(epoch=self.epoch))

    def saved_accepted_epoch(self, now: float) -> None:
        """Its own ACK-E."""
        own = self._own
        if self.phase == Phase.NEW_EPOCH and own.saved_accepted_epoch == self.epoch:
            self._promised[own.server] = (own.current_epoch, own.history.last)
            self._choose_history(now)

    def _ack_epoch(self, learner: Learner, message: AckEpoch, now: float) -> None:
        """ACK-E(f.a, f.zxid): the learner is synchronized as soon as the history is chosen."""
        own = self._own
        learner.stage = Stage.PROMISED
        learner.zxid = message.zxid
        learner.deadline = now + self._timing.patience
        if self.phase >= Phase.SYNCHRONIZATION:
            self._synchronize(learner)
        elif message.promised and learner.server in self._voters:
            self._promised[learner.server] = (message.current, message.zxid)
            if (message.current, message.zxid) > (own.current_epoch, own.history.last):
                self.over = f"server {learner.server} has a later history"  # V: I_e' must be its own
            else:
                self._choose_history(now)

    def _choose_history(self, now: float) -> None:
        """Ends phase 1: of a quorum of ACK-Es its own is the highest, so I_e' is its own history."""
        own = self._own
        if own.server not in self._promised or not self._quorum(self._promised):
            return
        self.phase = Phase.SYNCHRONIZATION
        own.enter(self.epoch)
        for learner in self.learners.values():
            if learner.stage == Stage.PROMISED:
                self._synchronize(learner)

    # Phase 2

    def _synchronize(self, learner: Learner) -> None:
        """NEWLEADER(e', I_e'), in phase 3 with what was proposed since."""
        synchronize(self._own, learner, self.epoch)
        self._retarget()

    def saved_current_epoch(self, now: float) -> None:
        """Its own ACK-LD."""
        own = self._own
        if self.phase == Phase.SYNCHRONIZATION and own.saved_current_epoch == self.epoch:
            self._entered[own.server] = None
            self._acked.note(own.server, own.logged)
            self._establish(now)

    def _ack_leader(self, learner: Learner, now: float) -> None:
        """ACK-LD: everything up to NEWLEADER is durable there."""
        learner.stage = Stage.READY
        learner.deadline = now + self._timing.silence
        self._silent_at = min(self._silent_at, learner.deadline)
        if learner.server in self._voters:
            self._entered[learner.server] = None
        self._acked.note(learner.server, learner.zxid)
        self._retarget()
        if self.phase == Phase.SYNCHRONIZATION:
            self._establish(now)
        else:
            self._commit_leader(learner.server)
            self._advance()

    def _commit_leader(self, server: int) -> None:
        """COMMIT-LD with the *current* last committed: no COMMIT since NEWLEADER went there."""
        self._own.send(server, CommitLeader(zxid=self._own.committed))

    def _establish(self, now: float) -> None:
        """Ends phase 2: a quorum has I_e', which is committed by that."""
        own = self._own
        if own.server not in self._entered or not self._quorum(self._entered):
            return
        self.phase = Phase.BROADCAST
        self._ping_at = now
        own.deliver(own.history.last)
        self._count_voters()
        for server, learner in self.learners.items():
            if learner.stage == Stage.READY:
                self._commit_leader(server)
            elif learner.stage == Stage.DISCOVERY:
                self._new_epoch(learner)
        self._check_quorum()
        if own.server not in self._voters:
            self.over = "this server is no participant any more"
        elif self.over is None:
            own.out.append(Ready(self.epoch))

    # Phase 3

    @property
    def next_zxid(self) -> int:
        """What the next proposal will be numbered."""
        last = self._own.history.last
        return last + 1 if epoch_of(last) == self.epoch else zxid_of(self.epoch, 1)

    def propose(self, transaction: bytes, reconfigure: Configuration | None) -> int:
        """PROPOSE(e', ⟨v, z⟩), in increasing zxid. The caller has looked that it is established."""
        own = self._own
        zxid = self.next_zxid
        if reconfigure is None:
            message = Propose(zxid=zxid, transaction=transaction)
            own.accept(zxid, transaction, "")
        else:
            members = str(Configuration.of(reconfigure.members, zxid))
            message = Propose(zxid=zxid, transaction=transaction, members=members)
            own.accept(zxid, transaction, members)
        self._outstanding.append(message)
        if self._propose_to:
            own.out.append(SendAll(self._propose_to, message))
        if reconfigure is not None:
            self._count_voters()
            self._promote()
        return zxid

    def _promote(self) -> None:
        """Observers that are to vote are sent proposals from now on, so that their ACKs can count."""
        for server, learner in self.learners.items():
            if learner.informed and server in self._voters:
                learner.informed = False
                if learner.stage >= Stage.SYNCHRONIZING:
                    for message in self._outstanding:
                        self._own.send(server, message)
        self._retarget()

    def logged(self, now: float) -> None:
        """Its own ACK: of what is durable here."""
        own = self._own
        if own.server in self._entered:
            self._ack(own.server, own.logged)

    def _ack(self, server: int, zxid: int) -> None:
        """ACK of this and all before it."""
        own = self._own
        if zxid > own.history.last:
            self._drop(server, f"server {server} acknowledged what was never proposed to it")
        elif self._acked.note(server, zxid) and zxid > own.committed:
            self._advance()

    def _advance(self) -> None:
        """Commits what is acknowledged by quorums."""
        if self.phase == Phase.BROADCAST:
            zxid = self._acked.committed()
            if zxid > self._own.committed:
                self._commit(zxid)

    def _commit(self, zxid: int) -> None:
        """COMMIT of this and all before it; INFORM, for observers, of each."""
        own = self._own
        if self._commit_to:
            own.out.append(SendAll(self._commit_to, Commit(zxid=zxid)))
        changed = own.deliver(zxid)
        outstanding = self._outstanding
        while outstanding and outstanding[0].zxid <= zxid:
            proposal = outstanding.popleft()
            if self._inform_to:
                inform = Inform(
                    zxid=proposal.zxid, transaction=proposal.transaction, members=proposal.members
                )
                own.out.append(SendAll(self._inform_to, inform))
        if changed:
            self._count_voters()
            if own.server not in self._voters:
                self.over = "this server is no participant any more"
            else:
                self._check_quorum()

    def exhausted(self) -> bool:
        """Says whether the counter of zxids is used up: the next proposal needs another epoch."""
        return counter_of(self.next_zxid) == LAST_COUNTER


_OF_ZAB = frozenset({CEpoch, AckEpoch, AckLeader, Ack, Pong})
