"""Bytes of the log and of snapshots: headers, batches of transactions, pieces of state.

A file begins with a header of fixed size (its own sector), durable before anything follows it: so a file that
is longer and has no whole header is damaged, and one that is not longer is the remains of its creation.

A batch is what one write appended to the log and one sync made durable. Its frame starts with the *mark* of
its segment, four bytes drawn by chance: a batch found by its mark and checksum behind a damaged one was
really written there, and is no image of one in a client's data.
"""

from __future__ import annotations

import zlib
from struct import Struct as Layout
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from services.coordination.storage.errors import StorageRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 1
"""Of the files written here. Older ones are read, newer ones refused."""

HEADER_SIZE = 512

Record: TypeAlias = tuple[int, bytes, str]
"""A transaction in the log: zxid, the transaction, the configuration that it makes ("" for most)."""

_HEADER = Layout("<8sHII")  # magic, format, length and CRC-32 of what follows
_BATCH = Layout("<4sIIQQI")  # mark, length of the payload, CRC-32, first and last zxid, reconfigurations
_REST = Layout("<4sIQQI")  # what the checksum covers besides the payload
BATCH_OVERHEAD = _BATCH.size

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

    MAGIC = b"dsim log"

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

    MAGIC = b"dsim snp"

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


Header = TypeVar("Header", SegmentHeader, SnapshotHeader)


def write_header(header: SegmentHeader | SnapshotHeader) -> bytes:
    """Returns a header as it stands in the file.

    Raises:
        ValueError: it is too long.
    """
    content = _encode(header)
    data = _HEADER.pack(header.MAGIC, FORMAT, len(content), zlib.crc32(content)) + content
    if len(data) > HEADER_SIZE:
        raise ValueError(f"the ensemble's name is too long: {header.ensemble!r}")
    return data.ljust(HEADER_SIZE, b"\0")


def read_header(data: bytes, kind: type[Header], path: str) -> Header | None:
    """Returns the header at the start of a file, or None when it is not whole.

    Raises:
        StorageRefused: the file has a format that is not known here.
    """
    if len(data) < HEADER_SIZE:
        return None
    magic, version, length, checksum = _HEADER.unpack_from(data)
    content = data[_HEADER.size : _HEADER.size + length]
    if magic == kind.MAGIC and version > FORMAT and version < 1 << 10:
        raise StorageRefused(
            f"{path} has format {version}, this program knows formats up to {FORMAT}: start the newer program"
        )
    if magic != kind.MAGIC or version != FORMAT or len(content) != length or zlib.crc32(content) != checksum:
        return None
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.DecodeError:
        return None


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


def write_batch(mark: bytes, records: Sequence[Record]) -> bytes:
    """Returns a batch, of transactions of one epoch, as it stands in the file."""
    payload = _encode(records)
    first, last, length = records[0][0], records[-1][0], len(payload)
    changes = sum(members != "" for _, _, members in records)
    checksum = zlib.crc32(payload, zlib.crc32(_REST.pack(mark, length, first, last, changes)))
    return _BATCH.pack(mark, length, checksum, first, last, changes) + payload


def read_batches(mark: bytes, data: bytes, base: int = 0) -> Iterator[Batch]:
    """Yields the batches at the start of `data`, up to the first that is not whole.

    Args:
        mark: of the segment.
        data: from the file.
        base: where in the file.
    """
    at, size, view = 0, len(data), memoryview(data)
    while at + BATCH_OVERHEAD <= size:
        found, length, checksum, first, last, changes = _BATCH.unpack_from(data, at)
        end = at + BATCH_OVERHEAD + length
        if found != mark or end > size:
            return
        payload = view[at + BATCH_OVERHEAD : end]
        if zlib.crc32(payload, zlib.crc32(_REST.pack(mark, length, first, last, changes))) != checksum:
            return
        yield Batch(base + at, base + end, first, last, changes, payload)
        at = end


def batch_size(mark: bytes, data: bytes) -> int | None:
    """Returns how long the batch at the start of `data` says it is, or None when there is none."""
    if len(data) < BATCH_OVERHEAD or data[:4] != mark:
        return None
    return BATCH_OVERHEAD + int(_BATCH.unpack_from(data)[1])


def find_batch(mark: bytes, data: bytes) -> int:
    """Returns where in `data` a whole batch starts, -1 when there is none."""
    at = data.find(mark)
    while at >= 0:
        size = batch_size(mark, data[at : at + BATCH_OVERHEAD])
        if size is not None and next(read_batches(mark, data[at : at + size]), None) is not None:
            return at
        at = data.find(mark, at + 1)
    return -1
