"""A chunkserver beside another program on one host, so that files are local to it (3.4): program `serve`."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any

from services.files import chunkserver

if TYPE_CHECKING:
    from services.host import Host


async def serve(
    host: Host,
    *,
    neighbour: str,
    parameters: dict[str, Any] | None = None,
    master: str = "files",
    rack: str = "",
) -> None:
    """Runs a program, and a chunkserver as long as it runs.

    Args:
        host: where.
        neighbour: "package.module:name" of the other program.
        parameters: of the other program.
        master, rack: of the chunkserver.
    """
    module, _, name = neighbour.partition(":")
    other = getattr(importlib.import_module(module), name)
    chunks = asyncio.ensure_future(chunkserver.serve(host, master=master, rack=rack))
    work = asyncio.ensure_future(other(host, **(parameters or {})))
    try:
        await asyncio.wait([chunks, work], return_when=asyncio.FIRST_COMPLETED)
        for ended in (chunks, work):
            if ended.done():
                ended.result()
    finally:
        chunks.cancel()
        work.cancel()
