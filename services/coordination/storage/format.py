"""What stands in headers, batches and the ends of snapshots; `services/durable/` has their framing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

import msgspec
from msgspec import Struct

from services.durable.batches import Framing
from services.durable.errors import StorageRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

Record: TypeAlias = tuple[int, bytes, str]
"""A transaction in the log: zxid, the transaction, the configuration that it makes ("" for most)."""

_encode = msgspec.msgpack.Encoder().encode
_records = msgspec.msgpack.Decoder(list[Record])


class SegmentHeader(Struct, frozen=True):
    """What a segment of the log says of itself.

    Attributes:
        ensemble, server: whose it is.
        number: of the segment.
        after: it continues after this zxid; what earlier segments hold beyond it is void.
        mark: at the start of each of its batches.
    """

    MAGIC: ClassVar[bytes] = b"dsim log"

    ensemble: str
    server: int
    number: int
    after: int
    mark: bytes


class SnapshotHeader(Struct, frozen=True):
    """What a snapshot says of itself.

    Attributes:
        ensemble, server: whose it is.
        since: the number of the first segment of the log that belongs to it.
        zxid: the log after it, applied to the snapshot, gives the state.
    """

    MAGIC: ClassVar[bytes] = b"dsim snp"

    ensemble: str
    server: int
    since: int
    zxid: int


class SnapshotEnd(Struct, frozen=True):
    """The last frame of a whole snapshot.

    Attributes:
        pieces: how many there are.
        upto: the last transaction that the state may show.
        members: the configuration as of the snapshot's zxid.
    """

    pieces: int
    upto: int
    members: str


class Batch(Struct, frozen=True):
    """A whole batch, not yet decoded: where it is, its first and last zxid, both of one epoch.

    `reconfigurations` of its transactions change the ensemble.
    """

    start: int
    end: int
    first: int
    last: int
    reconfigurations: int
    payload: bytes | memoryview

    def records(self) -> list[Record]:
        """Returns its transactions.

        Raises:
            StorageRefused: the checksum is right and the content is not: another program wrote it.
        """
        try:
            return _records.decode(self.payload)
        except msgspec.DecodeError as exc:
            raise StorageRefused(f"transactions from {self.first:x} on are not readable: {exc}") from None


BATCHES = Framing("QQI", Batch)


def write_batch(mark: bytes, records: Sequence[Record]) -> bytes:
    """Returns a batch, of transactions of one epoch, as it stands in the file."""
    changes = sum(members != "" for _, _, members in records)
    return BATCHES.write(mark, _encode(records), records[0][0], records[-1][0], changes)
