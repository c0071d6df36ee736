"""One server's storage: what is queued for the disk is carried out in order, and told when it is durable.

Transactions that wait are written together; everything else takes its turn between them, so that an epoch is
saved after the transactions that were appended before it, as the rules want it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from services.coordination.storage.recovery import ACCEPTED_EPOCH, CONFIGURATION, CURRENT_EPOCH, recover
from services.coordination.storage.snapshots import FOLDER, Snapshot, SnapshotWriter, read_pieces, snapshots
from services.durable import values
from services.durable.errors import StorageFailed

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterator

    from services.coordination.storage.format import Record
    from services.coordination.storage.recovery import Recovered
    from services.host import Disk

KEEP_SNAPSHOTS = 3
COMMIT_LOG = 500
"""Transactions kept in memory, for learners that are a little behind (`commitLogCount`)."""

MEMORY = 8 << 20  # bytes of durable transactions kept in memory at most
BATCH = 2 << 20  # bytes of one write, and one transaction more
ROOM = 16 << 20  # bytes that may wait for the disk before `room` makes its caller wait

Done: TypeAlias = Callable[[], None]
_Step: TypeAlias = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


class Storage:
    """The storage. Made by `open`.

    Attributes:
        accepted_epoch, current_epoch: f.p and f.a, as last saved.
        configuration: as last saved, "" when it never was.
        snapshot: the newest, None when there is none yet.
        members: the configuration as of it, "" when there is none.
        epochs: the last zxid of each epoch in the log that was found, and of the snapshot.
        reconfigurations: what was found in the log after the snapshot and makes a configuration, by zxid.
        repaired: what had to be put in order at the start, for people.
        last: the last zxid of the history, with what is still queued.
    """

    def __init__(self, disk: Disk, ensemble: str, server: int, found: Recovered, keep_snapshots: int) -> None:
        self._disk = disk
        self._ensemble = ensemble
        self._server = server
        self._keep_snapshots = keep_snapshots
        self.accepted_epoch = found.accepted_epoch
        self.current_epoch = found.current_epoch
        self.configuration = found.configuration
        self.snapshot = found.snapshot
        self.members = found.members
        self.epochs = found.epochs
        self.reconfigurations = found.reconfigurations
        self.repaired = found.repaired
        self._snapshots = found.snapshots
        self._since = found.since
        self._log = found.log
        self.last = found.log.last
        self._queue: deque[Record | _Step] = deque()
        self._queued = 0  # bytes
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._tail: deque[Record] = (
            deque()
        )  # what follows `_tail_after`: all that is not durable, and some more
        self._tail_after = self.last
        self._tail_size = 0
        self._void: deque[int] = deque()  # what queued steps will leave of what is written before them
        self._install: SnapshotWriter | None = None

    @classmethod
    async def open(
        cls,
        disk: Disk,
        rng: random.Random,
        ensemble: str,
        server: int,
        keep_snapshots: int = KEEP_SNAPSHOTS,
    ) -> Storage:
        """Finds what is on the disk, and puts in order what a crash has left.

        Args:
            disk: the host's; everything lies in its folders `data` and `log`.
            rng: the host's chance.
            ensemble, server: whose it must be.
            keep_snapshots: how many stay, with the log that they need.

        Raises:
            StorageRefused: what is there is damaged, or another server's.
            StorageFailed: the disk fails.
        """
        try:
            found = await recover(disk, rng, ensemble, server)
        except OSError as exc:
            raise StorageFailed(f"the disk of server {server} fails at the start: {exc}") from exc
        return cls(disk, ensemble, server, found, max(1, keep_snapshots))

    @property
    def durable(self) -> int:
        """The last zxid of the history that is on stable storage."""
        return self._log.last

    @property
    def oldest(self) -> int:
        """Every transaction after this zxid can be read."""
        return min(self._log.oldest, self._tail_after)

    # Changes, in order

    def append(self, record: Record) -> None:
        """Queues a transaction. `run` tells when it is durable."""
        self._queue.append(record)
        self._tail.append(record)
        self.last = record[0]
        size = len(record[1])
        self._queued += size
        self._tail_size += size
        self._wake.set()

    def truncate(self, zxid: int, done: Done) -> None:
        """Queues the removal of all after a zxid of the history: none of it is confirmed any more."""
        while self._tail and self._tail[-1][0] > zxid:
            self._tail_size -= len(self._tail.pop()[1])
        self._tail_after = min(self._tail_after, zxid)
        self.last = zxid
        self._void.append(zxid)

        async def step() -> None:
            if self._log.last > zxid:
                await self._log.truncate(zxid)
            self._void.popleft()
            done()

        self._step(step)

    def save_accepted_epoch(self, epoch: int, done: Done) -> None:
        """Queues a new f.p."""

        async def step() -> None:
            await values.save(self._disk, ACCEPTED_EPOCH, str(epoch))
            self.accepted_epoch = epoch
            done()

        self._step(step)

    def save_current_epoch(self, epoch: int, done: Done) -> None:
        """Queues a new f.a."""

        async def step() -> None:
            await values.save(self._disk, CURRENT_EPOCH, str(epoch))
            self.current_epoch = epoch
            done()

        self._step(step)

    def save_configuration(self, members: str) -> None:
        """Queues the configuration that holds from now on."""

        async def step() -> None:
            await values.save(self._disk, CONFIGURATION, members)
            self.configuration = members

        self._step(step)

    def install(self, zxid: int, piece: bytes, members: str, last: bool, done: Done) -> None:
        """Queues a piece of a snapshot that takes the place of the whole history.

        Args:
            zxid: as of which.
            piece: of it; b"" is none.
            members: with the last piece, the configuration as of `zxid`.
            last: whether it is whole with this one.
            done: called when the last piece is durable and the history is the snapshot.
        """
        if last:
            self._tail.clear()
            self._tail_size = 0
            self._tail_after = self.last = zxid
            self._void.append(0)

        async def step() -> None:
            self._queued -= len(piece)
            if self._install is None:
                snapshot = Snapshot(max(1, self._log.next_number), zxid)
                self._install = SnapshotWriter(self._disk, snapshot, self._ensemble, self._server)
            if piece:
                await self._install.add(piece)
            if last:
                await self._replace(self._install, members)
                self._install = None
                self._void.popleft()
                done()

        self._queued += len(piece)
        self._step(step)

    def abandon_install(self) -> None:
        """Queues the end of an installation that does not come to its own."""

        async def step() -> None:
            writer, self._install = self._install, None
            if writer is not None:
                await writer.abandon()

        self._step(step)

    @property
    def full(self) -> bool:
        """Whether `ROOM` bytes wait for the disk."""
        return self._queued >= ROOM

    async def room(self) -> None:
        """Waits until less than that wait."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    async def run(self, logged: Callable[[int], None]) -> None:
        """Carries out what is queued, until cancelled.

        Args:
            logged: called when all up to a zxid is durable.

        Raises:
            StorageFailed: the disk failed. Nothing more is carried out.
        """
        try:
            while True:
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                head = self._queue[0]
                if isinstance(head, tuple):
                    batch, size = self._take(head[0])
                    await self._log.write(batch)
                    self._queued -= size
                    self._trim()
                    upto = min(self._log.last, *self._void) if self._void else self._log.last
                    if upto:
                        logged(upto)
                else:
                    self._queue.popleft()
                    await head()
                if self._queued < ROOM:
                    self._room.set()
        except OSError as exc:
            raise StorageFailed(
                f"the disk of server {self._server} fails: {exc}; nothing more is acknowledged"
            ) from exc

    def _take(self, first: int) -> tuple[list[Record], int]:
        """Returns the transactions at the head of the queue that are written together, and their bytes."""
        queue = self._queue
        batch: list[Record] = []
        size = 0
        end = (first | 0xFFFFFFFF) + 1  # a batch is of one epoch
        while queue and size < BATCH:
            record = queue[0]
            if not isinstance(record, tuple) or record[0] >= end:
                break
            batch.append(record)
            size += len(record[1])
            queue.popleft()
        return batch, size

    def _trim(self) -> None:
        """Forgets transactions that are durable and old."""
        tail, durable_zxid = self._tail, self._log.last
        while tail and (len(tail) > COMMIT_LOG or self._tail_size > MEMORY) and tail[0][0] <= durable_zxid:
            self._tail_after, transaction, _ = tail.popleft()
            self._tail_size -= len(transaction)

    def _step(self, step: _Step) -> None:
        self._queue.append(step)
        self._wake.set()

    # Reading

    async def read(self, after: int, upto: int) -> AsyncIterator[list[Record]]:
        """Yields the history after one zxid and up to another, some at a time: from memory what is there.

        Raises:
            StorageRefused: the log is damaged, or does not reach back so far.
            OSError: it cannot be read.
        """
        upto = min(upto, self.last)
        while after < upto:
            records = self.recent(after, upto)
            if records is not None:
                if records:
                    yield records
                return
            async for records in self._log.read(after, min(upto, self._log.last)):
                after = records[-1][0]
                yield records

    def recent(self, after: int, upto: int) -> list[Record] | None:
        """Returns the history after one zxid and up to another if it is all in memory."""
        if after < self._tail_after:
            return None
        return [record for record in self._tail if after < record[0] <= upto]

    def pieces(self) -> AsyncIterator[bytes]:
        """Yields the pieces of the newest snapshot.

        Raises:
            StorageRefused: it is damaged.
            OSError: it cannot be read.
        """
        assert self.snapshot is not None
        return read_pieces(self._disk, self.snapshot)

    # Snapshots

    async def save_snapshot(
        self,
        zxid: int,
        members: str,
        pieces: Iterator[bytes],
        delivered: Callable[[], int],
        purging: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Writes a snapshot while all else goes on; removes what it makes unnecessary.

        Args:
            zxid: the last transaction delivered before the first piece.
            members: the configuration as of it.
            pieces: of the state.
            delivered: returns the last transaction delivered so far; none of them is missing in `append`.
            purging: told before transactions are removed: up to this one, none can be read any more.

        Returns:
            whether it is there; not when the whole history was replaced meanwhile.

        Raises:
            OSError: the disk fails; the log is not touched by that.
        """
        since = self._since
        writer = SnapshotWriter(self._disk, Snapshot(since, zxid), self._ensemble, self._server)
        try:
            await self._turn(self._log.roll)
            for piece in pieces:
                if writer.put(piece):
                    await writer.flush()
                if since != self._since:
                    break
            upto = delivered()
            await writer.flush(sync=True)
            await self._turn(lambda: self._name(writer, upto, members, purging))
            if self.snapshot == writer.snapshot:
                return True
            await writer.abandon()
        except OSError:
            await writer.abandon()
            raise
        return False

    async def _name(
        self, writer: SnapshotWriter, upto: int, members: str, purging: Callable[[int], None]
    ) -> None:
        """Finishes a snapshot: at its turn, all that it shows is durable in the log."""
        if writer.snapshot.since == self._since and not self._install:
            await writer.finish(upto, members)
            self.snapshot = writer.snapshot
            self._snapshots.append(writer.snapshot)
            await self._purge(purging)

    async def _purge(self, purging: Callable[[int], None] = lambda _: None) -> None:
        self._snapshots = self._snapshots[-self._keep_snapshots :]
        for snapshot in snapshots(await self._disk.list(FOLDER)):
            if snapshot not in self._snapshots:
                await self._disk.remove(snapshot.path)
        await self._disk.sync(FOLDER)
        if len(self._snapshots) >= self._keep_snapshots or self._since:
            await self._log.purge(self._snapshots[0].zxid, purging)

    async def _replace(self, writer: SnapshotWriter, members: str) -> None:
        """Puts a received snapshot in the place of the history, by its renaming."""
        snapshot = writer.snapshot
        assert snapshot.since >= self._log.next_number, "the log was written while a snapshot came in"
        await writer.finish(snapshot.zxid, members)
        self.snapshot, self._snapshots, self._since = snapshot, [snapshot], snapshot.since
        await self._log.restart(snapshot.zxid, snapshot.since)
        await self._purge()

    async def _turn(self, step: _Step) -> None:
        """Carries out a step in its turn; its failure is the caller's and not the log's."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def in_turn() -> None:
            try:
                await step()
            except OSError as exc:
                if not future.done():
                    future.set_exception(exc)
            else:
                if not future.done():
                    future.set_result(None)

        self._step(in_turn)
        await future

    async def close(self) -> None:
        """Closes the files, when `run` has ended."""
        await self._log.close()
