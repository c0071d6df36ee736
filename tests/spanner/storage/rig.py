"""A storage at work, and the plain model of what it must hold after any crash."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from services.spanner.storage import Storage, StorageRefused
from tests.coordination.storage.disk import Files, MemoryDisk, finish

UNIVERSE, SERVER = "test", "s1"

Group = tuple[bytes, int, Any, tuple[bytes, ...]]
"""Its members, the index of its checkpoint, its state, the log after the checkpoint."""

State = dict[int, Group]
"""What a server is sure of."""

Step = tuple[str, int, Any]


def step(state: State, change: Step) -> State:
    what, group, value = change
    state = dict(state)
    if what == "create":
        state[group] = (value, 0, None, ())
        return state
    if what == "drop":
        del state[group]
        return state
    members, base, kept, entries = state[group]
    if what == "write":
        kept, first, new = value
        if first:
            entries = (*entries[: first - base - 1], *new)
    elif what == "trim":
        entries, base = entries[value - base :], value
    else:
        index, keep = value
        if index > base:
            entries, base = entries[index - base :] if keep else (), index
    state[group] = (members, base, kept, entries)
    return state


@dataclass
class Rig:
    """A storage on a disk, and what it has confirmed.

    Attributes:
        certain: what was confirmed.
        pending: what was asked for since, in order.
    """

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    certain: State = field(default_factory=dict)
    pending: list[Step] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    saving: list[Step] = field(default_factory=list)

    async def start(self) -> None:
        self.storage = await Storage.open(self.disk, random.Random(1), UNIVERSE, SERVER)  # type: ignore[arg-type]
        self.storage.wanted = self.wanted.append
        self.task = asyncio.create_task(self.storage.run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.storage.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def create(self, group: int, members: bytes = b"members") -> None:
        self.pending.append(("create", group, members))
        self.storage.create(group, members, self._confirmed)

    def write(self, group: int, state: object, first: int = 0, *entries: bytes) -> None:
        self.pending.append(("write", group, (state, first, entries)))
        self.storage.write(group, state, first, entries, sum(map(len, entries)), self._confirmed)

    def drop(self, group: int) -> None:
        self.pending.append(("drop", group, None))
        self.storage.drop(group, self._confirmed)

    async def checkpoint(self, group: int, index: int, pieces: list[bytes] | None = None) -> bool:
        change: Step = ("checkpoint", group, (index, True))
        self.saving.append(change)
        done = await self.storage.save(group, index, f"at {index}", each(pieces or content(group, index)))
        if done:
            self.certain = step(self.certain, change)
        self.saving.remove(change)
        return done

    async def install(self, group: int, index: int, *, keep: bool) -> None:
        await self.storage.put(group, index, f"at {index}", each(content(group, index)))
        self.pending.append(("install", group, (index, keep)))
        self.storage.install(group, index, f"at {index}", keep, self._confirmed)

    async def idle(self) -> None:
        while self.pending and not self.task.done():
            await asyncio.sleep(0)

    def _confirmed(self) -> None:
        self.certain = step(self.certain, self.pending.pop(0))

    def possible(self) -> list[State]:
        """Returns the states that a crash now may lead to: what was asked for is done in order, or not."""
        states = [self.certain]
        for change in self.pending:
            states.append(step(states[-1], change))
        for change in self.saving:
            states += [step(state, change) for state in states if change[1] in state]
        return states


def content(group: int, index: int) -> list[bytes]:
    return [b"group %d " % group, b"as of %d" % index]


async def each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def recovered(files: Files | MemoryDisk) -> tuple[Storage, State]:
    """Returns what a server finds on a disk, having read its checkpoints too."""
    disk = MemoryDisk(files) if isinstance(files, dict) else files
    storage = finish(Storage.open(disk, random.Random(2), UNIVERSE, SERVER))  # type: ignore[arg-type]
    state: State = {}
    for group, image in storage.groups.items():
        if image.checkpoint:
            assert finish(all_of(storage.pieces(group))) == content(group, image.base)
            assert image.about == f"at {image.base}"
        state[group] = (image.members, image.base, image.state, tuple(image.entries))
    return storage, state


async def all_of(pieces: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in pieces]


__all__ = ["Files", "Rig", "State", "StorageRefused", "recovered"]
