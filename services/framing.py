"""Records in an append-only file, framed by length and checksum: a torn end is seen for what it is.

A crash may leave part of the last write. What is read back ends before the first frame that is not whole;
what that means (a torn end, or a rotten disk) is the caller's to say.
"""

from __future__ import annotations

import struct
import zlib

HEADER = struct.Struct("<II")  # length and CRC-32 of the record that follows


def frame(record: bytes) -> bytes:
    """Returns a record as it stands in the file."""
    return HEADER.pack(len(record), zlib.crc32(record)) + record


def unframe(data: bytes) -> list[bytes]:
    """Returns the records of a file, up to the first that is damaged."""
    records: list[bytes] = []
    at = 0
    while at + HEADER.size <= len(data):
        length, checksum = HEADER.unpack_from(data, at)
        at += HEADER.size
        record = data[at : at + length]
        if length == 0 or len(record) < length or zlib.crc32(record) != checksum:
            break
        records.append(record)
        at += length
    return records
