"""What stands in the log of a group, as MessagePack: the seam between who writes it and who applies it.

Nothing here can be part of a cycle, and much of it lives long: Python's collector need not look (`gc`).

Paxos gives each entry a timestamp (4.1.2: strictly increasing). It is the commit timestamp of a transaction
of one group, and the prepare timestamp of a `Prepare`. The other times are in the entries.
`transactions/` and `placement/` make them, `tablet/` applies them, at every replica alike.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from services.spanner.keys import KeyRange

Row: TypeAlias = bytes
"""The columns of a row besides its key, as `schema/` writes them. A tablet does not look inside."""


class Version(Struct, frozen=True, array_like=True, gc=False):
    """A row as of a timestamp; None: there is none from then on."""

    key: bytes
    timestamp: int
    row: Row | None


class Effects(Struct, frozen=True, array_like=True, gc=False):
    """What a transaction does to one group, all of it resolved: applying it asks no question.

    Attributes:
        writes: rows, and None for those that are deleted.
        acquired: ranges that the group owns from the commit timestamp on, with what `Import` staged for them.
        released: ranges that it owns no more from then on.
        schema: the schema that holds from then on, encoded; b"" where it stays.
    """

    writes: tuple[tuple[bytes, Row | None], ...] = ()
    acquired: tuple[KeyRange, ...] = ()
    released: tuple[KeyRange, ...] = ()
    schema: bytes = b""


class Prepare(Struct, frozen=True, array_like=True, tag="prepare", gc=False):
    """A participant's vote (4.2.1), with all that a later leader needs to hold the same locks.

    Attributes:
        transaction, age: which, and its place in wound-wait.
        timestamp: the prepare timestamp; that of the log entry, or a future one (4.2.3).
        effects: what happens if it commits.
        reads: ranges under shared lock. (Written keys and the ranges of `effects` are under exclusive locks.)
        coordinator: the group that decides.
        locked: ranges under exclusive lock beside those of `effects` (deleted, or checked to be empty).
    """

    transaction: str
    age: int
    timestamp: int
    effects: Effects
    reads: tuple[KeyRange, ...]
    coordinator: int
    locked: tuple[KeyRange, ...] = ()


class Commit(Struct, frozen=True, array_like=True, tag="commit", gc=False):
    """The coordinator's decision, and the whole of a transaction of one group.

    Attributes:
        timestamp: s.
        participants: the other groups; they may ask for the outcome until they have logged it.
    """

    transaction: str
    timestamp: int
    effects: Effects
    participants: tuple[int, ...] = ()


class Abort(Struct, frozen=True, array_like=True, tag="abort", gc=False):
    """The coordinator's other decision: a commit of this transaction that comes later is refused."""

    transaction: str


class Outcome(Struct, frozen=True, array_like=True, tag="outcome", gc=False):
    """What a participant was told of a transaction that it has prepared: s, or None for aborted."""

    transaction: str
    commit: int | None


class Finished(Struct, frozen=True, array_like=True, tag="finished", gc=False):
    """All participants have logged the outcome of these commits: it may be forgotten."""

    transactions: tuple[str, ...]


class Import(Struct, frozen=True, array_like=True, tag="import", gc=False):
    """A piece of a range that is being moved here (2.2), with old versions; unseen until it is acquired.

    Attributes:
        move: which move. Names are used once: one that another move of some of the same keys has ended, or
            `Discard`, stays ended, and its pieces change nothing.
        range: what is moved.
        versions: rows and their timestamps.
        horizon: reads below it are refused where it comes from (the greatest counts); None where that is
            not said: then it is not read here below the timestamp at which it was acquired.
    """

    move: str
    range: KeyRange
    versions: tuple[Version, ...]
    horizon: int | None = None


class Discard(Struct, frozen=True, array_like=True, tag="discard", gc=False):
    """A move that will not happen: what was staged for it goes, and what still comes of it is ignored."""

    move: str


class Collect(Struct, frozen=True, array_like=True, tag="collect", gc=False):
    """Versions that only reads before `horizon` could see are dropped; such reads are refused from now on."""

    horizon: int


Entry: TypeAlias = Prepare | Commit | Abort | Outcome | Finished | Import | Discard | Collect

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Returns an entry as it stands in the log."""
    return _encoder.encode(entry)


def decode(data: bytes) -> Entry:
    """Returns the entry that `encode` wrote.

    Raises:
        msgspec.DecodeError, msgspec.ValidationError: it is no entry.
    """
    return _decoder.decode(data)
