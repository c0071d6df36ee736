"""The answer to a read, in parts of bounded size: each says where the next goes on, here or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.schema import EMPTY, Schema
from services.spanner.schema.key_sets import encode_rows
from services.spanner.tablet import FOREVER

if TYPE_CHECKING:
    from services.spanner.tablet import Tablet

PAGE = 1 << 17  # bytes of rows after which a part is full
LOOK = 2048  # rows that are looked at for one part: many may be of interleaved tables


class Place(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A resume token: (timestamp, position), as 4.1.4 has it.

    Attributes:
        timestamp: at which the read is; 0 under locks.
        key: everything before it is read.
    """

    timestamp: int
    key: bytes

    def encode(self) -> bytes:
        """Returns it as it stands in a message."""
        return _encode(self)

    @staticmethod
    def decode(token: bytes) -> Place:
        """Returns the place that a token says.

        Raises:
            SpannerError: INVALID_ARGUMENT: it is none.
        """
        try:
            place = _decoder.decode(token)
        except msgspec.DecodeError:
            raise SpannerError("INVALID_ARGUMENT", "the resume token is none of this database") from None
        if not 0 <= place.timestamp < FOREVER:
            raise SpannerError("INVALID_ARGUMENT", "the resume token has no timestamp")
        return place


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Place)


class Pages:
    """What a read returns, part by part. Nothing here waits, and entries may be applied between two parts.

    Args:
        tablet: what is read.
        request: which table, columns and ranges; after its token, up to its limit.
        schema: by which it goes, encoded.
        t: rows as of this timestamp; `FOREVER`: the last committed ones.
        term: of the leader, under locks.

    Attributes:
        ranges: what is left to be read.
        done: nothing is.

    Raises:
        SpannerError: NOT_FOUND: no such table or column; INVALID_ARGUMENT: a token that is none;
            FAILED_PRECONDITION:
            ranges that are not of the table.
    """

    def __init__(
        self, tablet: Tablet, request: pb.ReadRequest, schema: bytes, t: int = FOREVER, term: int = 0
    ) -> None:
        table = (Schema.decode(schema) if schema else EMPTY).table(request.table)
        self._read = table.reader(request.columns)
        start = Place.decode(request.resume_token).key if request.resume_token else b""
        self.ranges: list[KeyRange] = []
        for each in request.ranges:
            within = KeyRange(each.start, each.end)
            if not table.everything.covers(within):
                raise SpannerError(
                    "FAILED_PRECONDITION",
                    f"a range of the read is not in the table {table.name} as it was then",
                )
            if within.end > start:
                self.ranges.append(KeyRange(max(within.start, start), within.end))
        self._end = request.ranges[-1].end if request.ranges else b""
        self._left = request.limit
        self._limited = bool(request.limit)
        self._tablet = tablet
        self._t = t
        self._term = term
        self.done = False

    def next(self) -> pb.PartialResultSet | None:
        """Returns the next part, the last one says so; None: nothing was found yet, it takes another call."""
        rows = []
        timestamps = []
        size = looked = 0
        position = self._end
        full = False
        while self.ranges and not full:
            within = self.ranges[0]
            for version in self._tablet.scan(within, self._t):
                looked += 1
                assert version.row is not None
                values = self._read(version.key, version.row)
                if values is not None:
                    rows.append(values)
                    timestamps.append(version.timestamp)
                    size += len(version.key) + len(version.row)
                    self._left -= 1
                if size >= PAGE or looked >= LOOK or (self._limited and self._left == 0):
                    position = version.key + b"\0"
                    full = True
                    break
            else:
                del self.ranges[0]
        if full and self._limited and self._left == 0:
            self.ranges = []
        elif full and position < within.end:
            self.ranges[0] = KeyRange(position, within.end)
        elif full:
            del self.ranges[0]
        self.done = not self.ranges
        if not rows and not self.done:
            return None
        timestamp = 0 if self._t == FOREVER else self._t
        return pb.PartialResultSet(
            rows=encode_rows(rows),
            timestamps=timestamps,
            resume_token=Place(timestamp, position).encode(),
            read_timestamp=timestamp,
            term=self._term,
            last=self.done,
        )
