"""A simulated disk as synchronous code in a child sees it: done at once, and put on a bill.

What the code writes is in the page cache at once, with what a crash may do to it; what it costs is added up
in a `Bill`, which the child pays in virtual time before anything of the call comes out.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from sim.world.disk import _error

if TYPE_CHECKING:
    from sim.world.disk import SimDisk
    from sim.world.inode import Inode
    from sim.world.reality.endings import Life

BUFFER = 1 << 17  # bytes; as in the real world. Not left to Python, whose versions differ

_MODES = {"rb": "r", "wb": "w", "ab": "a", "xb": "x", "r+b": "r", "rb+": "r"}


class Bill:
    """What a call owes its host's disk.

    Attributes:
        calls: system calls on names.
        seeks: requests to the device that do not continue one before.
        read: bytes from the device.
        written: bytes to it. (The cache is written back behind the call; that takes the device's time too. It
            makes nothing durable as far as anybody may count on.)
        touched: bytes that went through the call's hands, cached ones included.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.seeks = 0
        self.read = 0
        self.written = 0
        self.touched = 0


class SimStorage:
    """A host's disk; implements `services.child.Storage`.

    Attributes:
        bill: of the call under way.
    """

    def __init__(self, disk: SimDisk, life: Life) -> None:
        self.disk = disk
        self.life = life
        self.bill = Bill()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a host's disk cannot be sent to another process")

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Opens a file; see `services.child.Storage.open`."""
        if mode not in _MODES:
            raise ValueError(f'mode "{mode}" of "{path}" is none of {", ".join(_MODES)}')
        self.bill.calls += 1
        raw = _Raw(self, self.disk.open_now(path, _MODES[mode]), path, mode)
        if buffering == 0:
            return cast("BinaryIO", raw)
        size = BUFFER if buffering < 2 else buffering
        if "+" in mode:
            return cast("BinaryIO", io.BufferedRandom(raw, size))
        return cast(
            "BinaryIO", io.BufferedReader(raw, size) if mode == "rb" else io.BufferedWriter(raw, size)
        )

    def rename(self, source: str, target: str) -> None:
        """Renames a file, replacing `target` atomically."""
        self.bill.calls += 1
        self.disk.rename_now(source, target)

    def remove(self, path: str) -> None:
        """Removes a file."""
        self.bill.calls += 1
        self.disk.remove_now(path)

    def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when there is none)."""
        self.bill.calls += 1
        return self.disk.list_now(folder)

    def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        self.bill.calls += 1
        return self.disk.exists_now(path)

    def size(self, path: str) -> int:
        """Returns a file's size in bytes."""
        self.bill.calls += 1
        return self.disk.size_now(path)


class _Raw(io.RawIOBase):
    """An open file, without a buffer."""

    def __init__(self, storage: SimStorage, inode: Inode, path: str, mode: str) -> None:
        self._storage = storage
        self._inode = inode
        self._path = path
        self._reads = "r" in mode
        self._writes = mode != "rb"
        self._appends = mode == "ab"
        self._at = len(inode.data) if self._appends else 0
        self._continues = -1  # where a request would go on without a seek
        self._fresh = 0  # bytes read from the device without a gap since the beginning
        self._cold = not inode.cached

    def readable(self) -> bool:
        """Says whether it can be read."""
        return self._reads

    def writable(self) -> bool:
        """Says whether it can be written."""
        return self._writes

    def seekable(self) -> bool:
        """Says that one can go anywhere."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to another place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._inode.data)}[whence]
        if base + offset < 0:
            raise OSError(22, os.strerror(22))
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Returns the place."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Reads."""
        if not self._reads:
            raise io.UnsupportedOperation("not readable")
        view = memoryview(buffer).cast("B")
        data = memoryview(self._inode.data)[self._at : self._at + len(view)]
        size = len(data)
        view[:size] = data
        data.release()
        bill = self._storage.bill
        bill.touched += size
        if self._cold and size:
            bill.read += size
            self._request(size)
            if self._fresh == self._at:
                self._fresh += size
                if self._fresh == len(self._inode.data):
                    self._inode.cached = True
        self._at += size
        return size

    def write(self, data: Any, /) -> int:
        """Writes.

        Raises:
            OSError: ENOSPC.
        """
        if not self._writes:
            raise io.UnsupportedOperation("not writable")
        new = bytes(data)
        storage, size = self._storage, len(self._inode.data)
        if storage.life.ended is not None:  # what its buffers still hold is lost
            return len(new)
        if self._appends:
            self._at = size
        storage.disk._grow(max(0, self._at + len(new) - size), self._path)
        self._inode.write(new, self._at)
        storage.bill.touched += len(new)
        storage.bill.written += len(new)
        self._request(len(new))
        self._at += len(new)
        return len(new)

    def truncate(self, size: int | None = None, /) -> int:
        """Cuts the file, or fills it up with zeros."""
        size = self._at if size is None else size
        if not self._writes:
            raise _error(22, self._path)
        if self._storage.life.ended is None:
            self._storage.disk._grow(max(0, size - len(self._inode.data)), self._path)
            self._inode.truncate(size)
            self._storage.bill.calls += 1
        return size

    def _request(self, size: int) -> None:
        if self._continues != self._at:
            self._storage.bill.seeks += 1
        self._continues = self._at + size
