"""A follower or observer as its leader sees it, and how it is brought up to the leader's history."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from protos.coordination_pb2 import Diff, NewLeader, Truncate
from services.coordination.zab.outputs import SendHistory, SendSnapshot

if TYPE_CHECKING:
    from services.coordination.zab.acceptor import Acceptor


class Stage(IntEnum):
    """How far it has come."""

    DISCOVERY = 0  # it has sent CEPOCH
    NEW_EPOCH = 1  # NEWEPOCH went to it
    PROMISED = 2  # it has sent ACK-E
    SYNCHRONIZING = 3  # NEWLEADER went to it
    READY = 4  # it has sent ACK-LD


class Learner:
    """One connection.

    Attributes:
        stage: how far it has come.
        informed: whether it is sent `Inform`, and not `Propose` and `Commit`.
        zxid: the last of its history by its ACK-E; then the last that NEWLEADER stands for.
        deadline: when it is given up, unless it comes further, or answers a ping.
    """

    def __init__(self, server: int, deadline: float) -> None:
        self.server = server
        self.deadline = deadline
        self.stage = Stage.DISCOVERY
        self.informed = False
        self.zxid = 0


def synchronize(own: Acceptor, learner: Learner, epoch: int) -> None:
    """Sends what a learner lacks (DIFF), less what it has too much (TRUNC), or all (SNAP); then NEWLEADER.

    Args:
        own: the leader's history; an observer is sent what is committed of it.
        learner: with its last zxid.
        epoch: e'.
    """
    common = own.history.common(learner.zxid)
    upto = own.history.last
    if learner.informed:
        upto = own.committed if common is None else max(own.committed, common)
    if common is None:
        own.out.append(SendSnapshot(learner.server, upto, str(own.configuration)))
    else:
        if common == learner.zxid:
            own.send(learner.server, Diff(zxid=upto))
        else:
            own.send(learner.server, Truncate(zxid=common))
        if common < upto:
            own.out.append(SendHistory(learner.server, common, upto))
    own.send(
        learner.server,
        NewLeader(epoch=epoch, config=own.configuration.version, members=str(own.configuration), zxid=upto),
    )
    learner.zxid = upto
    learner.stage = Stage.SYNCHRONIZING
