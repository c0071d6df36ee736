"""`FolderStorage`: a folder as synchronous code sees it, with what faults do to a host's disk.

A child of a real host has one over the host's own folder, under the rules of the host's disk, which it looks
at in shared memory at each operation; a local engine and a shared folder have one without rules, which
costs nothing above the builtin `open`.
"""

from __future__ import annotations

import errno
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.real.shared import DiskRules

BUFFER = 1 << 17  # bytes; the builtin's 8 KiB would mean 16 times the system calls

_MODES = {"rb": "r", "wb": "w", "ab": "a", "xb": "x", "r+b": "r+", "rb+": "r+"}


class FolderStorage:
    """A folder; implements `services.child.Storage`.

    Args:
        root: the folder. Paths cannot lead out of it, except by links that lie in it.
        rules: what faults do to it.

    Attributes:
        written: what was written under rules, in order, for the host's books of what is not durable:
            (inode, start, end); an end of -1 for a file that was emptied or removed.
    """

    def __init__(self, root: str, rules: DiskRules | None = None) -> None:
        self._root = os.path.realpath(root)
        self._rules = rules
        self.written: list[tuple[int, int, int]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderStorage, (self._root,)

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Opens a file as the builtin does, with a larger buffer; see `services.child.Storage.open`."""
        if mode not in _MODES:
            raise ValueError(f'mode "{mode}" of "{path}" is none of {", ".join(_MODES)}')
        if buffering < 0 or buffering == 1:  # lines are for text
            buffering = BUFFER
        real = self.path(path)
        start = time.perf_counter()
        try:
            return self._open(real, path, _MODES[mode], buffering)
        except OSError as exc:
            raise _naming(exc, path) from None
        finally:
            self._stretch(start)

    def _open(self, real: str, path: str, mode: str, buffering: int) -> BinaryIO:
        if mode not in ("r", "r+"):
            if self._rules is not None and self._rules.full and not os.path.exists(real):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            _make_parent(real)
        if self._rules is None:
            return cast("BinaryIO", open(real, mode + "b", buffering))
        raw = RuledFile(real, mode, self._rules, self.written)
        if buffering == 0:
            return cast("BinaryIO", raw)
        if mode == "r+":
            return cast("BinaryIO", io.BufferedRandom(raw, buffering))
        if mode == "r":
            return cast("BinaryIO", io.BufferedReader(raw, buffering))
        return cast("BinaryIO", io.BufferedWriter(raw, buffering))

    def rename(self, source: str, target: str) -> None:
        """Renames a file, replacing `target` atomically."""
        self._run(os.replace, source, self.path(source), self.path(target))

    def remove(self, path: str) -> None:
        """Removes a file."""
        real = self.path(path)
        if self._rules is not None:
            self._run(lambda: self.written.append((os.lstat(real).st_ino, 0, -1)), path)
        self._run(os.unlink, path, real)

    def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when there is none)."""
        try:
            names: list[str] = self._run(os.listdir, folder, self.path(folder))
        except FileNotFoundError:
            return []
        return sorted(names)

    def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        found: bool = self._run(os.path.exists, path, self.path(path))
        return found

    def size(self, path: str) -> int:
        """Returns a file's size in bytes."""
        size: int = self._run(os.path.getsize, path, self.path(path))
        return size

    def path(self, path: str) -> str:
        """Returns where a path really is.

        Raises:
            ValueError: that would be outside of the folder.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in path:
            raise ValueError(f'path "{path}" leads out of the folder')
        return os.path.join(self._root, *parts)

    def _run(self, operation: Callable[..., Any], named: str, *paths: str) -> Any:
        start = time.perf_counter()
        try:
            return operation(*paths)
        except OSError as exc:
            raise _naming(exc, named) from None
        finally:
            self._stretch(start)

    def _stretch(self, start: float) -> None:
        if self._rules is not None:
            stretch(self._rules, start)


class RuledFile(io.FileIO):
    """A file under the rules of a host's disk."""

    def __init__(self, real: str, mode: str, rules: DiskRules, written: list[tuple[int, int, int]]) -> None:
        super().__init__(real, mode)
        self._rules = rules
        self._written = written
        self._inode = os.fstat(self.fileno()).st_ino
        self._end = -1 if mode == "a" else 0  # where the next write is expected; -1: at the end of the file
        self._appends = mode == "a"
        self._tail: tuple[int, bytes] | None = None  # kept back by a torn append
        if mode == "w":
            written.append((self._inode, 0, -1))

    def write(self, data: Any, /) -> int:
        """Writes, unless the disk is full."""
        rules = self._rules
        if rules.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        start = time.perf_counter()
        self._complete()
        at = os.fstat(self.fileno()).st_size if self._appends else self.tell()
        view = memoryview(data).cast("B")
        if rules.tear and len(view) > 1 and at >= os.fstat(self.fileno()).st_size:
            count = super().write(view[: len(view) // 2]) or 0
            self._tail = (at + count, bytes(view[count:]))
            self.seek(at + len(view))
            count = len(view)
        else:
            count = super().write(view) or 0
        self._note(at, at + count)
        stretch(rules, start)
        return count

    def readinto(self, buffer: Any, /) -> int | None:
        """Reads."""
        if self._tail is None and self._rules.slow == 1.0:
            return super().readinto(buffer)
        return self._read(super().readinto, buffer)  # type: ignore[no-any-return]

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]
        """Reads."""
        return self._read(super().read, -1 if size is None else size)  # type: ignore[no-any-return]

    def readall(self) -> bytes:
        """Reads to the end."""
        return self._read(super().readall)  # type: ignore[no-any-return]

    def truncate(self, size: int | None = None, /) -> int:
        """Cuts the file."""
        self._complete()
        return super().truncate(size)

    def close(self) -> None:
        """Closes."""
        if not self.closed:
            self._complete()
        super().close()

    def _read(self, how: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        self._complete()
        try:
            return how(*args)
        finally:
            stretch(self._rules, start)

    def _complete(self) -> None:
        tail, self._tail = getattr(self, "_tail", None), None
        if tail is not None:
            os.pwrite(self.fileno(), tail[1], tail[0])

    def _note(self, start: int, end: int) -> None:
        written = self._written
        if written and written[-1][0] == self._inode and written[-1][2] == start:
            written[-1] = (self._inode, written[-1][1], end)
        else:
            written.append((self._inode, start, end))


def stretch(rules: DiskRules, start: float) -> None:
    """Waits as long as an operation that began at `start` would have taken longer on a slow disk."""
    slow = rules.slow
    if slow > 1.0:
        time.sleep((time.perf_counter() - start) * (slow - 1.0))


def _make_parent(real: str) -> None:
    try:
        Path(real).parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def _naming(error: OSError, path: str) -> OSError:
    """Returns the error with the path by the name that the caller knows."""
    number = error.errno or errno.EIO
    return OSError(number, os.strerror(number), path)
