"""What the rules want done. The driver carries outputs out in their order.

Making things durable takes time, and is confirmed by the input `durable`: nothing that depends on it is sent
before. Everything else is done by the time the next input comes (or, like `Apply` after `Install`, in order).
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from services.spanner.paxos.ballots import Ballot
from services.spanner.paxos.messages import LogEntry, Message


class Position(Struct, frozen=True, array_like=True, gc=False):
    """An entry's place in the log: what a checkpoint has to say of the last entry in it (its header).

    Attributes:
        index: from 1 on; 0 is before the first.
        timestamp, origin: the entry's.
    """

    index: int = 0
    timestamp: int = 0
    origin: Ballot = 0


class State(Struct, frozen=True, array_like=True, gc=False):
    """What a replica has to remember besides its log.

    Attributes:
        promised: nothing below this ballot is accepted.
        vote, until: to which ballot the lease vote is given, and its t_end (Appendix A). 0, 0: to none.
        committed: all up to this index is chosen: a help after a restart, it may be old.
        round: rounds up to this one may have been used in ballots of this replica.
    """

    promised: Ballot = 0
    vote: Ballot = 0
    until: int = 0
    committed: int = 0
    round: int = 0


class Write(Struct, frozen=True, gc=False):
    """Make this durable, as one (all of it survives a crash, or nothing): confirmed by `durable(number)`.

    Attributes:
        number: grows by one with each `Write` and `Install`.
        state: takes the place of the one before.
        first: the log from this index on is replaced by `entries` (which may be none). 0: the log stays.
    """

    number: int
    state: State
    first: int = 0
    entries: tuple[LogEntry, ...] = ()


class Install(Struct, frozen=True, gc=False):
    """Take the checkpoint that was `fetched` in the place of state machine and log; confirmed by
    `durable(number)`.

    Until then, a crash leaves all as it was. What is applied later is applied to it.

    Attributes:
        position: the checkpoint's.
        keep: the log after `position.index` stays; else it is empty from there on. (A crash must not bring
            back what was dropped.)
    """

    number: int
    position: Position
    keep: bool


class Send(Struct, frozen=True, gc=False):
    """One message to several members. It may be lost."""

    to: tuple[str, ...]
    message: Message


class Chosen(Struct, frozen=True, gc=False):
    """An entry for the state machine."""

    index: int
    timestamp: int
    value: bytes


class Apply(Struct, frozen=True, gc=False):
    """Apply these, in order: they are chosen. A witness only hears of them.

    Attributes:
        entries: without those that open a reign: indices may be left out. May be none.
        position: applied up to there, for the next checkpoint's header.
    """

    entries: tuple[Chosen, ...]
    position: Position


class FetchCheckpoint(Struct, frozen=True, gc=False):
    """Fetch a checkpoint from that member, into a place beside the own state; then call `fetched`.

    When that fails, call `fetched(None)`. At most one is under way.

    Attributes:
        at_least: its index should not be below this.
    """

    server: str
    at_least: int


class Trim(Struct, frozen=True, gc=False):
    """A witness needs its log up to here no more (all members with data have it): keep the position as its
    base.

    Nothing waits for it.
    """

    position: Position


class Leads(Struct, frozen=True, gc=False):
    """This replica leads, all that was chosen before is applied, and its lease has begun.

    Attributes:
        term: the reign's ballot.
    """

    term: Ballot


class Renewed(Struct, frozen=True, gc=False):
    """The lease has moved: what `assign` or `lead` could not do before may be possible now.

    Only told when one of these was asked for in vain.
    """


class Follows(Struct, frozen=True, gc=False):
    """This replica does not lead any more: what it has proposed and not applied may be chosen or not
    (Deposed).

    Attributes:
        leader: who leads, as far as it knows; "" where it does not.
    """

    leader: str


class Elsewhere(Struct, frozen=True, gc=False):
    """Answer to `lead`: not here. Another leads, or there is no quorum.

    Attributes:
        leader: as of `Follows`.
    """

    leader: str


class Safe(Struct, frozen=True, gc=False):
    """t_Paxos_safe has reached what was waited for (`safe`), or something on the way; read `paxos_safe`."""


Output: TypeAlias = (
    Write | Install | Send | Apply | FetchCheckpoint | Trim | Leads | Renewed | Follows | Elsewhere | Safe
)
