"""A remote file system as synchronous code in a child sees it: parts read before, and a place to write.

The view crosses to the child and back as a pickle. On the way back it leaves behind what was read.
"""

from __future__ import annotations

import errno
import io
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from services.files.api import BeyondView
from services.files.errors import error
from services.files.paths import clean

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Prefetched:
    """Implements `services.child.Storage` in memory.

    Attributes:
        written: files that code has written and closed, by path.
    """

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        self._read = False

    def hold(self, path: str, size: int, parts: dict[int, bytes]) -> None:
        """Takes a file's size, and parts of it by their offsets, which do not overlap."""
        self._sizes[clean(path)] = size
        self._parts[clean(path)] = dict(sorted(parts.items()))

    def __getstate__(self) -> dict[str, Any]:
        """What has been read from has served its purpose."""
        return {**self.__dict__, "_read": False, "_parts": {} if self._read else self._parts}

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Opens a file: to read, what the view holds or code has written; to write, a new one."""
        name = clean(path)
        if mode == "rb" and name not in self.written:
            if name not in self._sizes:
                raise error(errno.ENOENT, path, "Not in the view of this task")
            self._read = True
            size = buffering if buffering > 0 else io.DEFAULT_BUFFER_SIZE
            raw = _Window(path, self._sizes[name], self._parts.get(name, {}))
            return cast("BinaryIO", raw if buffering == 0 else io.BufferedReader(raw, size))
        if mode not in ("rb", "wb", "ab", "xb", "r+b"):
            raise ValueError(f'mode "{mode}" of "{path}" is none of rb, wb, ab, xb, r+b')
        if mode == "xb" and self.exists(path):
            raise error(errno.EEXIST, path)
        if mode == "r+b" and name not in self.written:
            raise error(errno.ENOENT, path)
        if mode == "rb":
            return io.BytesIO(self.written[name])
        return _Sink(self.written, name, mode)

    def rename(self, source: str, target: str) -> None:
        """Renames a file that code has written."""
        self.written[clean(target)] = self._take(source)

    def remove(self, path: str) -> None:
        """Removes a file that code has written."""
        self._take(path)

    def list(self, folder: str = "") -> list[str]:
        """Returns the names in a folder, as far as the view knows."""
        prefix = f"{clean(folder)}/" if clean(folder) else ""
        names = [path for path in (*self._sizes, *self.written) if path.startswith(prefix)]
        return sorted({name.removeprefix(prefix).split("/", 1)[0]: None for name in names})

    def exists(self, path: str) -> bool:
        """Says whether the view knows such a file or folder."""
        name = clean(path)
        return name in self.written or name in self._sizes or bool(self.list(path))

    def size(self, path: str) -> int:
        """Returns a file's size, all of it."""
        name = clean(path)
        if name in self.written:
            return len(self.written[name])
        if name not in self._sizes:
            raise error(errno.ENOENT, path)
        return self._sizes[name]

    def _take(self, path: str) -> bytes:
        if clean(path) not in self.written:
            raise error(errno.ENOENT, path)
        return self.written.pop(clean(path))


class _Window(io.RawIOBase):
    """A file of which parts are there. Reading elsewhere raises `BeyondView`: nothing looks like the end."""

    def __init__(self, path: str, size: int, parts: dict[int, bytes]) -> None:
        self.name = path
        self._size = size
        self._starts = list(parts)
        self._parts = list(parts.values())
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position."""
        base = (0, self._at, self._size)[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        """Reads what is there in one piece."""
        target = memoryview(buffer).cast("B")
        if self._at >= self._size or not target:
            return 0
        index = bisect_right(self._starts, self._at) - 1
        inside = self._at - self._starts[index] if index >= 0 else 0
        if index < 0 or inside >= len(self._parts[index]):
            raise BeyondView(f"{self.name} at {self._at}")
        data = memoryview(self._parts[index])[inside : inside + len(target)]
        target[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Sink(io.BytesIO):
    """A file that is being written; it is in the view once it is closed."""

    def __init__(self, written: dict[str, bytes], path: str, mode: str) -> None:
        super().__init__(written.get(path, b"") if mode in ("ab", "r+b") else b"")
        self._written = written
        self._path = path
        if mode == "ab":
            self.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Keeps what was written."""
        if not self.closed:
            self._written[self._path] = self.getvalue()
        super().close()
