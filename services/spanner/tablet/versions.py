"""Rows in the order of their keys, each with its versions: (key, timestamp) → row (2.1).

Keys lie in blocks of a few hundred, so that one more costs the same among a hundred and among a million; a
binary search finds the block, another the key. A block knows the newest timestamp in it (LastTS by key
range, 4.2.4, costs no memory of its own), how many bytes it has (splits), and from which horizon on there
is something to collect in it. A snapshot shares the blocks: whoever writes to a shared one copies it first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from services.spanner.entries import Version
from services.spanner.keys import EVERYTHING, FIRST, KeyRange
from services.spanner.tablet.errors import Contradiction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOREVER = (1 << 63) - 1
"""After every timestamp."""

FULL = 512  # keys in a block, before it becomes two
SMALL = 64  # keys in a block, below which it joins its neighbour
LOOK = 64  # blocks that `last` looks at before it answers for all

History: TypeAlias = list[Version]
"""The versions of a key, the oldest first."""

_timestamp = attrgetter("timestamp")


def size_of(version: Version) -> int:
    """Returns the bytes of a version, as status and splits count them."""
    return len(version.key) + (len(version.row) if version.row is not None else 0)


def as_of(history: History, t: int) -> Version | None:
    """Returns the newest version not after `t`."""
    newest = history[-1]
    if newest.timestamp <= t:
        return newest
    place = bisect_right(history, t, key=_timestamp)
    return history[place - 1] if place else None


class Block:
    """Some hundred keys that follow each other.

    Attributes:
        keys, histories: side by side.
        size: bytes.
        rows: how many keys have a row now.
        newest: no version is newer.
        due: no horizon below it has anything to collect here.
        shared: a snapshot has it too.
    """

    __slots__ = ("due", "histories", "keys", "newest", "rows", "shared", "size")

    def __init__(self, keys: list[bytes], histories: list[History]) -> None:
        self.keys, self.histories = keys, histories
        self.shared = False
        self.measure()

    def measure(self) -> None:
        """Counts all there is."""
        self.size = self.rows = self.newest = 0
        self.due = FOREVER
        for history in self.histories:
            self.size += sum(map(size_of, history))
            self.rows += history[-1].row is not None
            self.newest = max(self.newest, history[-1].timestamp)
            self.due = min(self.due, _due(history))

    def copy(self) -> Block:
        """Returns one that can be written to."""
        block = Block.__new__(Block)
        block.keys, block.histories = self.keys[:], [history[:] for history in self.histories]
        block.size, block.rows, block.newest, block.due = self.size, self.rows, self.newest, self.due
        block.shared = False
        return block


def _due(history: History) -> int:
    """Returns the least horizon at which something of it is collected."""
    if history[0].row is None:
        return history[0].timestamp
    return history[1].timestamp if len(history) > 1 else FOREVER


class Versions:
    """All rows of a tablet. What it yields holds until something is written."""

    def __init__(self) -> None:
        self._blocks = [Block([], [])]
        self._firsts = [FIRST]  # where each block begins: no key of it is below

    def put(self, version: Version) -> None:
        """Adds a version, newer than those its key has.

        Raises:
            Contradiction: it is not.
        """
        key, timestamp = version.key, version.timestamp
        place = bisect_right(self._firsts, key) - 1
        block = self._writable(place)
        at = bisect_left(block.keys, key)
        if at < len(block.keys) and block.keys[at] == key:
            history = block.histories[at]
            newest = history[-1]
            if newest.timestamp >= timestamp:
                raise Contradiction(f"{key!r} at {timestamp} after {newest.timestamp}")
            block.rows += (version.row is not None) - (newest.row is not None)
            history.append(version)
            if timestamp < block.due:
                block.due = min(block.due, _due(history))
        else:
            block.keys.insert(at, key)
            block.histories.insert(at, [version])
            if version.row is not None:
                block.rows += 1
            elif timestamp < block.due:
                block.due = timestamp
        block.size += size_of(version)
        if timestamp > block.newest:
            block.newest = timestamp
        if len(block.keys) > FULL:
            self._halve(place)

    def insert(self, version: Version) -> bool:
        """Adds a version in its place among those its key has, or not where it is there already.

        Returns:
            False: there is another with its timestamp.
        """
        place = bisect_right(self._firsts, version.key) - 1
        block = self._blocks[place]
        at = bisect_left(block.keys, version.key)
        if at == len(block.keys) or block.keys[at] != version.key:
            self.put(version)
            return True
        history = block.histories[at]
        where = bisect_left(history, version.timestamp, key=_timestamp)
        if where == len(history):
            self.put(version)
        elif history[where].timestamp == version.timestamp:
            return history[where] == version
        else:
            block = self._writable(place)
            history = block.histories[at]
            history.insert(where, version)
            block.size += size_of(version)
            block.due = min(block.due, _due(history))
        return True

    def history(self, key: bytes) -> History | None:
        """Returns the versions of a key, also when the newest says that it is deleted."""
        block = self._blocks[bisect_right(self._firsts, key) - 1]
        at = bisect_left(block.keys, key)
        return block.histories[at] if at < len(block.keys) and block.keys[at] == key else None

    def histories(self, within: KeyRange = EVERYTHING) -> Iterator[History]:
        """Yields what `history` returns for each key, in order."""
        for block, low, high in self._parts(within):
            yield from block.histories[low:high] if high - low < len(block.keys) else block.histories

    def scan(self, within: KeyRange, t: int = FOREVER, *, reverse: bool = False) -> Iterator[Version]:
        """Yields the rows that exist at `t`, in the order of keys or backwards."""
        if reverse:
            for block, low, high in reversed(list(self._parts(within))):
                for at in range(high - 1, low - 1, -1):
                    version = as_of(block.histories[at], t)
                    if version is not None and version.row is not None:
                        yield version
            return
        for block, low, high in self._parts(within):
            histories = block.histories
            for at in range(low, high):
                version = histories[at][-1]
                if version.timestamp > t:
                    older = as_of(histories[at], t)
                    if older is None:
                        continue
                    version = older
                if version.row is not None:
                    yield version

    def last(self, within: KeyRange) -> int:
        """Returns a timestamp that no version of these keys is above: the newest one's, or, where that would
        take long to find, a later one."""
        last = 0
        for looked, (block, low, high) in enumerate(self._parts(within)):
            if looked == LOOK:
                return max(block.newest for block in self._blocks)
            if block.newest > last:
                if high - low == len(block.keys):
                    last = block.newest
                else:
                    for history in block.histories[low:high]:
                        last = max(last, history[-1].timestamp)
        return last

    def collect(self, horizon: int) -> None:
        """Drops the versions that nobody sees who reads at `horizon` or later."""
        for place, block in enumerate(self._blocks):
            if block.due > horizon:
                continue
            block = self._writable(place)
            keys, histories = [], []
            for key, history in zip(block.keys, block.histories, strict=True):
                place_of = bisect_right(history, horizon, key=_timestamp) - 1  # the newest that is seen there
                if place_of >= 0:
                    del history[: place_of + (history[place_of].row is None)]
                if history:
                    keys.append(key)
                    histories.append(history)
            block.keys, block.histories = keys, histories
            block.measure()
        self._join()

    def replace(self, within: KeyRange, by: Versions | None = None) -> None:
        """Drops all keys of a range, and takes the blocks that another has of it; the other is used up."""
        begin = self._cut(within.start)
        end = self._cut(within.end)
        blocks: list[Block] = []
        firsts: list[bytes] = []
        if by is not None:
            low, high = by._cut(within.start), by._cut(within.end)
            blocks, firsts = by._blocks[low:high], [within.start, *by._firsts[low + 1 : high]]
        if not blocks:
            blocks, firsts = [Block([], [])], [within.start]
        self._blocks[begin:end] = blocks
        self._firsts[begin:end] = firsts
        self._join()

    @property
    def rows(self) -> int:
        """How many keys have a row now."""
        return sum(block.rows for block in self._blocks)

    def size(self, within: KeyRange = EVERYTHING) -> int:
        """Returns the bytes of all versions in a range."""
        return sum(
            block.size
            if high - low == len(block.keys)
            else sum(size_of(version) for history in block.histories[low:high] for version in history)
            for block, low, high in self._parts(within)
        )

    def at_size(self, within: KeyRange, size: int) -> bytes | None:
        """Returns the first key of a range with `size` bytes of it or more before it; None: there is none."""
        for block, low, high in self._parts(within):
            if high - low == len(block.keys) and block.size < size:
                size -= block.size
                continue
            for at in range(low, high):
                if size <= 0:
                    return block.keys[at]
                size -= sum(map(size_of, block.histories[at]))
        return None

    def share(self) -> Versions:
        """Returns the same as it is now, whatever is written to this one later."""
        shared = Versions.__new__(Versions)
        for block in self._blocks:
            block.shared = True
        shared._blocks, shared._firsts = self._blocks[:], self._firsts[:]
        return shared

    @classmethod
    def of(cls, histories: Iterable[History]) -> Versions:
        """Returns those that have these histories, given in the order of keys."""
        self = cls()
        half = FULL // 2
        blocks: list[Block] = []
        part: list[History] = []
        for history in histories:
            part.append(history)
            if len(part) == half:
                blocks.append(Block([history[0].key for history in part], part))
                part = []
        if part or not blocks:
            blocks.append(Block([history[0].key for history in part], part))
        self._blocks = blocks
        self._firsts = [FIRST, *(block.keys[0] for block in blocks[1:])]
        return self

    def _parts(self, within: KeyRange) -> Iterator[tuple[Block, int, int]]:
        """Yields blocks, and from where to where in them the range reaches."""
        start, end = within.start, within.end
        blocks, firsts = self._blocks, self._firsts
        place = bisect_right(firsts, start) - 1
        keys = blocks[place].keys
        low = bisect_left(keys, start)
        while True:
            high = len(keys) if not keys or keys[-1] < end else bisect_left(keys, end)
            if low < high:
                yield blocks[place], low, high
            place += 1
            if place >= len(blocks) or firsts[place] >= end:
                return
            keys = blocks[place].keys
            low = 0

    def _writable(self, place: int) -> Block:
        block = self._blocks[place]
        if block.shared:
            block = self._blocks[place] = block.copy()
        return block

    def _halve(self, place: int) -> None:
        self._divide(place, len(self._blocks[place].keys) // 2, None)

    def _cut(self, key: bytes) -> int:
        """Makes a block begin at a key, and returns its place."""
        place = bisect_right(self._firsts, key) - 1
        if self._firsts[place] == key:
            return place
        block = self._blocks[place]
        at = bisect_left(block.keys, key)
        if at == len(block.keys) and place + 1 == len(self._blocks):
            return place + 1
        self._divide(place, at, key)
        return place + 1

    def _divide(self, place: int, at: int, first: bytes | None) -> None:
        block = self._writable(place)
        right = Block(block.keys[at:], block.histories[at:])
        self._blocks[place] = Block(block.keys[:at], block.histories[:at])
        self._blocks.insert(place + 1, right)
        self._firsts.insert(place + 1, first if first is not None else right.keys[0])

    def _join(self) -> None:
        """Joins small blocks with the ones before them."""
        blocks: list[Block] = []
        firsts: list[bytes] = []
        for block, first in zip(self._blocks, self._firsts, strict=True):
            if blocks and len(block.keys) < SMALL and len(blocks[-1].keys) < FULL // 2:
                left = blocks[-1] if not blocks[-1].shared else blocks[-1].copy()
                right = block if not block.shared else block.copy()
                blocks[-1] = Block(left.keys + right.keys, left.histories + right.histories)
            else:
                blocks.append(block)
                firsts.append(first)
        self._blocks, self._firsts = blocks, firsts
