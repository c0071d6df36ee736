"""Checksums of map outputs: a bit that flips on a disk must not become part of an answer.

The child that has written a map output sums each region up while the bytes still are in the page cache;
who pulls a region compares (`services.mapreduce.worker.shuffle`), and has the map executed again when
they differ. The paper leaves this to GFS, which sums up its blocks; map outputs are on plain local
disks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.child import Storage

BLOCK = 1 << 20  # bytes read at a time


def region_checksums(disk: Storage, path: str, offsets: Sequence[int]) -> list[int]:
    """Returns the CRC-32 of each region of a map output.

    Args:
        disk: where the file is.
        path: its name.
        offsets: R + 1 offsets of the regions.

    Raises:
        OSError: as the disk has it.
        EOFError: the file is shorter than that.
    """
    sums = []
    with disk.open(path, "rb", 0) as file:
        for at, end in pairwise(offsets):
            total, left = 0, end - at
            while left:
                data = file.read(min(BLOCK, left))
                if not data:
                    raise EOFError(f"{path}: ends before its last region")
                total = crc32(data, total)
                left -= len(data)
            sums.append(total)
    return sums
