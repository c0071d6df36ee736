"""The rules of the namespace, without I/O: what there is, and what each change does to it.

A tree of folders and files; a file is a sequence of chunks that never changes. Changes are data (they go into
the journal), and applying one is deterministic: a master that applies the same changes in the same order to
the same checkpoint has the same namespace. A change that has been done is remembered by its token for a
while, so that one that comes twice, because its answer was lost, has its effect once and gives the same
answer.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from services.files.api import FileInfo, hidden
from services.files.errors import error
from services.files.paths import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

REMEMBERED = 20_000
"""Changes whose tokens are kept. A client gives up after a minute; this many changes take a master longer."""


class ChunkEntry(Struct, frozen=True, array_like=True):
    """A chunk of a file, and how many replicas it is to have."""

    id: int
    size: int
    replicas: int


class FileEntry(Struct, frozen=True, array_like=True):
    """A file. `origin`: the name that it was committed from."""

    chunks: tuple[ChunkEntry, ...]
    origin: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(chunk.size for chunk in self.chunks)


class Put(Struct, frozen=True, tag="put", array_like=True):
    """A new file, whose chunks are written; replaces one of the same name."""

    token: int
    path: str
    chunks: tuple[ChunkEntry, ...]


class Create(Struct, frozen=True, tag="create", array_like=True):
    """A new folder."""

    token: int
    path: str
    exclusive: bool


class Commit(Struct, frozen=True, tag="commit", array_like=True):
    """A file gets its final name, unless that is taken."""

    token: int
    source: str
    target: str


class Remove(Struct, frozen=True, tag="remove", array_like=True):
    """A file, or a folder with all in it, goes."""

    token: int
    path: str


Change: TypeAlias = Put | Create | Commit | Remove
Folder: TypeAlias = "dict[str, FileEntry | Folder]"


class Snapshot(Struct, array_like=True):
    """A namespace at rest."""

    files: list[tuple[str, FileEntry]]
    folders: list[str]
    done: list[tuple[int, bool]]


_changes: msgspec.msgpack.Decoder[Change] = msgspec.msgpack.Decoder(Change)
_snapshots = msgspec.msgpack.Decoder(Snapshot)
_encoder = msgspec.msgpack.Encoder()


class Namespace:
    """Files and folders.

    Attributes:
        chunks: all chunks of all files, by id.
        freed: chunks that files no longer have, since somebody last took them out of this list.
    """

    def __init__(self, snapshot: bytes = b"") -> None:
        self.chunks: dict[int, ChunkEntry] = {}
        self.freed: list[int] = []
        self._root: Folder = {}
        self._done: dict[int, bool] = {}
        if snapshot:
            state = _snapshots.decode(snapshot)
            for path in state.folders:
                self._make_folder(path)
            for path, file in state.files:
                folder, name = self._place(path, make=True)
                folder[name] = file
                self._keep(file)
            self._done = dict(state.done)

    def snapshot(self) -> bytes:
        """Returns all that there is, for a checkpoint."""
        files: list[tuple[str, FileEntry]] = []
        folders: list[str] = []

        def walk(folder: Folder, prefix: str) -> None:
            for name, entry in folder.items():
                if isinstance(entry, FileEntry):
                    files.append((prefix + name, entry))
                else:
                    folders.append(prefix + name)
                    walk(entry, f"{prefix}{name}/")

        walk(self._root, "")
        return _encoder.encode(Snapshot(files, folders, list(self._done.items())))

    # What there is

    def find(self, path: str) -> FileEntry | Folder | None:
        """Returns the file or folder of that name, None when there is none."""
        entry: FileEntry | Folder | None = self._root
        for name in parts(path):
            if not isinstance(entry, dict):
                return None
            entry = entry.get(name)
        return entry

    def file(self, path: str) -> FileEntry:
        """Returns a file.

        Raises:
            FileNotFoundError, IsADirectoryError.
        """
        entry = self.find(path)
        if entry is None:
            raise error(errno.ENOENT, path)
        if isinstance(entry, dict):
            raise error(errno.EISDIR, path)
        return entry

    def list(self, path: str) -> list[FileInfo]:
        """Returns all files below a folder but hidden ones, or the one file of that name; sorted by path.

        Raises:
            FileNotFoundError: there is neither.
        """
        entry = self.find(path)
        if entry is None:
            raise error(errno.ENOENT, path)
        name = "/".join(parts(path))
        if isinstance(entry, FileEntry):
            return [FileInfo(name, entry.size)]
        found = [FileInfo(below, file.size) for below, file in _walk(entry, f"{name}/" if name else "")]
        return sorted(found, key=lambda info: info.path)

    # Changes

    @staticmethod
    def encode(change: Change) -> bytes:
        """Returns a change for the journal."""
        return _encoder.encode(change)

    @staticmethod
    def decode(record: bytes) -> Change:
        """Returns a change from the journal."""
        return _changes.decode(record)

    def done(self, token: int) -> bool | None:
        """Returns the answer that a change has had, None when it has not been done (or too long ago)."""
        return self._done.get(token)

    def apply(self, change: Change) -> bool:
        """Carries out a change; of a commit returns whether it has moved the file.

        Raises:
            OSError: it cannot be, and nothing has changed.
        """
        if isinstance(change, Put):
            answer = self._put(change)
        elif isinstance(change, Create):
            answer = self._create(change)
        elif isinstance(change, Commit):
            answer = self._commit(change)
        else:
            answer = self._remove(change)
        self._done[change.token] = answer
        if len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]
        return answer

    def _put(self, change: Put) -> bool:
        folder, name = self._place(change.path, make=True)
        old = folder.get(name)
        if isinstance(old, dict):
            raise error(errno.EISDIR, change.path)
        file = FileEntry(change.chunks)
        folder[name] = file
        self._keep(file)
        if old is not None:
            self._free(old)
        return True

    def _create(self, change: Create) -> bool:
        entry = self.find(change.path)
        if isinstance(entry, FileEntry) or (entry is not None and change.exclusive):
            raise error(errno.EEXIST, change.path)
        self._make_folder(change.path)
        return True

    def _commit(self, change: Commit) -> bool:
        entry = self.find(change.target)
        if isinstance(entry, dict):
            raise error(errno.EISDIR, change.target)
        source = "/".join(parts(change.source))
        if entry is not None:
            return entry.origin == source
        file = self.file(change.source)
        folder, name = self._place(change.target, make=False)
        old_folder, old_name = self._place(change.source, make=False)
        del old_folder[old_name]
        folder[name] = FileEntry(file.chunks, source)
        return True

    def _remove(self, change: Remove) -> bool:
        entry = self.find(change.path)
        if entry is None:
            return False
        if entry is self._root:
            raise error(errno.EISDIR, change.path or "/")
        folder, name = self._place(change.path, make=False)
        del folder[name]
        if isinstance(entry, FileEntry):
            self._free(entry)
        else:
            for _, file in _walk(entry, "", every=True):
                self._free(file)
        return True

    def _place(self, path: str, *, make: bool) -> tuple[Folder, str]:
        """Returns the folder that a path lies in, and its name there.

        Raises:
            FileNotFoundError: there is no such folder, and none is to be made.
            NotADirectoryError: a file is in the way.
            IsADirectoryError: the path is the root.
        """
        names = parts(path)
        if not names:
            raise error(errno.EISDIR, path)
        folder = self._root
        for depth, name in enumerate(names[:-1], start=1):
            entry = folder.get(name)
            if isinstance(entry, FileEntry):
                raise error(errno.ENOTDIR, "/".join(names[:depth]))
            if entry is None:
                if not make:
                    raise error(errno.ENOENT, "/".join(names[:-1]))
                return self._make_folder("/".join(names[:-1])), names[-1]
            folder = entry
        return folder, names[-1]

    def _make_folder(self, path: str) -> Folder:
        names = parts(path)
        folder = self._root
        for name in names:  # first look, then change: a refused change changes nothing
            entry = folder.get(name)
            if isinstance(entry, FileEntry):
                raise error(errno.ENOTDIR, path)
            if entry is None:
                break
            folder = entry
        folder = self._root
        for name in names:
            below = folder.setdefault(name, {})
            assert isinstance(below, dict)
            folder = below
        return folder

    def _keep(self, file: FileEntry) -> None:
        for chunk in file.chunks:
            self.chunks[chunk.id] = chunk

    def _free(self, file: FileEntry) -> None:
        for chunk in file.chunks:
            del self.chunks[chunk.id]
            self.freed.append(chunk.id)


def _walk(folder: Folder, prefix: str, *, every: bool = False) -> Iterator[tuple[str, FileEntry]]:
    for name, entry in folder.items():
        if not every and hidden(name):
            continue
        if isinstance(entry, FileEntry):
            yield prefix + name, entry
        else:
            yield from _walk(entry, f"{prefix}{name}/", every=every)
