"""A host that belongs to no cluster: a service under an operator's own configuration, at given addresses.

It is a `RealHost` but for three things. Names are real network addresses: `connect("10.0.0.2:2888")` goes
there. Its disk has a folder on each of several real ones, so that a log can have a device of its own. And
nothing is recorded. The door's rules are never set, so it costs what a door without rules costs.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Any, cast

from services.host import DEFAULT_PORT
from services.real import plain
from services.real.disk import FolderDisk
from services.real.host import RealHost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import grpc

    from services.host import Disk, File
    from services.real.names import Names


class Addresses:
    """Names that are network addresses already (in the place of `services.real.names.Names`).

    Args:
        name: of the host itself.
        listen: the network address that it serves at.
    """

    def __init__(self, name: str, listen: str) -> None:
        self._name = name
        self._listen = listen

    def resolve(self, name: str, port: int) -> str:
        """Returns "address:port"."""
        address = self._listen if name == self._name else name
        return f"[{address}]:{port}" if ":" in address and address[0] != "[" else f"{address}:{port}"


class JoinedDisk:
    """Several disks as one: the first step of a path says which. Each has a thread of its own.

    Args:
        parts: the disks, by folder.
    """

    def __init__(self, parts: Mapping[str, FolderDisk]) -> None:
        self._parts = dict(parts)

    def _find(self, path: str) -> tuple[FolderDisk, str]:
        first, _, rest = path.strip("/").partition("/")
        try:
            return self._parts[first], rest
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    async def open(self, path: str, mode: str = "r") -> File:
        """Opens a file; see `services.host.Disk.open`."""
        disk, rest = self._find(path)
        try:
            return await disk.open(rest, mode)
        except OSError as exc:
            exc.filename = path  # as it was asked for: each disk knows only the rest
            raise

    async def rename(self, source: str, target: str) -> None:
        """Renames a file within its disk.

        Raises:
            OSError: EXDEV: the target is on another one.
        """
        disk, old = self._find(source)
        other, new = self._find(target)
        if disk is not other:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        await disk.rename(old, new)

    async def remove(self, path: str) -> None:
        """Removes a file."""
        disk, rest = self._find(path)
        await disk.remove(rest)

    async def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when it does not exist)."""
        if not folder.strip("/"):
            return sorted(self._parts)
        try:
            disk, rest = self._find(folder)
        except FileNotFoundError:
            return []
        return await disk.list(rest)

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        try:
            disk, rest = self._find(path)
        except FileNotFoundError:
            return False
        return await disk.exists(rest)

    async def sync(self, folder: str = "") -> None:
        """Makes the entries of a folder durable."""
        if folder.strip("/"):
            disk, rest = self._find(folder)
            await disk.sync(rest)
        else:
            await asyncio.gather(*(part.sync() for part in self._parts.values()))


class StandaloneHost(RealHost):
    """Implements `services.host.Host` outside of any cluster.

    Args:
        name: of the host.
        folder: has the disk's folder "data" in it.
        more: have the disk's other folders in them, by name.
        token: what peers prove with that they belong together.
        listen: the network address to serve on.
        plain: calls are those of `plain.py`: streams only, and to hosts that are `plain` too.

    Raises:
        OSError: a folder cannot be made.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        more: Mapping[str, Path],
        token: str,
        *,
        listen: str,
        plain: bool = False,
    ) -> None:
        self._plain = plain
        names = cast("Names", Addresses(name, listen))
        super().__init__(name, folder, names, token, listen=listen, record=False)
        self._more = {
            name: FolderDisk(path / name, path / f"lost-{name}.json") for name, path in more.items()
        }
        self._joined = JoinedDisk({"data": self._disk, **self._more})

    @property
    def disk(self) -> Disk:
        """The host's folders."""
        return self._joined

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.Channel:
        """Opens a channel to "address:port"."""
        address, _, port = target.rpartition(":")
        where = self.names.resolve(address, int(port))
        if self._plain:
            return cast("grpc.aio.Channel", plain.Channel(where, self.name, self.token))
        from services.real.channel import Channel

        return cast("grpc.aio.Channel", Channel(self, address, where, options, interceptors, compression))

    def serve(
        self,
        port: int = DEFAULT_PORT,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
    ) -> grpc.aio.Server:
        """Returns a server at that port of the machine, not yet started."""
        if self._plain:
            return cast("grpc.aio.Server", plain.Server(self._listen, port, self.token))
        return super().serve(
            port,
            options=options,
            interceptors=interceptors,
            maximum_concurrent_rpcs=maximum_concurrent_rpcs,
        )

    def close(self) -> None:
        """Ends what it runs, and closes the disks."""
        super().close()
        for part in self._more.values():
            part.close()
