"""A server that first tells what it finds on its disk: a program, which knows nothing of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.coordination.server import serve
from services.coordination.state.snapshot import Restoration
from services.coordination.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.host import Host


async def look_and_serve(host: Host, *, server: int, look_at: Sequence[str], **parameters: Any) -> None:
    """Notes what the newest snapshot has at some paths, and then is a server, as `serve`.

    Args:
        host: its door.
        server: its id.
        look_at: the paths.
        parameters: what `serve` takes.
    """
    storage = await Storage.open(host.disk, host.rng, "", server)
    if storage.snapshot is not None:
        restoration = Restoration()
        async for piece in storage.pieces():
            restoration.add(piece)
        tree = restoration.finish()
        found = {}
        for path in look_at:
            znode = tree.lookup(path)
            if znode is not None:
                found[path] = [(znode.data or b"").decode(), znode.version]
        host.trace("in the snapshot", zxid=storage.snapshot.zxid, found=found, log_to=storage.last)
    await storage.close()
    await serve(host, server=server, **parameters)
