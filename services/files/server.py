"""The file server: program `serve(host)`.

A write goes to a temporary file, is synced and renamed, and the folder is synced; so a file is
there whole or not at all, also after a crash.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import grpc

from protos import files_pb2 as pb
from protos import files_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Context, Disk, Host

CHUNK = 256 * 1024  # bytes a message of a Read


class Files(rpc.FilesServicer):
    """Serves the files below `files/` on the host's disk."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._disk: Disk = host.disk
        self._temporary = (f"temporary/{host.incarnation}-{n}" for n in itertools.count())

    async def List(self, request: pb.Path, context: Context) -> pb.Stats:
        """All files below a folder, or the one file of that name."""
        return pb.Stats(files=[stat async for stat in self._walk(_clean(request.path))])

    async def _walk(self, path: str) -> AsyncIterator[pb.Stat]:
        names = await self._disk.list(_stored(path))
        if names:
            for name in names:
                async for stat in self._walk(f"{path}/{name}".strip("/")):
                    yield stat
        elif path and await self._disk.exists(_stored(path)):
            try:
                file = await self._disk.open(_stored(path))
            except IsADirectoryError:
                return
            yield pb.Stat(path=path, size=await file.size())
            await file.close()

    async def Read(self, request: pb.Range, context: Context) -> AsyncIterator[pb.Chunk]:
        """Streams a range of a file."""
        try:
            file = await self._disk.open(_stored(_clean(request.path)))
        except (FileNotFoundError, IsADirectoryError):
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
        await self._disk.sync(target.rpartition("/")[0])


def _stored(path: str) -> str:
    return f"files/{path}".rstrip("/")


def _clean(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(part for part in parts if part != "..")


async def serve(host: Host) -> None:
    """Serves files until cancelled."""
    server = host.serve()
    rpc.add_FilesServicer_to_server(Files(host), server)
    await server.start()
    await server.wait_for_termination()
