"""One server driven by hand: inputs as one says them, outputs as they come."""

from __future__ import annotations

from typing import Any, TypeVar

from protos.coordination_pb2 import (
    Ack,
    AckEpoch,
    AckLeader,
    CEpoch,
    CommitLeader,
    Diff,
    NewEpoch,
    NewLeader,
    Notification,
)
from services.coordination.configuration import Configuration
from services.coordination.zab import outputs as out
from services.coordination.zab.peer import Peer, Recovered, Timing
from services.coordination.zab.zxid import zxid_of
from tests.coordination.zab.ensemble import configuration

T = TypeVar("T")

TIMING = Timing(tick=1.0, init_limit=10, sync_limit=5, finalize_wait=0.2, resend=0.2, resend_max=0.8)
THREE = configuration([1, 2, 3])
FIVE = configuration([1, 2, 3, 4, 5])


class Hand:
    """A server; each input returns what it wants done."""

    def __init__(self, server: int, members: Configuration = THREE, **recovered: Any) -> None:
        self.peer = Peer(server, Recovered(members, **recovered), TIMING)
        self.now = 0.0

    def start(self) -> list[Any]:
        self.peer.start(self.now)
        return self.peer.take()

    def passes(self, seconds: float) -> list[Any]:
        """Lets time pass, with each deadline in it."""
        until = self.now + seconds
        while self.peer.next_deadline() <= until:
            self.now = max(self.now, self.peer.next_deadline())
            self.peer.tick(self.now)
        self.now = until
        return self.peer.take()

    def hears(self, sender: int, *messages: Any) -> list[Any]:
        for message in messages:
            self.peer.heard(sender, message, self.now)
        return self.peer.take()

    def connected(self, server: int) -> list[Any]:
        self.peer.connected(server, self.now)
        return self.peer.take()

    def closed(self, server: int) -> list[Any]:
        self.peer.closed(server, self.now)
        return self.peer.take()

    def saved_accepted(self, epoch: int) -> list[Any]:
        self.peer.saved_accepted_epoch(epoch, self.now)
        return self.peer.take()

    def saved_current(self, epoch: int) -> list[Any]:
        self.peer.saved_current_epoch(epoch, self.now)
        return self.peer.take()

    def logged(self, zxid: int) -> list[Any]:
        self.peer.logged(zxid, self.now)
        return self.peer.take()

    def proposes(self, transaction: bytes, reconfigure: Configuration | None = None) -> list[Any]:
        self.peer.propose(transaction, reconfigure)
        return self.peer.take()

    # Shortcuts: to a place in the protocol, the way there being another test's matter

    def nominated(self, leader: int) -> list[Any]:
        """Elects: all the others vote for `leader` in the first round."""
        outputs = self.start()
        for voter in self.peer._own.voters:
            if voter != self.peer.server:
                outputs += self.hears(voter, vote(leader, epoch=99))
        return outputs

    def joins(self, server: int, promised: int = 0, observer: bool = False) -> list[Any]:
        """A learner connects and says CEPOCH."""
        return self.connected(server) + self.hears(
            server, CEpoch(promised=promised, server=server, observer=observer)
        )

    def leads(self, *followers: int, promised: int = 0, observers: tuple[int, ...] = ()) -> int:
        """Takes it through phases 1 and 2 with followers whose history is its own; returns the epoch."""
        self.nominated(self.peer.server)
        for server in followers:
            self.joins(server, promised)
        epoch = self.peer.accepted_epoch
        self.saved_accepted(epoch)
        for server in followers:
            self.hears(server, AckEpoch(current=0, zxid=self.peer.last_zxid, promised=True))
        self.saved_current(epoch)
        for server in followers:
            self.hears(server, AckLeader(epoch=epoch))
        for server in observers:
            self.joins(server, observer=True)
            self.hears(server, AckEpoch(zxid=self.peer.last_zxid, promised=True), AckLeader(epoch=epoch))
        assert self.peer.phase == "leading"
        return epoch

    def follows(self, leader: int, epoch: int = 1, *history: Any) -> None:
        """Takes it to phase 3 with a leader that adds some proposals to its history."""
        self.nominated(leader)
        self.connected(leader)
        self.hears(leader, NewEpoch(epoch=epoch))
        self.saved_accepted(epoch)
        self.hears(leader, Diff(), *history)
        last = self.peer.last_zxid
        members = str(self.peer.configuration)
        self.logged(last)
        self.hears(leader, NewLeader(epoch=epoch, zxid=last, members=members))
        self.saved_current(epoch)
        self.hears(leader, CommitLeader(zxid=last))
        assert self.peer.phase in ("following", "observing")

    def acknowledged(self, zxid: int, *servers: int) -> list[Any]:
        """ACKs arrive."""
        outputs = []
        for server in servers:
            outputs += self.hears(server, Ack(zxid=zxid))
        return outputs


def z(epoch: int, counter: int) -> int:
    """Returns ⟨epoch, counter⟩."""
    return zxid_of(epoch, counter)


def vote(
    leader: int, zxid: int = 0, epoch: int = 0, round: int = 1, state: Any = 0, **more: Any
) -> Notification:
    """Returns a vote; by whom is what `hears` says."""
    return Notification(leader=leader, zxid=zxid, epoch=epoch, round=round, state=state, **more)


def of(kind: type[T], outputs: list[Any]) -> list[T]:
    """Returns the outputs of a kind."""
    return [output for output in outputs if isinstance(output, kind)]


def sent(outputs: list[Any], kind: type[T], to: int | None = None) -> list[T]:
    """Returns the messages of a kind, to one or to anyone."""
    messages = []
    for output in outputs:
        if isinstance(output, out.Send | out.SendAll) and isinstance(output.message, kind):
            targets = (output.to,) if isinstance(output, out.Send) else output.to
            if to is None or to in targets:
                messages.append(output.message)
    return messages
