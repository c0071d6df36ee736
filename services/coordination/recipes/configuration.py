"""Configuration management (2.4): a znode, read again whenever it changes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from services.coordination.client import BadVersion, NodeExists, NoNode, retry
from services.coordination.recipes.recoverable import ensure, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from services.coordination.client import Client


class Configuration:
    """A configuration in one znode.

    Args:
        client: by which.
        path: of the znode.
    """

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path

    async def follow(self) -> AsyncIterator[bytes]:
        """Yields the configuration and each newer one, once there is one.

        Those in between may be left out; the last one never is.
        """
        while True:
            try:
                (data, _), changed = await watched(self._client.get, self._path)
            except NoNode:
                stat, changed = await watched(self._client.exists, self._path)
                if stat is not None:
                    self._client.forget(changed)
                    continue
            else:
                yield data
            await changed

    async def put(self, data: bytes) -> None:
        """Puts a configuration in place of whatever there is."""
        while True:
            try:
                await retry(self._client.set, self._path, data)
                return
            except NoNode:
                await ensure(self._client, self._path.rpartition("/")[0] or "/")
            with suppress(NodeExists):
                await retry(self._client.create, self._path, data)
                return

    async def update(self, change: Callable[[bytes], bytes]) -> bytes:
        """Changes it by a function of the present one, and returns the new one.

        Nobody's change is lost: the write is conditional on the version read. When the connection breaks
        before the answer, `change` may be applied to its own result; a change for which that matters needs a
        mark.
        """
        while True:
            data, stat = await retry(self._client.get, self._path)
            changed = change(data)
            try:
                await retry(self._client.set, self._path, changed, stat.version)
                return changed
            except BadVersion:
                continue
