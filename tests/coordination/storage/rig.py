"""A storage at work, and the plain model of what it must hold after any crash."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from services.coordination.storage import Record, Storage
from services.coordination.storage.storage import KEEP_SNAPSHOTS
from tests.coordination.storage.disk import Files, MemoryDisk, finish

ENSEMBLE = "test"


def record(epoch: int, counter: int, members: str = "", size: int = 6) -> Record:
    zxid = (epoch << 32) + counter
    return zxid, (f"{epoch}.{counter}/".encode() * size)[: max(size, 4)], members


@dataclass(frozen=True)
class State:
    """What a server is sure of: epochs, and a history as of `base` with transactions after it."""

    accepted: int = 0
    current: int = 0
    base: int = 0
    records: tuple[Record, ...] = ()

    def step(self, step: Step) -> State:
        what, value = step
        if what == "append":
            assert isinstance(value, tuple)
            return replace(self, records=(*self.records, value))
        assert isinstance(value, int)
        if what == "truncate":
            return replace(self, records=tuple(one for one in self.records if one[0] <= value))
        if what == "install":
            return replace(self, base=value, records=())
        return replace(self, **{what: value})


Step = tuple[str, int | Record]


@dataclass
class Rig:
    """A storage on a disk, and what it has confirmed.

    Attributes:
        certain: what was confirmed.
        pending: what was asked for since, in order.
        snapshot: the newest own one that was confirmed.
    """

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    certain: State = State()
    pending: list[Step] = field(default_factory=list)
    snapshot: int = 0
    keep: int = KEEP_SNAPSHOTS

    async def start(self) -> None:
        self.storage = await Storage.open(
            self.disk,
            random.Random(1),
            ENSEMBLE,
            1,
            keep_snapshots=self.keep,  # type: ignore[arg-type]
        )
        self.task = asyncio.create_task(self.storage.run(self._logged))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.storage.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def append(self, *records: Record) -> None:
        for one in records:
            self.pending.append(("append", one))
            self.storage.append(one)

    def truncate(self, zxid: int) -> None:
        self._ask("truncate", zxid)
        self.storage.truncate(zxid, self._confirmed)

    def accepted(self, epoch: int) -> None:
        self._ask("accepted", epoch)
        self.storage.save_accepted_epoch(epoch, self._confirmed)

    def current(self, epoch: int) -> None:
        self._ask("current", epoch)
        self.storage.save_current_epoch(epoch, self._confirmed)

    def install(self, zxid: int, pieces: list[bytes]) -> None:
        self._ask("install", zxid)
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            self.storage.install(zxid, piece, "members" if last else "", last, self._confirmed)

    async def save_snapshot(self, zxid: int, pieces: list[bytes], upto: int | None = None) -> None:
        if await self.storage.save_snapshot(zxid, "members", iter(pieces), lambda: upto or zxid):
            self.snapshot = zxid

    async def idle(self) -> None:
        while self.pending and not self.task.done():
            await asyncio.sleep(0)

    def _ask(self, what: str, value: int) -> None:
        self.pending.append((what, value))

    def _confirmed(self) -> None:
        """Something that is no transaction is done, and all before it: what it made void was not told."""
        while self._one()[0] == "append":
            pass

    def _one(self) -> Step:
        step = self.pending.pop(0)
        self.certain = self.certain.step(step)
        return step

    def _logged(self, zxid: int) -> None:
        while zxid not in [one[0] for one in self.certain.records]:
            assert self._one()[0] == "append", f"{zxid:x} was confirmed too early"

    def possible(self) -> list[State]:
        """Returns the states that a crash now may lead to: what was asked for is done in order or not."""
        states = [self.certain]
        for step in self.pending:
            states.append(states[-1].step(step))
        return states


def recovered(files: Files | MemoryDisk) -> tuple[Storage, State]:
    """Returns what a server finds on a disk."""
    disk = MemoryDisk(files) if isinstance(files, dict) else files
    storage = finish(Storage.open(disk, random.Random(2), ENSEMBLE, 1))  # type: ignore[arg-type]
    base = storage.snapshot.zxid if storage.snapshot is not None else 0
    records = tuple(finish(history(storage, base, storage.last)))
    assert storage.last == storage.durable == (records[-1][0] if records else base)
    return storage, State(storage.accepted_epoch, storage.current_epoch, base, records)


async def history(storage: Storage, after: int, upto: int) -> list[Record]:
    return [one async for records in storage.read(after, upto) for one in records]


def matches(found: State, expected: State) -> bool:
    """Says whether a recovered state is the expected one: from its snapshot on."""
    if found.base < expected.base:
        return False
    known = {expected.base, *(zxid for zxid, _, _ in expected.records)}
    after = tuple(one for one in expected.records if one[0] > found.base)
    return (
        found.base in known
        and found.records == after
        and (found.accepted, found.current) == (expected.accepted, expected.current)
    )


def zxids(epoch: int, first: int, last: int) -> Iterator[int]:
    yield from ((epoch << 32) + counter for counter in range(first, last + 1))
