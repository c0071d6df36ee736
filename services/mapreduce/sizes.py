"""The size of a region in one byte (3.5: "approximately one byte of data per map task/reduce task pair").

Empty is exact; otherwise the byte is the logarithm to base 1.1, rounded up, of the size: less than 10 %
too much, from 1 byte to 28 GB.
"""

from __future__ import annotations

import math

BASE = 1.1


def to_byte(size: int) -> int:
    """Returns the byte that stands for `size` bytes; 0 only for 0."""
    if size <= 0:
        return 0
    return min(255, 1 + math.ceil(math.log(size, BASE)))


def from_byte(byte: int) -> int:
    """Returns about how many bytes a byte stands for: at most 10 % more than there were."""
    return SIZES[byte]


SIZES = [0, *(math.ceil(BASE ** (byte - 1)) for byte in range(1, 256))]
"""What each byte stands for."""
