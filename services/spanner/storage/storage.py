"""One spanserver's storage: what its replicas queue is written in order, and told when it is durable."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from services.durable.errors import StorageFailed
from services.durable.headers import write_header
from services.durable.pieces import Writer
from services.spanner.storage import checkpoints
from services.spanner.storage.checkpoints import Checkpoint
from services.spanner.storage.image import apply
from services.spanner.storage.records import CheckpointEnd, CheckpointHeader, Created, Dropped, Written
from services.spanner.storage.recovery import recover

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Mapping

    from services.host import Disk
    from services.spanner.storage.image import Image
    from services.spanner.storage.records import Record
    from services.spanner.storage.recovery import Recovered

SEGMENT = 16 << 20  # bytes after which a new segment begins
SEGMENTS = 64  # files of the log after which old ones are emptied, however small they are
BATCH = 2 << 20  # bytes of one write, and one record more
CARRY = 1 << 16  # bytes of a group that are rather written again than checkpointed, when a segment is to go
ROOM = 16 << 20  # bytes that may wait for the disk before `room` makes its caller wait
RECORD = 48  # bytes of a record in the log besides what it holds, about
WRITERS = 4  # checkpoints that are written side by side

Done: TypeAlias = Callable[[], None]
_Step: TypeAlias = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


class Storage:
    """The storage. Made by `open`.

    Attributes:
        wanted: called with the number of a group that should write a checkpoint: it keeps old segments.
        repaired: what had to be put in order at the start, for people.
    """

    def __init__(self, disk: Disk, universe: str, server: str, found: Recovered) -> None:
        self._disk = disk
        self._universe = universe
        self._server = server
        self._log = found.log
        self._images = found.images
        self.repaired = found.repaired
        self.wanted: Callable[[int], None] = lambda _: None
        self._queue: deque[tuple[Record, Done, int] | _Step] = deque()
        self._queued = 0  # bytes
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._writers = asyncio.Semaphore(WRITERS)

    @classmethod
    async def open(cls, disk: Disk, rng: random.Random, universe: str, server: str) -> Storage:
        """Finds what is on the disk, and puts in order what a crash has left.

        Args:
            disk: the host's; everything lies in its folders `log` and `checkpoints`.
            rng: the host's chance.
            universe, server: whose it must be.

        Raises:
            StorageRefused: what is there is damaged, or another server's.
            StorageFailed: the disk fails.
        """
        try:
            found = await recover(disk, rng, universe, server)
        except OSError as exc:
            raise StorageFailed(f"the disk of spanserver {server} fails at the start: {exc}") from exc
        return cls(disk, universe, server, found)

    @property
    def groups(self) -> Mapping[int, Image]:
        """What the log says of each group: with what is being written, without what is queued."""
        return self._images

    # The log

    def create(self, group: int, members: bytes, done: Done) -> None:
        """Queues the creation of a group's replica; at the next start it is in `groups`.

        Args:
            group: its number, which was never used here before.
            members: what one will want to know of it then.
            done: called when it is durable.
        """
        self._append(Created(group, members), done, len(members))

    def write(
        self, group: int, state: Any, first: int, entries: tuple[Any, ...], size: int, done: Done
    ) -> None:
        """Queues what Paxos wants remembered, all of it or nothing.

        Args:
            group: of which group; it has been created.
            state: takes the place of the one before.
            first: the log from this index on is replaced by `entries`; 0: the log stays.
            entries: see there.
            size: bytes of them, about.
            done: called when it is durable, and all that was queued before.
        """
        self._append(Written(group, state, first, entries), done, size)

    def drop(self, group: int, done: Done) -> None:
        """Queues the end of a group's replica and checkpoint. Nothing may be queued for it afterwards."""

        def dropped() -> None:
            self._step(lambda: self._remove(group))
            done()

        self._append(Dropped(group), dropped, 0)

    def _append(self, record: Record, done: Done, size: int) -> None:
        self._queue.append((record, done, size))
        self._queued += size
        self._wake.set()

    @property
    def full(self) -> bool:
        """Whether so much waits for the disk that others should wait (`room`)."""
        return self._queued >= ROOM

    async def room(self) -> None:
        """Waits until less than `ROOM` bytes wait for the disk."""
        while self._queued >= ROOM:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Carries out what is queued, until cancelled.

        Raises:
            StorageFailed: the disk failed. Nothing more is carried out.
        """
        queue, written = self._queue, self._log
        try:
            while True:
                if not queue:
                    self._wake.clear()
                    await self._wake.wait()
                head = queue[0]
                if isinstance(head, tuple):
                    records, dones = self._take()
                    await written.write(records)
                    for done in dones:
                        done()
                    if written.segments[-1].size >= SEGMENT:
                        await self._roll()
                else:
                    queue.popleft()
                    await head()
                if self._queued < ROOM:
                    self._room.set()
        except OSError as exc:
            raise StorageFailed(
                f"the disk of spanserver {self._server} fails: {exc}; nothing more is acknowledged"
            ) from exc

    def _take(self) -> tuple[list[Record], list[Done]]:
        """Returns the records at the head of the queue that are written together, and what to call then."""
        queue, images, segment = self._queue, self._images, self._log.number
        records: list[Record] = []
        dones: list[Done] = []
        total = 0
        while queue and total < BATCH:
            head = queue[0]
            if not isinstance(head, tuple):
                break
            record, done, size = head
            apply(images, record, size + RECORD, segment)
            records.append(record)
            dones.append(done)
            total += size
            queue.popleft()
        self._queued -= total
        return records, dones

    def _step(self, step: _Step) -> None:
        self._queue.append(step)
        self._wake.set()

    # Segments

    async def _roll(self) -> None:
        """Begins a new segment; empties the older half when little of the log is needed any more."""
        images, segments = self._images, self._log.segments
        needed = sum(image.size for image in images.values())
        if self._log.size > 4 * max(SEGMENT, needed) or len(segments) > SEGMENTS:
            target = segments[len(segments) // 2].number
            await self._carry([group for group, image in images.items() if image.oldest < target])
        floor = min((image.oldest for image in images.values()), default=None)
        await self._log.begin(floor)

    async def _carry(self, groups: list[int]) -> None:
        """Writes again what is needed of groups; those of which that is much are asked for a checkpoint."""
        records: list[Record] = []
        size = 0
        for group in groups:
            image = self._images[group]
            if image.size > CARRY:
                self.wanted(group)
                continue
            records += self._again(group, image)
            size += image.size
            if size > BATCH:
                await self._log.write(records)
                records, size = [], 0
        if records:
            await self._log.write(records)

    def _again(self, group: int, image: Image) -> list[Record]:
        """Returns all that is needed of a group, to be written at once in one batch."""
        image.oldest = self._log.number
        return image.records(group)

    # Checkpoints

    async def save(self, group: int, base: int, about: Any, pieces: AsyncIterator[bytes]) -> bool:
        """Writes a checkpoint while all else goes on; what it makes unnecessary goes.

        Args:
            group: of which group.
            base: the index of the last entry that is applied in it: all up to there is known to be chosen.
            about: what Paxos will want to know of that place of the log.
            pieces: the state.

        Returns:
            whether it is there; not when the group was dropped meanwhile, or has a later one.

        Raises:
            OSError: the disk fails; the log is not touched by that.
            whatever `pieces` raises.
        """
        await self.put(group, base, about, pieces)
        return await self._turn(lambda: self._note(group, base, about, keep=True))

    async def put(self, group: int, base: int, about: Any, pieces: AsyncIterator[bytes]) -> None:
        """Writes a checkpoint beside the one that counts; one at a time of a group. As `save`."""
        async with self._writers:
            header = CheckpointHeader(self._universe, self._server, group, base, about)
            writer = Writer(self._disk, Checkpoint(group, base).path, write_header(header))
            try:
                async for piece in pieces:
                    await writer.add(piece)
                end = CheckpointEnd(writer.pieces, self._log.batch)
                await writer.finish(msgspec.msgpack.encode(end))
            except BaseException:
                await writer.abandon()
                raise

    def install(
        self, group: int, base: int, about: Any, keep: bool, done: Done, *, data: bool = True
    ) -> None:
        """Queues that a checkpoint that was put counts from now on, in the place of the log up to there.

        Args:
            group, base, about: as of `put`.
            keep: the log after `base` stays; else it is empty from there on.
            done: called when that is durable, and all that was queued before.
            data: whether there is a checkpoint; without, the log just begins there (a witness).
        """

        async def step() -> None:
            if data:
                await self._note(group, base, about, keep=keep)
            elif (image := self._images.get(group)) is not None and image.base < base:
                image.cut(base, about, checkpoint=False, keep=keep)
                await self._log.write(self._again(group, image))
            done()

        self._step(step)

    async def _note(self, group: int, base: int, about: Any, *, keep: bool) -> bool:
        """Notes a checkpoint in the log, with what is needed beside it."""
        image = self._images.get(group)
        if image is None or image.base >= base:
            if image is None or image.base > base:
                await self._disk.remove(Checkpoint(group, base).path)
            return False
        old = Checkpoint(group, image.base) if image.checkpoint else None
        image.cut(base, about, checkpoint=True, keep=keep)
        await self._log.write(self._again(group, image))
        if old is not None:
            await self._disk.remove(old.path)
        return True

    def trim(self, group: int, base: int, about: Any) -> None:
        """Forgets the log up to an index, without a checkpoint. That is durable sooner or later."""
        image = self._images.get(group)
        if (
            image is not None
            and not image.checkpoint
            and image.base < base <= image.base + len(image.entries)
        ):
            image.cut(base, about, checkpoint=False)

    async def pieces(self, group: int) -> AsyncIterator[bytes]:
        """Yields the pieces of a group's checkpoint; there must be one.

        Raises:
            StorageRefused: it is damaged.
            OSError: it cannot be read.
        """
        checkpoint = Checkpoint(group, self._images[group].base)
        await checkpoints.check(self._disk, checkpoint, self._universe, self._server)
        async for piece in checkpoints.pieces(self._disk, checkpoint, self._log.batch):
            yield piece

    async def _remove(self, group: int) -> None:
        """Removes the checkpoint of a group that is gone."""
        for checkpoint in checkpoints.checkpoints(await self._disk.list(checkpoints.FOLDER)):
            if checkpoint.group == group and group not in self._images:
                await self._disk.remove(checkpoint.path)

    async def _turn(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """Carries out a step in its turn, and returns what it returns."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def in_turn() -> None:
            done = await step()
            if not future.done():
                future.set_result(done)

        self._step(in_turn)
        return await future

    async def close(self) -> None:
        """Closes the files, when `run` has ended."""
        await self._log.close()
