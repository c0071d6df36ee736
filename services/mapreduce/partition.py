"""Partition functions (4.1): which of the R reduce tasks a key belongs to.

A partition function is any `function(key, reduces) -> int` whose answer depends on nothing else. The default
hashes; `TotalOrder` cuts the keys into ranges, so that the output files one after the other are sorted.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from services.mapreduce.hints import key_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Partitioner(Protocol):
    """A partition function; a protocol, so that one on a class is not taken for a method."""

    def __call__(self, key: Any, reduces: int, /) -> int:
        """Returns the number of the reduce task, from 0."""
        ...


def by_hash(key: Any, reduces: int) -> int:
    """hash(key) mod R: the CRC-32 of the key's encoding, the same in every process and Python."""
    return crc32(key_bytes(key)) % reduces


class TotalOrder:
    """Ranges of keys: all keys of a reduce task come before those of the next.

    Args:
        cuts: the R - 1 keys at which the ranges begin, in order; None: found by looking at a sample of the
            input before the job begins.
        sample: about how many input records to look at.
    """

    def __init__(self, cuts: Sequence[Any] | None = None, *, sample: int = 10_000) -> None:
        self.cuts = None if cuts is None else list(cuts)
        self.sample = sample

    def __call__(self, key: Any, reduces: int) -> int:
        """Returns the range that a key is in."""
        assert self.cuts is not None, "the sample was never taken"
        return bisect_right(self.cuts, key)

    def with_cuts(self, keys: Iterable[Any], reduces: int) -> TotalOrder:
        """Returns one that cuts so that each range holds about as many of these keys."""
        ordered = sorted(keys)
        cuts = [ordered[len(ordered) * n // reduces] for n in range(1, reduces)] if ordered else []
        return TotalOrder(cuts, sample=self.sample)
