"""What the rules want done. The driver carries outputs out in their order.

Making things durable takes time, and is always confirmed by an input: nothing that depends on it is sent
before (Zab, V: a follower acknowledges only what is on stable storage).

Messages are the inner kinds of `protos/coordination.proto` (`Propose`, `Ack`, ...); the driver wraps them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

Message: TypeAlias = Any
"""A message of `Peers`: a generated class, and those have no common type but `Message`."""


class Send(Struct, frozen=True):
    """A message to another server: a vote, or one of the present iteration with it."""

    to: int
    message: Message


class Follow(Struct, frozen=True):
    """Open an iteration with this prospective leader; confirmed by `connected`, ended by `closed`."""

    leader: int


class Hangup(Struct, frozen=True):
    """End the iteration with that server, and say why in the log."""

    server: int
    why: str


class SaveAcceptedEpoch(Struct, frozen=True):
    """Make f.p durable; confirmed by `saved_accepted_epoch`."""

    epoch: int


class SaveCurrentEpoch(Struct, frozen=True):
    """Make f.a durable, after everything that was appended or truncated before; confirmed likewise."""

    epoch: int


class Append(Struct, frozen=True):
    """Write a transaction to the log; `logged(zxid)` confirms it and all before it (group commit)."""

    zxid: int
    transaction: bytes
    reconfigures: bool = False


class Truncate(Struct, frozen=True):
    """Remove all after `zxid` from the log. None of it was ever delivered."""

    zxid: int


class Install(Struct, frozen=True):
    """A piece of the leader's snapshot, which takes the place of the whole history (`SNAP`).

    The last piece is confirmed by `logged(zxid)`, once the snapshot is durable and in place of the state.
    """

    zxid: int
    chunk: bytes
    last: bool


class SendHistory(Struct, frozen=True):
    """Send proposals `after < zxid <= upto` of the own history to a learner, before anything later."""

    to: int
    after: int
    upto: int


class SendSnapshot(Struct, frozen=True):
    """Send the state as of the last delivery to a learner, before what is sent to it later.

    The driver sends `Snapshot` pieces and then the proposals after them up to `upto`.
    """

    to: int
    upto: int


class Deliver(Struct, frozen=True):
    """All of the history up to `zxid` is committed: deliver, in order, what was not delivered yet."""

    zxid: int


class Ready(Struct, frozen=True):
    """This server leads `epoch` and may propose (III: ready(e))."""

    epoch: int


class Synchronized(Struct, frozen=True):
    """This server follows (or observes) an established leader and has what is committed."""

    leader: int


class Looking(Struct, frozen=True):
    """There is no leader (any more); all iterations end."""

    why: str


class Heard(Struct, frozen=True):
    """A message that only rides along, for the state machine."""

    sender: int
    message: Message


class Lost(Struct, frozen=True):
    """A learner's iteration ended, as its leader sees it."""

    server: int


Output: TypeAlias = (
    Send
    | Follow
    | Hangup
    | SaveAcceptedEpoch
    | SaveCurrentEpoch
    | Append
    | Truncate
    | Install
    | SendHistory
    | SendSnapshot
    | Deliver
    | Ready
    | Synchronized
    | Looking
    | Heard
    | Lost
)
