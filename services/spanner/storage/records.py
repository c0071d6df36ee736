"""What stands in the log and at the start of its files.

What Paxos wants remembered (its state, entries, places in the log) is whatever MessagePack can hold. As long
as the process lives it is here as it was given; after a restart it is lists and numbers.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import msgspec
from msgspec import Struct

from services.durable.batches import Framing
from services.durable.errors import StorageRefused

FORMAT = 1
"""Of what is in the files."""


class Created(Struct, frozen=True, array_like=True, tag=0):
    """A group has a replica here from now on; again: all that is still needed of it follows in this batch.

    Attributes:
        group: which.
        members: what its creator says of it.
        base: the log begins after this index.
        about: what Paxos says of the entry there; None where there is none.
        checkpoint: whether there is a checkpoint as of there (a witness has none).
    """

    group: int
    members: bytes
    base: int = 0
    about: Any = None
    checkpoint: bool = False


class Dropped(Struct, frozen=True, array_like=True, tag=1):
    """The replica is gone, with all that it had."""

    group: int


class Written(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """What Paxos wants remembered, all of it or nothing.

    Attributes:
        group: of which group.
        state: takes the place of the one before.
        first: the log from this index on is replaced by `entries`; 0: the log stays.
        entries: of the log.
    """

    group: int
    state: Any
    first: int = 0
    entries: tuple[Any, ...] = ()


Record: TypeAlias = Created | Dropped | Written

encode = msgspec.msgpack.Encoder().encode
_records = msgspec.msgpack.Decoder(list[Record])


class SegmentHeader(Struct, frozen=True):
    """What a segment of the log says of itself.

    Attributes:
        universe, server: whose it is.
        number: of the segment.
        floor: segments before this one are void: nothing in them is needed.
        batch: the number of its first batch; they are numbered through the segments.
        mark: at the start of each of its batches.
    """

    MAGIC: ClassVar[bytes] = b"dsim spl"

    universe: str
    server: str
    number: int
    floor: int
    batch: int
    mark: bytes


class CheckpointHeader(Struct, frozen=True):
    """What a checkpoint says of itself.

    Attributes:
        universe, server: whose it is.
        group: of which group.
        index: all entries up to this index are applied in it, and no other.
        about: what Paxos says of that place of the log.
    """

    MAGIC: ClassVar[bytes] = b"dsim spc"

    universe: str
    server: str
    group: int
    index: int
    about: Any


class CheckpointEnd(Struct, frozen=True):
    """The last frame of a whole checkpoint: how many pieces there are, and what the log had reached."""

    pieces: int
    batch: int


class Batch(Struct, frozen=True):
    """A whole batch, not yet decoded: where it is, and its number."""

    start: int
    end: int
    number: int
    payload: bytes | memoryview

    def records(self) -> list[Record]:
        """Returns its records.

        Raises:
            StorageRefused: the checksum is right and the content is not: another program wrote it.
        """
        try:
            return _records.decode(self.payload)
        except msgspec.DecodeError as exc:
            raise StorageRefused(f"batch {self.number} of the log is not readable: {exc}") from None


BATCHES = Framing("Q", Batch)
