"""A folder that all processes share, as MapReduce's file system: the real world's `FileSystem`.

What the kernel promises is what this rests on: `rename` and `link` are atomic, `mkdir` and `link` refuse a
name that is taken, and a file that was flushed (`fsync`), in a folder that was flushed, outlives a power
failure. Every operation runs in a thread, so that the loop never waits for the device.

All hosts are as near to the folder as any other; so `locate` has nothing to say, and a child of a worker sees
the folder itself (`FolderStorage`), not a copy.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from services.files.api import FileInfo, hidden
from services.real.storage import FolderStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.child import Storage
    from services.files.api import Positions, Range

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_REMOVALS = 5  # attempts to remove a folder into which others still write


class SharedFolder:
    """A folder of this machine (or of a network file system); implements `services.files.api.FileSystem`.

    Args:
        root: what paths are relative to. With "/" they are the machine's own absolute paths.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = Path(root).resolve()

    async def list(self, path: str) -> list[FileInfo]:
        """Returns all files below a folder, or the one file of that name; links are followed."""
        return [*await asyncio.to_thread(self._list, path)]

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        return await asyncio.to_thread(os.path.exists, self._real(path))

    async def locate(self, ranges: Sequence[Range]) -> Positions:
        """Says that every host is as near as any other."""
        return [{} for _ in ranges]

    async def read(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        """Returns a range of a file."""
        return await asyncio.to_thread(self._read, path, offset, size)

    async def write(self, path: str, data: bytes, replicas: int = 0) -> None:
        """Writes a whole file, which is durable then; how many copies there are is the folder's affair."""
        await asyncio.to_thread(self._write, path, data)

    async def create(self, path: str, exclusive: bool = False) -> None:
        """Makes an empty folder, and those that it lies in."""
        await asyncio.to_thread(self._create, path, exclusive)

    async def commit(self, source: str, target: str) -> bool:
        """Moves a file to its final name unless that is taken; its bytes are durable then.

        When `source` is gone and `target` is there, an earlier call is taken to have moved it.
        """
        return await asyncio.to_thread(self._commit, source, target)

    async def remove(self, path: str) -> None:
        """Removes a file or a folder with all in it."""
        await asyncio.to_thread(self._remove, path)

    async def view(self, ranges: Sequence[Range], tail: int = 1 << 16) -> Storage:
        """Returns the folder as a child sees it: as it is."""
        return FolderStorage(str(self._root))

    async def publish(self, view: Storage, replicas: int = 0) -> None:
        """Does nothing: what a child writes is in the folder at once; `commit` flushes it."""

    # What runs in a thread

    def _real(self, path: str) -> Path:
        real = self._root.joinpath(path.lstrip("/"))
        if "\0" in path or (".." in real.parts and not real.resolve().is_relative_to(self._root)):
            raise PermissionError(errno.EACCES, "leads out of the shared folder", path)
        return real

    def _list(self, path: str) -> Sequence[FileInfo]:
        real = self._real(path)
        try:
            if not real.is_dir():
                return [self._info(real, path)]
            found = [
                self._info(file, f"{path.rstrip('/')}/{name}".removeprefix("" if path else "/"))
                for name, file in self._walk(real, (), "")
            ]
        except OSError as exc:
            raise _naming(exc, path) from None
        return sorted(found, key=lambda info: info.path)

    def _walk(
        self, folder: Path, inside: tuple[tuple[int, int], ...], prefix: str
    ) -> Iterator[tuple[str, Path]]:
        """Yields all files below a folder; `inside`: the folders it lies in, for links that go round."""
        about = folder.stat()
        if (about.st_dev, about.st_ino) in inside:
            return
        inside = (*inside, (about.st_dev, about.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if hidden(entry.name):
                    continue
                if entry.is_dir():
                    yield from self._walk(Path(entry.path), inside, f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}", Path(entry.path)

    def _info(self, real: Path, path: str) -> FileInfo:
        size = real.stat().st_size
        if not os.access(real, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(real))
        return FileInfo(path, size)

    def _read(self, path: str, offset: int, size: int) -> bytes:
        try:
            with self._real(path).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as exc:
            raise _naming(exc, path) from None

    def _write(self, path: str, data: bytes) -> None:
        real = self._real(path)
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
            draft = real.with_name(f".{real.name}.{secrets.token_hex(8)}")
            try:
                with draft.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(real)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            _flush(real.parent)
        except OSError as exc:
            raise _naming(exc, path) from None

    def _create(self, path: str, exclusive: bool) -> None:
        real = self._real(path)
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
            real.mkdir(exist_ok=not exclusive)
            _flush(real.parent)
        except OSError as exc:
            raise _naming(exc, path) from None

    def _commit(self, source: str, target: str) -> bool:
        this, final = self._real(source), self._real(target)
        try:
            if not this.exists() and final.exists():
                return True
            if final.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
            _flush(this)
            try:
                os.link(this, final)
            except FileExistsError:
                if not final.samefile(this):
                    return False  # else an earlier call was cut off before it could remove the old name
            except OSError as exc:
                if exc.errno not in _NO_LINKS:
                    raise
                return _move_alone(this, final)
            _flush(final.parent)
            this.unlink(missing_ok=True)
        except OSError as exc:
            raise _naming(exc, source) from None
        return True

    def _remove(self, path: str) -> None:
        real = self._real(path)
        if real == self._root:
            raise PermissionError(errno.EACCES, "is the shared folder itself", path)
        for attempt in range(_REMOVALS):
            try:
                if real.is_dir() and not real.is_symlink():
                    shutil.rmtree(real)
                else:
                    real.unlink()
            except FileNotFoundError:
                if not os.path.lexists(real):
                    return  # somebody else removed it, or it was never there
            except OSError as exc:
                if exc.errno != errno.ENOTEMPTY or attempt == _REMOVALS - 1:
                    raise _naming(exc, path) from None
            else:
                return


def _move_alone(source: Path, target: Path) -> bool:
    """Commits on a file system that has no hard links: whoever holds the folder's lock looks and moves."""
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # ends with this process at the latest
        if target.exists():
            return not source.exists()
        source.rename(target)
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _flush(path: Path) -> None:
    """Makes a file's bytes or a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _naming(error: OSError, path: str) -> OSError:
    """Returns the error with the path that it is about, by the name that the caller knows."""
    number = error.errno or errno.EIO
    return OSError(number, error.strerror or os.strerror(number), error.filename or path)
