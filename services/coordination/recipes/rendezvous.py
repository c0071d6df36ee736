"""Rendezvous (2.4): a znode where those meet who cannot know beforehand where they will run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.api import CreateMode
from services.coordination.client import NodeExists, NoNode, retry
from services.coordination.recipes.recoverable import ensure, watched

if TYPE_CHECKING:
    from services.coordination.client import Client


class Rendezvous:
    """A meeting place. Its path is what master and workers are started with.

    Args:
        client: by which.
        path: of the znode.
    """

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path

    async def open(self, *, ephemeral: bool = False) -> None:
        """Creates the place, empty. If `ephemeral`, it closes with this client's session."""
        mode = CreateMode.EPHEMERAL if ephemeral else CreateMode.PERSISTENT
        while True:
            try:
                await retry(self._client.create, self._path, mode=mode)
                return
            except NodeExists:
                return
            except NoNode:
                await ensure(self._client, self._path.rpartition("/")[0])

    async def fill(self, data: bytes) -> None:
        """Says where to be found (the master does), in any bytes but none.

        Raises:
            ValueError: no bytes, which is how the place looks before.
            NoNode: the place is not open.
        """
        if not data:
            raise ValueError("an empty rendezvous is one that nobody has come to")
        await retry(self._client.set, self._path, data)

    async def meet(self) -> bytes:
        """Waits until the place is filled, and returns with what (the workers do)."""
        while True:
            try:
                (data, _), changed = await watched(self._client.get, self._path)
                if data:
                    self._client.forget(changed)
                    return data  # type: ignore[no-any-return]
            except NoNode:
                stat, changed = await watched(self._client.exists, self._path)
                if stat is not None:
                    self._client.forget(changed)
                    continue
            await changed

    async def closed(self) -> None:
        """Returns when the place is no more: it is time to clean up and to end."""
        while True:
            try:
                _, changed = await watched(self._client.get, self._path)
            except NoNode:
                return
            await changed
