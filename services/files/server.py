"""A file service on a single host, master and chunkserver at once: program `serve`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.files import chunkserver, master

if TYPE_CHECKING:
    from services.host import Host


async def serve(host: Host, *, chunk_bytes: int = master.CHUNK_BYTES, replicas: int = 1) -> None:
    """Runs both until cancelled; other chunkservers may join.

    Args:
        host: where; its disk keeps everything.
        chunk_bytes, replicas: of files.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(master.serve(host, chunk_bytes=chunk_bytes, replicas=replicas))
        tasks.create_task(chunkserver.serve(host, master=host.name))
