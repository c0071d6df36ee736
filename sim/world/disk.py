"""The disk of a simulated host: a page cache that a crash loses, and a platter that keeps.

What POSIX promises, and nothing more:

- A file's bytes are durable after `File.sync`. Of what was not synced, a crash leaves for each file
  nothing, a prefix that ends between two pages of 4 KiB, or a prefix that ends anywhere in a page (a
  torn page): the seed decides.
- Directory entries (create, rename, remove) are durable after `Disk.sync` of their folder. Of those
  not synced, a crash leaves some: the seed decides, but never against the order in which the same
  names or the same file were changed, and a rename survives whole or not at all. Syncing a file does not
  sync its entry. Here we are stricter than ext4, whose journal keeps the order of all entries and whose
  `fsync` of a new file takes its entry along; a program that is right here is right there.
- Folders come into being with the files in them; syncing a folder makes its own place durable too.
- A failed sync loses the bytes it was to write, and a later success does not bring them back; whether
  one still reads them until the crash (Linux marks the pages clean) or not (others drop them), the
  seed decides.

Writes change the cache at once, so a crash between any two steps of a program leaves one of the states
above. Time: one head serves one request at a time, first come first served; a request seeks, streams
and, for a sync, flushes. Reads of what is in the cache are free, and after a crash the cache is cold.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from sim.world.inode import Inode, NamesChange
from sim.world.loop import SECOND

if TYPE_CHECKING:
    import random

    from sim.world.loop import VirtualTime


Names: TypeAlias = "list[str]"


class DiskModel(Struct, frozen=True):
    """What a disk can do. The defaults are those of an ordinary data-centre SSD.

    Attributes:
        call: seconds of any call (a system call and its copy).
        seek: seconds before the first byte of a request to the device (HDD: 8 ms).
        flush: seconds that a sync waits for the device's own cache (HDD: 8 ms).
        bandwidth: bytes a second (HDD: 150 MB/s).
        capacity: bytes.

    Raises:
        ValueError: a cost is negative, or the bandwidth not positive.
    """

    call: float = 5e-6
    seek: float = 80e-6
    flush: float = 400e-6
    bandwidth: float = 500e6
    capacity: int = 1 << 40

    def __post_init__(self) -> None:
        for name in ("call", "seek", "flush", "capacity"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"disk: {name} is {getattr(self, name)}, must be 0 or more")
        if not self.bandwidth > 0:
            raise ValueError(f"disk: bandwidth is {self.bandwidth}, must be above 0")


SSD = DiskModel()
HDD = DiskModel(seek=8e-3, flush=8e-3, bandwidth=150e6)
FREE = DiskModel(call=0.0, seek=0.0, flush=0.0, bandwidth=float("inf"))
"""Costs nothing: for tests of other things. Every call still lets other tasks run."""


class SimDisk:
    """One host's disk; implements `services.host.Disk`.

    Args:
        env: virtual time.
        rng: decides what survives crashes.
        model: what it costs.

    Attributes:
        slow: each request takes this many times as long.
        full: writes fail with ENOSPC.
        sync_fails: syncs fail with EIO.
        tear: the next crash tears the write that was in flight.
    """

    def __init__(self, env: VirtualTime, rng: random.Random, model: DiskModel = SSD) -> None:
        self._env = env
        self._rng = rng
        self.model = model
        self.slow = 1.0
        self.full = False
        self.sync_fails = False
        self.tear = False
        self._free_at = 0
        self._room = 0  # bytes that are certainly free: counting them all each time would be slow
        self._files: dict[str, Inode] = {}
        self._durable: dict[str, Inode] = {}
        self._folders: dict[str, None] = {"": None}
        self._durable_folders: dict[str, None] = {"": None}
        self._changes: list[NamesChange] = []

    # services.host.Disk

    async def open(self, path: str, mode: str = "r") -> SimFile:
        """Opens a file; see `services.host.Disk.open`."""
        inode = self.open_now(path, mode)
        await self._pay(self.model.call)
        return SimFile(self, _clean(path), inode, writable=mode != "r")

    async def rename(self, source: str, target: str) -> None:
        """Renames a file, replacing `target` atomically."""
        self.rename_now(source, target)
        await self._pay(self.model.call)

    async def remove(self, path: str) -> None:
        """Removes a file; those who have it open keep it."""
        self.remove_now(path)
        await self._pay(self.model.call)

    async def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when it does not exist)."""
        names = self.list_now(folder)
        await self._pay(self.model.call)
        return names

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        found = self.exists_now(path)
        await self._pay(self.model.call)
        return found

    # What the calls do, which is at once; children of the host pay later

    def open_now(self, path: str, mode: str) -> Inode:
        """Finds or makes a file."""
        path = _clean(path)
        if mode not in ("r", "w", "a", "x"):
            raise ValueError(f"mode {mode!r}: must be 'r', 'w', 'a' or 'x'")
        if path in self._folders:
            raise _error(errno.EISDIR, path)
        inode = self._files.get(path)
        if inode is None:
            if mode == "r":
                raise self._missing(path)
            self._grow(0, path)
            self._make_folders(path)
            inode = self._files[path] = Inode()
            self._changes.append(NamesChange("", path, inode))
        elif mode == "x":
            raise _error(errno.EEXIST, path)
        elif mode == "w":
            inode.truncate(0)
        return inode

    def rename_now(self, source: str, target: str) -> None:
        """Renames a file."""
        source, target = _clean(source), _clean(target)
        inode = self._file(source)
        if target in self._folders:
            raise _error(errno.EISDIR, target)
        if _folder(target) not in self._folders:
            raise _error(errno.ENOENT, source)
        if source != target:
            del self._files[source]
            self._files[target] = inode
            self._changes.append(NamesChange(source, target, inode))

    def remove_now(self, path: str) -> None:
        """Removes a file."""
        path = _clean(path)
        inode = self._file(path)
        del self._files[path]
        self._changes.append(NamesChange(path, "", inode))

    def list_now(self, folder: str) -> Names:
        """Returns the sorted names in a folder."""
        folder = _clean(folder)
        if folder in self._files:
            raise _error(errno.ENOTDIR, folder)
        prefix = folder + "/" if folder else ""
        start = len(prefix)
        names = {
            path[start:].split("/", 1)[0]: None
            for path in (*self._files, *self._folders)
            if path.startswith(prefix) and len(path) > start
        }
        return sorted(names)

    def exists_now(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        path = _clean(path)
        return path in self._files or path in self._folders

    def size_now(self, path: str) -> int:
        """Returns a file's size, or 0 for a folder."""
        path = _clean(path)
        return 0 if path in self._folders else len(self._file(path).data)

    async def sync(self, folder: str = "") -> None:
        """Makes the entries of a folder durable.

        Raises:
            FileNotFoundError: there is no such folder.
            OSError: EIO when the device fails.
        """
        folder = _clean(folder)
        if folder not in self._folders:
            raise _error(errno.ENOTDIR if folder in self._files else errno.ENOENT, folder)
        covered = self._touching(folder)
        await self._request(0, flush=True)
        if self.sync_fails:
            raise _error(errno.EIO, folder)
        done = [change for change in self._changes if change in covered]
        self._changes = [change for change in self._changes if change not in covered]
        for change in done:
            change.apply(self._durable)
        self._keep_folder(folder)

    # The hardware

    def crash(self) -> None:
        """Loses the page cache: what was not synced survives as far as the seed allows."""
        rng = self._rng
        lost: list[NamesChange] = []
        for change in self._changes:
            if any(change.depends_on(other) for other in lost) or rng.random() < 0.5:
                lost.append(change)
            else:
                change.apply(self._durable)
        self._changes = []
        self._files = dict(self._durable)
        self._folders = dict(self._durable_folders)
        for path, inode in self._files.items():
            self._keep_folder(_folder(path))
            inode.crash(rng, tear=self.tear)
        self._folders = dict(self._durable_folders)
        self.tear = False
        self._free_at = self._env._now

    def corrupt(self, path: str = "") -> str:
        """Flips a bit of one byte and returns the file's path ("" when there is no byte on this disk).

        Args:
            path: the file; "" lets the seed choose.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if path:
            path = _clean(path)
            inode = self._file(path)
        else:
            candidates = sorted(name for name, file in self._files.items() if file.data)
            if not candidates:
                return ""
            path = self._rng.choice(candidates)
            inode = self._files[path]
        if inode.data:
            inode.data[self._rng.randrange(len(inode.data))] ^= 1 << self._rng.randrange(8)
        return path

    @property
    def used(self) -> int:
        """Bytes in use."""
        return sum(len(inode.data) for inode in self._files.values())

    def _file(self, path: str) -> Inode:
        inode = self._files.get(path)
        if inode is None:
            raise _error(errno.EISDIR, path) if path in self._folders else self._missing(path)
        return inode

    def _missing(self, path: str) -> OSError:
        """Returns the error of a path that leads nowhere, or through a file."""
        parents = [path[:end] for end, letter in enumerate(path) if letter == "/"]
        through = any(parent in self._files for parent in parents)
        return _error(errno.ENOTDIR if through else errno.ENOENT, path)

    def _make_folders(self, path: str) -> None:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder in self._files:
                raise _error(errno.ENOTDIR, path)
            self._folders[folder] = None

    def _keep_folder(self, folder: str) -> None:
        while folder:
            self._durable_folders[folder] = None
            folder = _folder(folder)

    def _touching(self, folder: str) -> dict[NamesChange, None]:
        """Returns the changes in a folder, and those before them that they rest on."""
        covered: dict[NamesChange, None] = {}
        for change in reversed(self._changes):
            here = any(path and _folder(path) == folder for path in (change.source, change.target))
            if here or any(other.depends_on(change) for other in covered):
                covered[change] = None
        return covered

    def _grow(self, size: int, path: str) -> None:
        if size > self._room:
            self._room = self.model.capacity - self.used
        if self.full or size > self._room:
            raise _error(errno.ENOSPC, path)
        self._room -= size

    async def _request(self, size: int, *, flush: bool = False) -> None:
        """Waits for the head and for the device."""
        model = self.model
        cost = model.call + model.seek + size / model.bandwidth + (model.flush if flush else 0.0)
        now = self._env._now
        self._free_at = max(now, self._free_at) + round(cost * self.slow * SECOND)
        await asyncio.sleep((self._free_at - now) / SECOND)

    async def pay_bill(self, calls: int, seeks: int, size: int, most: int) -> None:
        """Takes the time of many calls together.

        Args:
            calls: those that touch only the cache.
            seeks: before requests to the device.
            size: bytes that go to the device or come from it.
            most: bytes asked of the device at once; others have their turn between.
        """
        if calls:
            await self._pay(self.model.call * calls)
        model = self.model
        lump = seeks * model.seek
        while size > 0 or lump:
            part = min(size, most)
            now = self._env._now
            self._free_at = max(now, self._free_at) + round(
                (lump + part / model.bandwidth) * self.slow * SECOND
            )
            await asyncio.sleep((self._free_at - now) / SECOND)
            size, lump = size - part, 0.0

    async def _pay(self, cost: float) -> None:
        await asyncio.sleep(cost * self.slow)


class SimFile:
    """An open file; implements `services.host.File`."""

    def __init__(self, disk: SimDisk, path: str, inode: Inode, *, writable: bool) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._writable = writable
        self._closed = False

    async def read(self, size: int = -1, offset: int = 0) -> bytes:
        """Returns up to `size` bytes from `offset` (all to the end when negative)."""
        self._check()
        if offset < 0:
            raise ValueError(f"read at offset {offset}: must be 0 or more")
        inode = self._inode
        wanted = max(0, len(inode.data) - offset)
        if size >= 0:
            wanted = min(wanted, size)
        if inode.cached or not wanted:
            await self._disk._pay(self._disk.model.call)
        else:
            inode.cached = wanted == len(inode.data)
            await self._disk._request(wanted)
        return bytes(inode.data[offset : offset + wanted])

    async def append(self, data: bytes, *, sync: bool = False) -> None:
        """Adds `data` at the end."""
        self._check(writing=True)
        self._disk._grow(len(data), self._path)
        self._inode.write(data, len(self._inode.data))
        await self._disk._pay(self._disk.model.call)
        if sync:
            await self.sync()

    async def write(self, data: bytes, offset: int) -> None:
        """Overwrites from `offset`; a gap before it is filled with zeros."""
        self._check(writing=True)
        if offset < 0:
            raise ValueError(f"write at offset {offset}: must be 0 or more")
        self._disk._grow(max(0, offset + len(data) - len(self._inode.data)), self._path)
        self._inode.write(data, offset)
        await self._disk._pay(self._disk.model.call)

    async def truncate(self, size: int) -> None:
        """Cuts the file to `size` bytes, or fills it up with zeros."""
        self._check(writing=True)
        if size < 0:
            raise ValueError(f"truncate to {size} bytes: must be 0 or more")
        self._disk._grow(max(0, size - len(self._inode.data)), self._path)
        self._inode.truncate(size)
        await self._disk._pay(self._disk.model.call)

    async def sync(self) -> None:
        """Makes the file's bytes durable."""
        self._check()
        disk, inode = self._disk, self._inode
        upto, size = inode.unsynced()
        await disk._request(size, flush=True)
        if disk.sync_fails:
            inode.fail_sync(upto, drop=disk._rng.random() < 0.5)
            raise _error(errno.EIO, self._path)
        inode.synced(upto)

    async def size(self) -> int:
        """Returns the present size."""
        self._check()
        await self._disk._pay(self._disk.model.call)
        return len(self._inode.data)

    async def close(self) -> None:
        """Closes the file, without syncing it; a second call does nothing."""
        if not self._closed:
            self._closed = True
            await self._disk._pay(self._disk.model.call)

    def _check(self, *, writing: bool = False) -> None:
        if self._closed:
            raise ValueError(f"{self._path} is closed")
        if writing and not self._writable:
            raise _error(errno.EBADF, self._path)


def _clean(path: str) -> str:
    """Returns a path in its one spelling.

    Raises:
        ValueError: it is absolute or leaves the disk.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise ValueError(f"path {path!r}: must be relative to the host's folder and stay in it")
    return "/".join(parts)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path or ".")
