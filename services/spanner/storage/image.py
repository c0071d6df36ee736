"""What the log says of each group, up to some batch of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from services.durable.errors import StorageRefused
from services.spanner.storage.records import Created, Written

if TYPE_CHECKING:
    from services.spanner.storage.records import Record

CREATED = 64  # bytes that a group takes in the log besides its entries, about


class Image(Struct, eq=False):
    """A group.

    Attributes:
        members: what its creator said of it.
        base: the log begins after this index.
        about: what Paxos said of the entry there.
        checkpoint: whether there is a checkpoint as of there.
        oldest: the first segment with something of it that is needed.
        state: what Paxos remembers besides; None before it has written anything.
        entries: the log after `base`, without gaps.
        size: bytes of all that in the log, about.
    """

    members: bytes
    base: int
    about: Any
    checkpoint: bool
    oldest: int
    state: Any
    entries: list[Any]
    size: int = CREATED

    def write(self, record: Written, size: int) -> None:
        """Notes what Paxos wants remembered.

        Raises:
            StorageRefused: it leaves a gap in the log.
        """
        self.state = record.state
        if not record.first:
            return
        at, new = record.first - self.base - 1, record.entries
        if at < 0:
            at, new = 0, new[-at:]
        if at > len(self.entries):
            raise StorageRefused(
                f"the log of group {record.group} ends before {self.base + len(self.entries) + 1}, "
                f"and goes on at {record.first}"
            )
        self._shrink(len(self.entries) - at)
        del self.entries[at:]
        self.entries += new
        self.size += size

    def cut(self, base: int, about: Any, *, checkpoint: bool, keep: bool = True) -> None:
        """Has the log begin after a later index; without `keep`, all after it goes too."""
        gone = min(base - self.base, len(self.entries)) if keep else len(self.entries)
        self._shrink(gone)
        del self.entries[:gone]
        self.base, self.about, self.checkpoint = base, about, checkpoint

    def _shrink(self, gone: int) -> None:
        """Takes the share of some entries from the size."""
        if gone > 0:
            self.size -= (self.size - CREATED) * gone // len(self.entries)

    def records(self, group: int) -> list[Record]:
        """Returns all that is still needed of it, as one batch must hold it."""
        created = Created(group, self.members, self.base, self.about, self.checkpoint)
        if self.state is None:
            return [created]
        return [created, Written(group, self.state, self.base + 1, tuple(self.entries))]


def apply(images: dict[int, Image], record: Record, size: int, segment: int) -> None:
    """Notes what is written to a segment, and how many bytes it has, about.

    Raises:
        StorageRefused: it makes no sense after what was there before.
    """
    group = record.group
    if isinstance(record, Created):
        images[group] = Image(record.members, record.base, record.about, record.checkpoint, segment, None, [])
        return
    image = images.get(group)
    if image is None:
        return  # what is needed of it was written again later, or it was dropped; its beginning was purged
    if isinstance(record, Written):
        image.write(record, size)
    else:
        del images[group]
