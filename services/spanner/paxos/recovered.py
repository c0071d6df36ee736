"""What a replica finds on its disk."""

from __future__ import annotations

from msgspec import Struct

from services.spanner.paxos.messages import LogEntry
from services.spanner.paxos.outputs import Position, State


class Recovered(Struct, frozen=True):
    """What a replica finds on its disk when it starts; the defaults are those of the first time.

    Attributes:
        state: of the last `Write`.
        applied: of the checkpoint from which the state machine was loaded (a witness: as `base`).
        base: the log begins after it; not after `applied`. Of the entry there: a checkpoint's, or a `Trim`'s.
        entries: the log, without gaps, up to its end: `Write` and `Install` say what is in it.
    """

    state: State = State()
    applied: Position = Position()
    base: Position = Position()
    entries: tuple[LogEntry, ...] = ()
