"""Files as a file system knows them: bytes with what is not durable of them, and changes of names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import random

PAGE = 4096


class _Write(Struct, eq=False):
    """A write or truncation that is not durable yet, with what undoes it."""

    offset: int
    size: int  # bytes written
    old_size: int  # of the file
    new_size: int
    old: bytes  # what was overwritten or cut off, from `offset`


class Inode:
    """A file's bytes.

    The present bytes are kept, and how to undo what is not durable of them: appending, the common case,
    costs no copy.

    Attributes:
        data: what one reads.
        cached: it is in memory: reading costs no access to the device.
    """

    __slots__ = ("_base", "_lost", "_lost_size", "_writes", "cached", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self.cached = True
        self._writes: list[_Write] = []
        self._base = 0  # writes made durable or lost so far
        # What failed syncs lost though it can still be read: the pages as they are on the platter.
        self._lost: dict[int, bytes] = {}
        self._lost_size: int | None = None

    def write(self, new: bytes, offset: int) -> None:
        """Overwrites from `offset`, filling a gap with zeros."""
        if not new:
            return
        data = self.data
        size = len(data)
        if offset > size:
            new = bytes(offset - size) + new
            offset = size
        end = offset + len(new)
        old = bytes(data[offset:end])
        data[offset:end] = new
        self._writes.append(_Write(offset, len(new), size, len(data), old))

    def truncate(self, size: int) -> None:
        """Cuts to `size` bytes, or fills up with zeros."""
        if size > len(self.data):
            self.write(bytes(size - len(self.data)), len(self.data))
        elif size < len(self.data):
            self._writes.append(_Write(size, 0, len(self.data), size, bytes(self.data[size:])))
            del self.data[size:]

    def unsynced(self) -> tuple[int, int]:
        """Returns a mark up to which a sync that starts now goes, and the bytes it has to write."""
        return self._base + len(self._writes), sum(write.size for write in self._writes)

    def synced(self, upto: int) -> None:
        """Makes durable what was written before the mark."""
        for write in self._take(upto):
            if self._lost:
                for page in _pages(write):
                    self._lost.pop(page, None)
            self._lost_size = None

    def fail_sync(self, upto: int, *, drop: bool) -> None:
        """Loses what was written before the mark: at once (`drop`), or unseen until the next crash."""
        if drop:
            # What came after the mark rests on pages that are dropped: it goes as well.
            while self._writes:
                self._undo(self._writes.pop())
                self._base += 1
            return
        platter = self._before_all()
        for write in self._take(upto):
            if self._lost_size is None:
                self._lost_size = len(platter)
            for page in _pages(write):
                self._lost.setdefault(page, bytes(platter[page * PAGE : (page + 1) * PAGE]))

    def crash(self, rng: random.Random, *, tear: bool) -> None:
        """Leaves what the platter holds, and as much of the rest as chance allows.

        Args:
            rng: chance.
            tear: the last write is torn, wherever it can be.
        """
        writes = self._writes
        if writes:
            total = sum(max(1, write.size) for write in writes)
            if tear:
                last = max(1, writes[-1].size)
                survive = total - last + (rng.randrange(1, last) if last > 1 else 0)
            else:
                survive = rng.choice((0, total, rng.randint(0, total), rng.randint(0, total)))
            torn = tear or rng.random() < 0.5
            self._keep(survive, torn=torn)
        if self._lost:
            size = len(self.data) if self._lost_size is None else min(len(self.data), self._lost_size)
            for page, old in self._lost.items():
                start = page * PAGE
                if start < len(self.data):
                    here = len(self.data[start : start + PAGE])
                    self.data[start : start + here] = old[:here].ljust(here, b"\0")
            del self.data[size:]
            self._lost.clear()
        self._lost_size = None
        self.cached = False

    def _keep(self, survive: int, *, torn: bool) -> None:
        """Undoes all but the first `survive` bytes of what was written; a truncation counts as one."""
        writes, self._writes = self._writes, []
        self._base += len(writes)
        kept: list[_Write] = []
        for write in writes:
            weight = max(1, write.size)
            if survive < weight:
                break
            survive -= weight
            kept.append(write)
        partial = writes[len(kept)] if len(kept) < len(writes) else None
        part = b""
        if partial is not None and partial.size and survive:
            end = partial.offset + survive
            if not torn:
                end = max(partial.offset, end // PAGE * PAGE)
            while len(writes) > len(kept) + 1:
                self._undo(writes.pop())
            part = bytes(self.data[partial.offset : end])
        while len(writes) > len(kept):
            self._undo(writes.pop())
        if partial is not None and part:
            self.data[partial.offset : partial.offset + len(part)] = part

    def _before_all(self) -> bytearray:
        present = self.data
        self.data = bytearray(present)
        for write in reversed(self._writes):
            self._undo(write)
        platter, self.data = self.data, present
        return platter

    def _take(self, upto: int) -> list[_Write]:
        count = max(0, upto - self._base)
        taken, self._writes = self._writes[:count], self._writes[count:]
        self._base += len(taken)
        return taken

    def _undo(self, write: _Write) -> None:
        if write.new_size > write.old_size:
            del self.data[write.old_size :]
        self.data[write.offset : write.offset + len(write.old)] = write.old


def _pages(write: _Write) -> range:
    return range(write.offset // PAGE, (write.offset + max(1, write.size) - 1) // PAGE + 1)


class NamesChange(Struct, eq=False):
    """A change of directory entries: creation (no source), removal (no target) or renaming."""

    source: str
    target: str
    inode: Inode

    def apply(self, names: dict[str, Inode]) -> None:
        """Makes the change, all of it or nothing."""
        if self.source:
            names.pop(self.source, None)
        if self.target:
            names[self.target] = self.inode

    def depends_on(self, earlier: NamesChange) -> bool:
        """Says whether it rests on an earlier change: of the same file or the same names."""
        return self.inode is earlier.inode or any(
            path in (earlier.source, earlier.target) for path in (self.source, self.target) if path
        )
