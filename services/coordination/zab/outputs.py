"""What the rules want done. The driver carries outputs out in their order.

Making things durable takes time, and is always confirmed by an input: nothing that depends on it is sent
before (Zab, V: a follower acknowledges only what is on stable storage).

Messages are the inner kinds of `protos/coordination.proto` (`Propose`, `Ack`, ...); the driver wraps them.
`members` is a configuration in its textual form, "" where there is none.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from services.coordination.configuration import Configuration

Message: TypeAlias = Any
"""A message of `Peers`: a generated class, and those have no common type but `Message`."""


class Send(Struct, frozen=True):
    """A message to another server: a `Notification`, or one of the present iteration with it.

    Dropped where there is no stream. To a `Pong` the driver adds the sessions that were heard from.
    """

    to: int
    message: Message


class SendAll(Struct, frozen=True):
    """One message to several learners of a leader (`Propose`, `Commit`, `Inform`): encoded once."""

    to: tuple[int, ...]
    message: Message


class Follow(Struct, frozen=True):
    """Open an iteration with this prospective leader; confirmed by `connected`, ended by `closed`."""

    leader: int


class Hangup(Struct, frozen=True):
    """End the iteration with that server once what was sent has gone; log why. No `closed` follows."""

    server: int
    why: str


class SaveAcceptedEpoch(Struct, frozen=True):
    """Make f.p durable; confirmed by `saved_accepted_epoch`."""

    epoch: int


class SaveCurrentEpoch(Struct, frozen=True):
    """Make f.a durable, after all that was appended, truncated or installed before; confirmed likewise.

    What is appended later may be durable earlier: it is acknowledged only after both.
    """

    epoch: int


class Append(Struct, frozen=True):
    """Write a transaction to the log; `logged(zxid)` confirms it and all before it (group commit)."""

    zxid: int
    transaction: bytes
    members: str = ""  # the configuration that it makes: in the log with it, for `Peer(reconfigurations=)`


class Truncate(Struct, frozen=True):
    """Remove all after `zxid` from the log. None of it was ever delivered; it is not confirmed any more."""

    zxid: int


class Install(Struct, frozen=True):
    """A piece of the leader's snapshot, which takes the place of the whole history (`SNAP`).

    The last piece, which alone has `members`, is confirmed by `logged(zxid)`, once the snapshot is durable
    and in place of the state. Until then, a crash leaves the old history.
    """

    zxid: int
    chunk: bytes
    last: bool
    members: str


class SendHistory(Struct, frozen=True):
    """Send `Propose` of `after < zxid <= upto` of the own history to a learner, before anything later."""

    to: int
    after: int
    upto: int


class SendSnapshot(Struct, frozen=True):
    """Send the state as of the last delivery to a learner, before what is sent to it later.

    The driver sends `Snapshot` pieces (`members` with the last) and then `Propose` of what comes after, up
    to `upto`.
    """

    to: int
    upto: int
    members: str


class Deliver(Struct, frozen=True):
    """All of the history up to `zxid` is committed: deliver, in order, what was not delivered yet."""

    zxid: int


class Activated(Struct, frozen=True):
    """This configuration holds, by what was delivered or told: keep it durably, for `Peer(configuration)`.

    Nothing waits for that. Without it, a new ensemble that restarts would need a quorum of the old one too.
    """

    configuration: Configuration


class Ready(Struct, frozen=True):
    """This server leads `epoch` and may propose (III: ready(e))."""

    epoch: int


class Synchronized(Struct, frozen=True):
    """This server follows (or observes) an established leader and has what is committed."""

    leader: int


class Looking(Struct, frozen=True):
    """There is no leader (any more): end all iterations, without telling of it by `closed` or `heard`."""

    why: str


class Heard(Struct, frozen=True):
    """A message that only rides along (and `Pong`, for its sessions), for the state machine."""

    sender: int
    message: Message


class Lost(Struct, frozen=True):
    """A learner's iteration ended, as its leader sees it."""

    server: int


Output: TypeAlias = (
    Send
    | SendAll
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
    | Activated
    | Ready
    | Synchronized
    | Looking
    | Heard
    | Lost
)
