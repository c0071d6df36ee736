"""What replicas of a group say to each other. Each stands alone: it may be lost, doubled, late, or overtaken.

On the wire a message is MessagePack (`encode`, `decode`), one of many in a `Letters` of
`protos/spanner.proto`.

Two things ride along wherever they can:

- `vote`: v_leader of Appendix A: TT.now().earliest at the leader right before it sent a request. Who grants
  the request's lease vote says it back; 0 asks for none, or grants none. Saying it back makes it unimportant
  which request an answer belongs to.
- `promise`: MinNextTS - 1 of 4.2.4: every entry after the one named has a timestamp above it.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from services.spanner.paxos.ballots import Ballot

Index: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 62) - 1)]
Timestamp: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""What is read as one is checked to be in these bounds."""


class LogEntry(Struct, frozen=True, array_like=True, gc=False):
    """An entry of the log. Index and origin say which it is: a leader proposes one a slot.

    Attributes:
        origin: the reign in which it was first proposed.
        timestamp: given by that reign's leader.
        value: what the state machine gets; b"" for the entry that opens a reign (which nobody gets).
    """

    origin: Ballot
    timestamp: Timestamp
    value: bytes


class Prepare(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Phase 1, and a request for the lease vote.

    Attributes:
        released: a ballot whose reign is over and whose votes are free, as its proposer said (0: none).
    """

    ballot: Ballot
    vote: Timestamp
    released: Ballot = 0


class Promise(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Nothing below the ballot will be accepted here any more; and what was, in all slots.

    Attributes:
        origin, last: of the last entry of the log here. The quorum's log with the greatest is the one to go
            on with.
        committed: up to where this replica knows the log to be chosen.
    """

    ballot: Ballot
    vote: Timestamp
    origin: Ballot
    last: Index
    committed: Index


class Refuse(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """No: another ballot was promised, or the vote is somebody else's.

    Attributes:
        ballot: what is refused.
        promised: the ballot promised here.
        holder, until: to which ballot the vote is given, until when (its t_end); 0 where it is not.
    """

    ballot: Ballot
    promised: Ballot
    holder: Ballot
    until: Timestamp


class Accept(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Phase 2 of the slots after `previous`; without entries, a request for votes and a sign of life.

    Attributes:
        previous, origin: the entry before the first of these: whoever has it not says from where he lacks
            entries.
        committed: up to where the leader knows its log to be chosen.
        everywhere: up to where all read-write members have it on stable storage.
        promise: of the last of these entries (of `previous`, where there are none); 0: no promise.
    """

    ballot: Ballot
    vote: Timestamp
    previous: Index
    origin: Ballot
    entries: tuple[LogEntry, ...]
    committed: Index
    everywhere: Index
    promise: Timestamp = 0


class Accepted(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The log here is the leader's up to `upto`, on stable storage.

    Attributes:
        missing: what was sent does not join on to it.
    """

    ballot: Ballot
    vote: Timestamp
    upto: Index
    missing: bool = False


class Learn(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """All up to this entry is chosen; is not answered.

    Attributes:
        index, origin: of the entry.
        after, promise: a promise for the entries after that index; 0: none.
    """

    ballot: Ballot
    index: Index
    origin: Ballot
    after: Index = 0
    promise: Timestamp = 0


class Quiet(Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Nobody asks this leader for anything: it lets its lease run out, and nobody needs to stand for that."""

    ballot: Ballot


class Release(Struct, frozen=True, array_like=True, tag=8, gc=False):
    """The ballot's reign, or attempt, is over, and TT.after(s_max): votes given to it are free (4.1.1).

    Attributes:
        successor: who should stand, at once; "" for nobody.
    """

    ballot: Ballot
    successor: str = ""


class Fetch(Struct, frozen=True, array_like=True, tag=9, gc=False):
    """From a candidate, to whose promise told of the greatest log: send what comes after this index."""

    ballot: Ballot
    after: Index


class History(Struct, frozen=True, array_like=True, tag=10, gc=False):
    """The log after `previous`, or a part of it."""

    ballot: Ballot
    previous: Index
    entries: tuple[LogEntry, ...]


class Behind(Struct, frozen=True, array_like=True, tag=11, gc=False):
    """What you lack is not in the log any more: the log here begins after this entry, all chosen."""

    ballot: Ballot
    index: Index
    timestamp: Timestamp
    origin: Ballot


class Ask(Struct, frozen=True, array_like=True, tag=12, gc=False):
    """To the leader: how far is it chosen? With `at_least`: promise that what follows is above it (4.2.4).

    Attributes:
        last: of the log here.
        lead: somebody needs a leader: whoever gets this and may, should lead.
    """

    at_least: Timestamp
    last: Index
    lead: bool = False


class Elsewhere(Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Answer to `Ask`: this replica gave its vote to another."""

    leader: str


Message: TypeAlias = (
    Prepare
    | Promise
    | Refuse
    | Accept
    | Accepted
    | Learn
    | Quiet
    | Release
    | Fetch
    | History
    | Behind
    | Ask
    | Elsewhere
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Returns a message as it travels."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Returns the message that `encode` wrote.

    Raises:
        msgspec.DecodeError: it is none.
    """
    try:
        return _decoder.decode(data)
    except UnicodeDecodeError as exc:
        raise msgspec.DecodeError(str(exc)) from None
