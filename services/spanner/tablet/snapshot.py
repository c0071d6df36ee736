"""A tablet in pieces, and back.

Equal tablets have equal pieces, however they came to be: they are cut by what they hold. Each has a
checksum, and the last one says how many there are.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from services.spanner.entries import Import, Prepare, Version
from services.spanner.tablet.outcomes import Decision
from services.spanner.tablet.ownership import Tenure
from services.spanner.tablet.versions import History, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE = 1 << 16  # bytes of rows in a piece, about
OUTCOMES = 1024  # in a piece
_CHECKSUM = 4  # bytes


class Head(Struct, frozen=True, array_like=True, tag="head"):
    """What is small; the first piece.

    Attributes:
        index, timestamp: of the last entry that is in it.
        horizon: reads below are refused.
        forgotten: see `Outcomes`.
        schemas: from when on each holds, and what it is.
        tenures: see `Ownership`.
        ended: see `Staging`.
    """

    index: int
    timestamp: int
    horizon: int
    forgotten: int
    schemas: tuple[tuple[int, bytes], ...]
    tenures: tuple[Tenure, ...]
    ended: tuple[str, ...]


class Rows(Struct, frozen=True, array_like=True, tag="rows"):
    """Versions, in the order of keys and then timestamps."""

    versions: list[Version]


class Decisions(Struct, frozen=True, array_like=True, tag="decisions"):
    """Outcomes, in the order of the log."""

    decisions: list[Decision]


class End(Struct, frozen=True, array_like=True, tag="end"):
    """The last piece: how many came before it, and the checksum of their checksums."""

    pieces: int
    checksum: int


Piece: TypeAlias = Head | Rows | Decisions | Prepare | Import | End

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Piece] = msgspec.msgpack.Decoder(Piece)


def chunks(histories: Iterable[History]) -> Iterator[list[Version]]:
    """Yields the versions in lists of about `PIECE` bytes."""
    part: list[Version] = []
    size = 0
    for history in histories:
        for version in history:
            part.append(version)
            size += size_of(version) + 16
            if size >= PIECE:
                yield part
                part, size = [], 0
    if part:
        yield part


def write(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yields pieces as bytes, and an end."""
    count = checksum = 0
    for piece in pieces:
        body = _encode(piece)
        mark = zlib.crc32(body).to_bytes(_CHECKSUM, "big")
        count, checksum = count + 1, zlib.crc32(mark, checksum)
        yield mark + body
    body = _encode(End(count, checksum))
    yield zlib.crc32(body).to_bytes(_CHECKSUM, "big") + body


class Reader:
    """Takes the bytes that `write` yielded, one after the other.

    Attributes:
        ended: the last one was there.
    """

    def __init__(self) -> None:
        self.ended = False
        self._count = self._checksum = 0

    def read(self, data: bytes) -> Piece:
        """Returns the next piece.

        Raises:
            ValueError: it is damaged, or does not come here.
        """
        mark, body = data[:_CHECKSUM], data[_CHECKSUM:]
        if zlib.crc32(body).to_bytes(_CHECKSUM, "big") != mark:
            raise ValueError(f"piece {self._count} of a tablet has a wrong checksum")
        try:
            piece = _decoder.decode(body)
        except msgspec.DecodeError as error:
            raise ValueError(f"piece {self._count} of a tablet cannot be read: {error}") from error
        if self.ended:
            raise ValueError("a tablet goes on after its end")
        if isinstance(piece, Head) != (self._count == 0):
            raise ValueError(f"piece {self._count} of a tablet is out of order")
        if isinstance(piece, End):
            if (piece.pieces, piece.checksum) != (self._count, self._checksum):
                raise ValueError(f"a tablet of {piece.pieces} pieces came as {self._count} others")
            self.ended = True
        else:
            self._count, self._checksum = self._count + 1, zlib.crc32(mark, self._checksum)
        return piece
