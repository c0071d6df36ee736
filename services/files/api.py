"""A shared file system as MapReduce needs it (3.4, 4.5): what GFS was to the paper's.

Two implementations: a folder that all processes share (`services.real.shared_folder`, the real world), and
the replicated file service of this package (the simulated world; it runs in the real one too). `connect`
tells them apart by the address: "folder:/some/path", "host" or "host:port" of a file service's master, or
"package.module:factory" for one of the caller's own (called with the host).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.child import Storage


class FileInfo(Struct, frozen=True):
    """A file: its path, and its size in bytes."""

    path: str
    size: int


class Range(Struct, frozen=True):
    """Part of a file. Size -1: to its end."""

    path: str
    offset: int
    size: int


Positions: TypeAlias = "list[dict[str, int]]"
"""For each of several ranges the hosts that hold some of it, and how many bytes."""


class BeyondView(Exception):
    """Synchronous code read past what its view holds."""


def hidden(name: str) -> bool:
    """Says whether a listing leaves a name out: `_SUCCESS`, `.temporary`."""
    return name.startswith((".", "_"))


class FileSystem(Protocol):
    """Files by path. Every method retries what is worth retrying, and raises OSError when that fails."""

    async def list(self, path: str) -> list[FileInfo]:
        """Returns all files below a folder, or the one file of that name; sorted by path.

        Below the folder, names that begin with "." or "_" are left out, as in Hadoop: `_SUCCESS`, `_logs`.

        Raises:
            FileNotFoundError: there is no such file or folder.
            PermissionError: it cannot be read.
        """
        ...

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        ...

    async def locate(self, ranges: Sequence[Range]) -> Positions:
        """Returns for each range the hosts that hold a replica of some of it, and how many bytes (3.4).

        Empty where every host is as near as any other (a shared folder).
        """
        ...

    async def read(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        """Returns a range of a file; less when the file ends before."""
        ...

    async def write(self, path: str, data: bytes, replicas: int = 0) -> None:
        """Writes a whole file, and the folders it lies in: it is there complete and durable, or not at all.

        Args:
            path: an existing file of that name is replaced.
            data: all of it.
            replicas: how many copies; 0: as the file system does by itself.
        """
        ...

    async def create(self, path: str, exclusive: bool = False) -> None:
        """Makes an empty folder; where folders need none (a flat namespace), claims the name.

        Raises:
            FileExistsError: `exclusive`, and something of that name is there.
        """
        ...

    async def commit(self, source: str, target: str) -> bool:
        """Renames a file unless `target` is there already, atomically: of two, one wins (3.3).

        Returns:
            Whether this call, or an earlier one whose answer was lost, moved `source`.

        Raises:
            FileNotFoundError: neither is there, or the folder of `target` is not: nothing comes back to life.
        """
        ...

    async def remove(self, path: str) -> None:
        """Removes a file or a folder with all in it; nothing there is fine."""
        ...

    async def view(self, ranges: Sequence[Range], tail: int = 1 << 16) -> Storage:
        """Returns the file system as synchronous code in a child sees it (picklable).

        A shared folder is there as it is. Of a remote file system the ranges are read now, each with `tail`
        bytes more (a record may end behind its split); who reads beyond gets `BeyondView`, and must be run
        again on a view with a longer tail. What the code writes is kept in the view until `publish`.
        """
        ...

    async def publish(self, view: Storage, replicas: int = 0) -> None:
        """Writes what code has written to a view that came back from its child; `replicas` as in `write`."""
        ...
