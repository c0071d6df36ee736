"""The file server: program `serve(host)`.

The namespace is a table of full path names, as GFS's is: every file lies in one folder of the disk,
under its path with "/" escaped. A write goes to a temporary file, is synced and renamed, and the folder is
synced; so a file is there whole or not at all, also after a crash.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import grpc

from protos import files_pb2 as pb
from protos import files_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Context, Disk, Host

CHUNK = 256 * 1024  # bytes a message of a Read

_FOLDER = "files"
_TEMPORARY = "%temporary"  # no path is escaped to a name that begins so


class Files(rpc.FilesServicer):
    """Serves the files below `files/` on the host's disk."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._disk: Disk = host.disk
        self._temporary = (f"{_FOLDER}/{_TEMPORARY}-{host.incarnation}-{n}" for n in itertools.count())

    async def List(self, request: pb.Path, context: Context) -> pb.Stats:
        """All files below a folder, or the one file of that name."""
        folder = _clean(request.path)
        stats = []
        for name in await self._disk.list(_FOLDER):
            path = unquote(name)
            inside = not folder or path == folder or path.startswith(folder + "/")
            if inside and not name.startswith(_TEMPORARY):
                file = await self._disk.open(f"{_FOLDER}/{name}")
                stats.append(pb.Stat(path=path, size=await file.size()))
                await file.close()
        return pb.Stats(files=sorted(stats, key=lambda stat: stat.path))

    async def Read(self, request: pb.Range, context: Context) -> AsyncIterator[pb.Chunk]:
        """Streams a range of a file."""
        try:
            file = await self._disk.open(_stored(_clean(request.path)))
        except FileNotFoundError:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no such file: {request.path}")
        try:
            offset = request.offset
            end = await file.size() if request.size < 0 else min(await file.size(), offset + request.size)
            while offset < end:
                data = await file.read(min(CHUNK, end - offset), offset)
                offset += len(data)
                yield pb.Chunk(data=data)
        finally:
            await file.close()

    async def Write(self, request: AsyncIterator[pb.Chunk], context: Context) -> pb.Stat:
        """Writes a whole file."""
        temporary = next(self._temporary)
        path = ""
        size = 0
        file = await self._disk.open(temporary, "w")
        try:
            async for chunk in request:
                path = path or _clean(chunk.path)
                await file.append(chunk.data)
                size += len(chunk.data)
            await file.sync()
        finally:
            await file.close()
        if not path:
            await self._disk.remove(temporary)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first chunk must name the file")
        await self._move(temporary, _stored(path))
        return pb.Stat(path=path, size=size)

    async def Rename(self, request: pb.Move, context: Context) -> pb.Done:
        """Moves a file, atomically; done twice it is done once."""
        source, target = _stored(_clean(request.source)), _stored(_clean(request.target))
        try:
            await self._move(source, target)
        except FileNotFoundError:
            if not await self._disk.exists(target):
                await context.abort(grpc.StatusCode.NOT_FOUND, f"no such file: {request.source}")
        return pb.Done()

    async def _move(self, source: str, target: str) -> None:
        await self._disk.rename(source, target)
        await self._disk.sync(_FOLDER)


def _stored(path: str) -> str:
    return f"{_FOLDER}/{quote(path, safe='')}"


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))


async def serve(host: Host) -> None:
    """Serves files until cancelled."""
    server = host.serve()
    rpc.add_FilesServicer_to_server(Files(host), server)
    await server.start()
    await server.wait_for_termination()
