"""Numbers of transactions: ⟨epoch, counter⟩ in 64 bits, ordered as integers (Zab, III; ZooKeeper's zxid)."""

from __future__ import annotations

COUNTER_BITS = 32
LAST_COUNTER = (1 << COUNTER_BITS) - 1
LAST_EPOCH = (1 << 32) - 1


def epoch_of(zxid: int) -> int:
    """Returns the epoch of the primary that proposed it."""
    return zxid >> COUNTER_BITS


def counter_of(zxid: int) -> int:
    """Returns its place among the proposals of that epoch, from 1."""
    return zxid & LAST_COUNTER


def zxid_of(epoch: int, counter: int) -> int:
    """Returns the number of the `counter`-th proposal of an epoch."""
    return epoch << COUNTER_BITS | counter


def follows(zxid: int, last: int) -> bool:
    """Says whether `zxid` may come right after `last`: the next of its epoch, or the first of a later one."""
    return zxid == last + 1 or (zxid & LAST_COUNTER == 1 and zxid >> COUNTER_BITS > last >> COUNTER_BITS)


def text(zxid: int) -> str:
    """Returns it as one reads it: "3.17" is the 17th proposal of epoch 3."""
    return f"{epoch_of(zxid)}.{counter_of(zxid)}"
