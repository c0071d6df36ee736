"""A disk in memory that knows every state in which a crash may leave it.

As `sim.world.disk` has it: of a file's unsynced operations a prefix survives, the last of them torn anywhere;
of unsynced changes of names any subset that keeps the order of those that depend on each other. There, the
seed draws one state; here, all of them can be listed. Nothing waits, so a coroutine that only uses this disk
runs to its end without a loop (`finish`).
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Files = dict[str, bytes]


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waited")


class Inode:
    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable = data
        self.unsynced: list[tuple[str, int, bytes]] = []  # truncate or write, where, what

    def do(self, what: str, offset: int, data: bytes) -> None:
        apply(self.data, what, offset, data)
        self.unsynced.append((what, offset, data))

    def outcomes(self, tears: Callable[[int], Iterator[int]]) -> Iterator[bytes]:
        """Yields what a crash may leave of it."""
        data = bytearray(self.durable)
        yield bytes(data)
        for what, offset, new in self.unsynced:
            if what == "write":
                for torn in tears(len(new)):
                    part = bytearray(data)
                    apply(part, what, offset, new[:torn])
                    yield bytes(part)
            apply(data, what, offset, new)
            yield bytes(data)


def apply(data: bytearray, what: str, offset: int, new: bytes) -> None:
    if what == "truncate":
        del data[offset:]
    else:
        data[offset : offset + len(new)] = new


def few(size: int) -> Iterator[int]:
    """Torn lengths at which it could matter."""
    yield from sorted({1, size // 2, size - 1} - {0, size})


def every(size: int) -> Iterator[int]:
    yield from range(1, size)


Change = tuple[str, str, Inode]  # from which name, to which, of what


class MemoryDisk:
    """The disk.

    Attributes:
        before: called with a name before each operation; may raise.
        fail: names of operations ("append", "sync", ...) that fail with an error of the device or of room.
    """

    def __init__(self, files: Files | None = None) -> None:
        self.names = {path: Inode(data) for path, data in (files or {}).items()}
        self.durable = dict(self.names)
        self.changes: list[Change] = []
        self.before: Callable[[str], None] = lambda _: None
        self.fail: dict[str, int] = {}

    def _do(self, what: str) -> None:
        self.before(what)
        if what in self.fail:
            raise OSError(self.fail[what], "the test wants it", what)

    async def open(self, path: str, mode: str = "r") -> MemoryFile:
        self._do("open")
        if path not in self.names:
            if mode == "r":
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            self.names[path] = Inode()
            self.changes.append(("", path, self.names[path]))
        elif mode == "w":
            self.names[path].do("truncate", 0, b"")
        return MemoryFile(self, self.names[path])

    async def rename(self, source: str, target: str) -> None:
        self._do("rename")
        inode = self.names.pop(source)
        self.names[target] = inode
        self.changes.append((source, target, inode))

    async def remove(self, path: str) -> None:
        self._do("remove")
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        self.changes.append((path, "", self.names.pop(path)))

    async def list(self, folder: str = "") -> list[str]:
        return sorted(path.removeprefix(folder + "/") for path in self.names if path.startswith(folder + "/"))

    async def exists(self, path: str) -> bool:
        return path in self.names

    async def sync(self, folder: str = "") -> None:
        self._do("sync folder")
        left = []
        for change in self.changes:
            if any(path.startswith(folder + "/") for path in change[:2]):
                rename(self.durable, change)
            else:
                left.append(change)
        self.changes = left

    def outcomes(self, tears: Callable[[int], Iterator[int]] = few) -> Iterator[Files]:
        """Yields every state in which a crash may leave it."""
        seen = set()
        for names in self._names():
            contents = [list(inode.outcomes(tears)) for inode in names.values()]
            for content in itertools.product(*contents):
                files = dict(zip(names, content, strict=True))
                key = tuple(files.items())
                if key not in seen:
                    seen.add(key)
                    yield files

    def _names(self) -> Iterator[dict[str, Inode]]:
        for kept in itertools.product((True, False), repeat=len(self.changes)):
            lost: list[Change] = []
            names = dict(self.durable)
            for change, keep in zip(self.changes, kept, strict=True):
                if any(depends(change, other) for other in lost):
                    if keep:
                        break
                    lost.append(change)
                elif keep:
                    rename(names, change)
                else:
                    lost.append(change)
            else:
                yield names


def rename(names: dict[str, Inode], change: Change) -> None:
    source, target, inode = change
    if source:
        names.pop(source, None)
    if target:
        names[target] = inode


def depends(change: Change, earlier: Change) -> bool:
    return change[2] is earlier[2] or any(path and path in earlier[:2] for path in change[:2])


class MemoryFile:
    def __init__(self, disk: MemoryDisk, inode: Inode) -> None:
        self._disk = disk
        self._inode = inode

    async def read(self, size: int = -1, offset: int = 0) -> bytes:
        return bytes(self._inode.data[offset:] if size < 0 else self._inode.data[offset : offset + size])

    async def append(self, data: bytes, *, sync: bool = False) -> None:
        self._disk._do("append")
        self._inode.do("write", len(self._inode.data), data)
        if sync:
            await self.sync()

    async def write(self, data: bytes, offset: int) -> None:
        self._disk._do("write")
        self._inode.do("write", offset, data)

    async def truncate(self, size: int) -> None:
        self._disk._do("truncate")
        self._inode.do("truncate", size, b"")

    async def sync(self) -> None:
        self._disk._do("sync")
        self._inode.durable, self._inode.unsynced = bytes(self._inode.data), []

    async def size(self) -> int:
        return len(self._inode.data)

    async def close(self) -> None:
        pass
