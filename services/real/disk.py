"""The disk of a real host: files below its folder, with what faults do to them.

Every operation runs in a thread of the disk's own, one after the other, so that the loop never waits
for the device and operations keep their order. `sync` is `fdatasync`, on a folder `fsync`.

A SIGKILL does not take the page cache with it, so unsynced bytes survive the crash of a real process,
as they do not that of a simulated machine. Only what faults ask for is lost: bytes whose sync failed,
which are gone when the host starts next, and the rest of a torn write (`unsynced.py`).
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from services.real.serial import SerialThread
from services.real.shared import DiskRules
from services.real.unsynced import Unsynced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from protos import control_pb2

T = TypeVar("T")
Entries: TypeAlias = "list[str]"

_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "a": os.O_RDWR | os.O_CREAT,
    "x": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}


class FolderDisk(DiskRules):
    """A folder as a disk; implements `services.host.Disk`. Its rules are in memory shared with children.

    Args:
        folder: its root, made when missing.
        lost: where byte ranges whose sync failed are remembered until the next start.

    Attributes:
        root: its root.
        unsynced: the books of what is not durable.
    """

    def __init__(self, folder: Path, lost: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__()
        self.root = folder.resolve()
        self._thread = SerialThread("disk")
        self.unsynced = Unsynced(self.root, lost)
        self.unsynced.begin()

    def set(self, rule: control_pb2.Disk) -> None:
        """Takes over what the rules of the door say of the disk."""
        self.full = rule.full
        self.sync_fails = rule.sync_fails
        self.slow = max(1.0, rule.slow)
        if self.tear and not rule.tear:  # called off, also for what has been kept back already
            self._thread.submit(self.unsynced.complete_all)
        self.tear = rule.tear

    async def open(self, path: str, mode: str = "r") -> RealFile:
        """Opens a file; see `services.host.Disk.open`."""
        if mode not in _FLAGS:
            raise ValueError(f'mode "{mode}" of "{path}" is none of r, w, a, x')
        descriptor, inode = await self.run(self._open, path, mode)
        return RealFile(self, path, descriptor, inode, writable=mode != "r")

    async def rename(self, source: str, target: str) -> None:
        """Renames a file, replacing `target` atomically."""
        await self.run(self._rename, source, target)

    async def remove(self, path: str) -> None:
        """Removes a file."""
        await self.run(self._remove, path)

    async def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when it does not exist)."""
        return await self.run(self._list, folder)

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        return await self.run(lambda: self.path(path).exists())

    async def sync(self, folder: str = "") -> None:
        """Makes the entries of a folder durable."""
        await self.run(self._sync_folder, folder)

    def close(self) -> None:
        """Lets operations under way finish, and takes no more."""
        self._thread.close()
        self.unsynced.complete_all()
        self.cells.close()

    def wrote_apart(self, written: Sequence[tuple[int, int, int]]) -> None:
        """Takes down what a child has written; see `FolderStorage.written`."""
        self._thread.submit(self._wrote_apart, written)

    # What runs in the disk's thread

    async def run(self, operation: Callable[..., T], *args: Any) -> T:
        """Runs an operation in the disk's thread, stretched as the fault `slow` asks."""
        return await self._thread.run(self._timed, operation, args)

    def _timed(self, operation: Callable[..., T], args: tuple[Any, ...]) -> T:
        if self.slow == 1.0:
            return operation(*args)
        start = time.perf_counter()
        try:
            return operation(*args)
        finally:
            time.sleep((time.perf_counter() - start) * (self.slow - 1))

    def _wrote_apart(self, written: Sequence[tuple[int, int, int]]) -> None:
        for inode, start, end in written:
            if end < 0:
                self.unsynced.emptied(inode)
            else:
                self.unsynced.note(inode, start, end)

    def path(self, path: str) -> Path:
        """Returns where a path of the host really is.

        Raises:
            ValueError: that would be outside of the host's folder.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")]
        real = self.root.joinpath(*parts)
        if ".." in parts or "\0" in path or not real.resolve().is_relative_to(self.root):
            raise ValueError(f'path "{path}" leads out of the host\'s folder')
        return real

    def _open(self, path: str, mode: str) -> tuple[int, int]:
        """Returns a descriptor, and the inode of what it is of."""
        real = self.path(path)
        if mode != "r":
            if self.full and not real.exists():
                raise _error(errno.ENOSPC, path)
            self._make_parent(real, path)
        try:
            descriptor = os.open(real, _FLAGS[mode] | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise _error(exc.errno or errno.EIO, path) from None
        if real.is_dir():
            os.close(descriptor)
            raise _error(errno.EISDIR, path)
        inode = os.fstat(descriptor).st_ino
        if mode == "w":
            self.unsynced.emptied(inode)
        return descriptor, inode

    def _rename(self, source: str, target: str) -> None:
        try:
            replaced = self.path(target)
            if replaced.exists():
                self.unsynced.emptied(replaced.lstat().st_ino)
            self.path(source).replace(replaced)
        except OSError as exc:
            raise _error(exc.errno or errno.EIO, source) from None

    def _remove(self, path: str) -> None:
        real = self.path(path)
        try:
            self.unsynced.emptied(real.lstat().st_ino)
            real.unlink()
        except OSError as exc:
            raise _error(exc.errno or errno.EIO, path) from None

    def _list(self, folder: str) -> Entries:
        try:
            return sorted(entry.name for entry in self.path(folder).iterdir())
        except FileNotFoundError:
            return []

    def _sync_folder(self, folder: str) -> None:
        if self.sync_fails:
            raise _error(errno.EIO, folder)
        try:
            descriptor = os.open(self.path(folder), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            raise _error(exc.errno or errno.EIO, folder) from None
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _make_parent(self, real: Path, path: str) -> None:
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise _error(errno.ENOTDIR, path) from None
        except OSError as exc:
            raise _error(exc.errno or errno.EIO, path) from None


class RealFile:
    """An open file; implements `services.host.File`.

    What its operations ask of the system they ask once: at each call that may wait the loop's thread has its
    turn, and a busy loop gives it back late.
    """

    def __init__(self, disk: FolderDisk, path: str, descriptor: int, inode: int, *, writable: bool) -> None:
        self._disk = disk
        self._path = path
        self._fd: int | None = descriptor
        self._inode = inode
        self._writable = writable

    async def read(self, size: int = -1, offset: int = 0) -> bytes:
        """Returns up to `size` bytes from `offset` (all to the end when negative)."""
        return await self._disk.run(self._read, size, offset)

    async def append(self, data: bytes, *, sync: bool = False) -> None:
        """Adds `data` at the end."""
        await self._disk.run(self._append, bytes(data), sync)

    async def write(self, data: bytes, offset: int) -> None:
        """Overwrites from `offset`."""
        await self._disk.run(self._write, bytes(data), offset)

    async def truncate(self, size: int) -> None:
        """Cuts the file to `size` bytes."""
        await self._disk.run(self._truncate, size)

    async def sync(self) -> None:
        """Makes the file's bytes durable."""
        await self._disk.run(self._sync)

    async def size(self) -> int:
        """Returns the present size."""
        return await self._disk.run(self._size)

    async def close(self) -> None:
        """Closes the file, without syncing it; a second call does nothing."""
        await self._disk.run(self._close)

    # What runs in the disk's thread

    def _open(self, *, to_write: bool = False) -> int:
        if self._fd is None:
            raise ValueError(f'file "{self._path}" is closed')
        if to_write and not self._writable:
            raise _error(errno.EBADF, self._path)
        if to_write and self._disk.full:
            raise _error(errno.ENOSPC, self._path)
        return self._fd

    def _read(self, size: int, offset: int) -> bytes:
        fd = self._open()
        self._disk.unsynced.complete(fd)
        left = os.fstat(fd).st_size - offset if size < 0 else size
        chunks = []
        while left > 0 and (chunk := os.pread(fd, left, offset)):
            chunks.append(chunk)
            offset += len(chunk)
            left -= len(chunk)
        return b"".join(chunks)

    def _append(self, data: bytes, sync: bool) -> None:
        fd = self._open(to_write=True)
        self._disk.unsynced.complete(fd)
        end = os.fstat(fd).st_size
        now = data
        if self._disk.tear and len(data) > 1:
            now = data[: len(data) // 2]
            self._disk.unsynced.keep_back(fd, end + len(now), data[len(now) :])
        _write_all(fd, now, end)
        self._disk.unsynced.note(self._inode, end, end + len(data))
        if sync:
            self._sync()

    def _write(self, data: bytes, offset: int) -> None:
        fd = self._open(to_write=True)
        self._disk.unsynced.complete(fd)
        before = os.pread(fd, len(data), offset)
        _write_all(fd, data, offset)
        over = offset + len(before)
        if before:
            self._disk.unsynced.note(self._inode, offset, over, before)
        if over < offset + len(data):
            self._disk.unsynced.note(self._inode, over, offset + len(data))

    def _truncate(self, size: int) -> None:
        fd = self._open()
        if not self._writable:
            raise _error(errno.EBADF, self._path)
        self._disk.unsynced.complete(fd)
        os.ftruncate(fd, size)

    def _sync(self) -> None:
        fd = self._open()
        self._disk.unsynced.complete(fd)
        if self._disk.sync_fails:
            self._disk.unsynced.lose(fd)
            raise _error(errno.EIO, self._path)
        os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
        self._disk.unsynced.synced(self._inode)

    def _size(self) -> int:
        fd = self._open()
        self._disk.unsynced.complete(fd)
        return os.fstat(fd).st_size

    def _close(self) -> None:
        if self._fd is not None:
            self._disk.unsynced.complete(self._fd)
            os.close(self._fd)
            self._fd = None


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
