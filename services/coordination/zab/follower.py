"""A follower, or an observer, of one prospective leader: the left columns of phases 1 to 3 (IV).

It acknowledges only what is on stable storage (V), and what it acknowledges stands for all before it. An
observer differs in nothing but what it is sent: `Inform` in the place of `Propose` and `Commit`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from protos.coordination_pb2 import (
    Ack,
    AckEpoch,
    AckLeader,
    CEpoch,
    Commit,
    CommitLeader,
    Diff,
    Inform,
    NewEpoch,
    NewLeader,
    Ping,
    Pong,
    Propose,
    Snapshot,
    Truncate,
)
from services.coordination.configuration import Configuration
from services.coordination.zab import invariants
from services.coordination.zab.outputs import Follow, Heard, Synchronized

if TYPE_CHECKING:
    from services.coordination.zab.acceptor import Acceptor
    from services.coordination.zab.outputs import Message
    from services.coordination.zab.timing import Timing


class Step(IntEnum):
    """How far it has come with its leader."""

    CONNECTING = 0
    CONNECTED = 1
    DISCOVERY = 2  # CEPOCH is sent
    PROMISING = 3  # NEWEPOCH is there: f.p is being saved
    PROMISED = 4  # ACK-E is sent
    SYNCHRONIZATION = 5  # the initial history is coming
    ENTERING = 6  # NEWLEADER is there: f.a is being saved
    ACKNOWLEDGED = 7  # ACK-LD is sent
    BROADCAST = 8  # COMMIT-LD is there


class Follower:
    """One iteration with one leader.

    Attributes:
        leader: whom it follows.
        step: how far it has come.
        over: why it has ended, once it has.
    """

    def __init__(self, own: Acceptor, timing: Timing, leader: int) -> None:
        self._own = own
        self._timing = timing
        self.leader = leader
        self.step = Step.CONNECTING
        self.over: str | None = None
        self._epoch = 0  # e'
        self._promises = False  # whether it had not promised e' before
        self._acked = 0  # the last that was acknowledged: by ACK-LD, or an ACK
        self._heard_at = 0.0

    def start(self, now: float) -> None:
        """Asks for a connection."""
        self._heard_at = now
        self._own.out.append(Follow(self.leader))

    def deadline(self) -> float:
        """When the leader is given up, unless it is heard from (V: heartbeats)."""
        limit = self._timing.silence if self.step == Step.BROADCAST else self._timing.patience
        return self._heard_at + limit

    def tick(self, now: float) -> None:
        """Gives the leader up when it has been silent for too long."""
        if now >= self.deadline():
            self.over = f"nothing heard from leader {self.leader} for {now - self._heard_at:.1f} s"

    def connected(self, now: float) -> None:
        """Begins phase 1."""
        self._heard_at = now
        self.step = Step.CONNECTED
        self.saved_accepted_epoch(now)

    def closed(self) -> None:
        """Ends with the connection."""
        self.over = f"the connection to leader {self.leader} ended"

    def heard(self, message: Message, now: float) -> None:
        """Takes a message of the leader."""
        self._heard_at = now
        try:
            self._take(message, now)
        except ValueError as error:
            self.over = f"leader {self.leader} sent a configuration that is none: {error}"

    def _take(self, message: Message, now: float) -> None:
        kind = type(message)
        step = self.step
        if kind is Propose and step >= Step.SYNCHRONIZATION:
            self._accept(message)
        elif kind is Commit and step == Step.BROADCAST:
            self._own.deliver(message.zxid)
        elif kind is Inform and step >= Step.ENTERING:
            self._accept(message)
            if step == Step.BROADCAST:
                self._own.deliver(message.zxid)
        elif kind is Ping:
            self._own.send(self.leader, Pong(number=message.number))
        elif kind is NewEpoch and step == Step.DISCOVERY:
            self._new_epoch(message.epoch, now)
        elif kind is Diff and step == Step.PROMISED:
            self.step = Step.SYNCHRONIZATION
        elif kind is Truncate and step == Step.PROMISED:
            self._own.truncate(message.zxid)
            self.step = Step.SYNCHRONIZATION
        elif kind is Snapshot and step == Step.PROMISED:
            self._own.install(message.zxid, message.chunk, message.last, message.members)
            if message.last:
                self.step = Step.SYNCHRONIZATION
        elif kind is NewLeader and step == Step.SYNCHRONIZATION:
            self._new_leader(message)
        elif kind is CommitLeader and step == Step.ACKNOWLEDGED:
            # The leader's current last committed: what it committed since NEWLEADER is never told again.
            self._own.deliver(message.zxid)
            self.step = Step.BROADCAST
            self._own.out.append(Synchronized(self.leader))
        elif kind in _OF_ZAB:
            self.over = f"leader {self.leader} sent {kind.__name__} while this server was at {step.name}"
        elif step == Step.BROADCAST:
            self._own.out.append(Heard(self.leader, message))

    # Phase 1

    def saved_accepted_epoch(self, now: float) -> None:
        """CEPOCH, or ACK-E: what they tell is durable."""
        own = self._own
        if own.saved_accepted_epoch != own.accepted_epoch or own.saved_current_epoch != own.current_epoch:
            return
        if self.step == Step.CONNECTED:
            self._c_epoch()
        elif self.step == Step.PROMISING:
            self._ack_epoch()

    def _c_epoch(self) -> None:
        """CEPOCH(f.p)."""
        own = self._own
        self.step = Step.DISCOVERY
        own.send(
            self.leader,
            CEpoch(
                promised=own.accepted_epoch,
                server=own.server,
                observer=own.server not in own.voters,
                config=own.configuration.version,
            ),
        )

    def _new_epoch(self, epoch: int, now: float) -> None:
        """NEWEPOCH(e'): promises it if f.p < e'."""
        own = self._own
        if epoch < own.accepted_epoch:
            self.over = f"leader {self.leader} proposes epoch {epoch}, and {own.accepted_epoch} is promised"
            return
        self._epoch = epoch
        self._promises = epoch > own.accepted_epoch
        self.step = Step.PROMISING
        if self._promises:
            own.promise(epoch)
        self.saved_accepted_epoch(now)

    def _ack_epoch(self) -> None:
        """ACK-E: tells f.a and f.zxid in place of the history, and whether the promise is new.

        A promise counts once: else two prospective leaders with the same e' might both have a quorum.
        """
        own = self._own
        self.step = Step.PROMISED
        own.send(
            self.leader,
            AckEpoch(current=own.current_epoch, zxid=own.history.last, promised=self._promises),
        )

    # Phase 2

    def _new_leader(self, message: NewLeader) -> None:
        """NEWLEADER(e', I_e'): the history is whole; f.a = e', unless another epoch was promised."""
        own = self._own
        if message.epoch != own.accepted_epoch:
            self.over = (
                f"leader {self.leader} begins epoch {message.epoch}, and {own.accepted_epoch} is promised"
            )
            return
        invariants.initial_history_unaltered(own.history.last, message.zxid)
        own.learn(Configuration.parse(message.members))
        self._acked = message.zxid
        self.step = Step.ENTERING
        own.enter(message.epoch)

    def saved_current_epoch(self, now: float) -> None:
        """ACK-LD, once f.a and the initial history are durable."""
        self.saved_accepted_epoch(now)
        own = self._own
        if (
            self.step == Step.ENTERING
            and own.saved_current_epoch == self._epoch
            and own.logged >= self._acked
        ):
            self.step = Step.ACKNOWLEDGED
            own.send(self.leader, AckLeader(epoch=self._epoch))
            self.logged(now)

    # Phase 3

    def _accept(self, message: Propose | Inform) -> None:
        """PROPOSE, which comes from ACK-E on: adds it to the history, unless it is there already."""
        own = self._own
        zxid = message.zxid
        if zxid > own.history.last:
            if self.step >= Step.ENTERING:
                invariants.accepts_only_in_its_epoch(own.current_epoch, own.accepted_epoch, zxid)
            own.accept(zxid, message.transaction, message.members)

    def logged(self, now: float) -> None:
        """ACK of all that is durable, once there is an ACK-LD."""
        if self.step == Step.ENTERING:
            self.saved_current_epoch(now)
            return
        logged = self._own.logged
        if logged > self._acked and self.step >= Step.ACKNOWLEDGED:
            self._acked = logged
            self._own.send(self.leader, Ack(zxid=logged))


_OF_ZAB = frozenset({Propose, Commit, Inform, NewEpoch, Diff, Truncate, Snapshot, NewLeader, CommitLeader})
