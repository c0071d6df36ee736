"""Many znodes as one configuration (2.3): the znode *ready* says that all of them belong together.

Whoever changes them deletes *ready* first and creates it last; FIFO order and linearizable writes make
everybody who sees *ready* see all changes. Whoever reads watches *ready*: if it is taken away meanwhile, the
watch fires before anything that was read can be of the next configuration, and the reader begins anew.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.coordination.client import NodeExists, NoNode, Watch, retry
from services.coordination.recipes.recoverable import ensure, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from services.coordination.client import Client

READY = "ready"


class ReadyConfiguration:
    """A configuration of named values; it has one writer at a time (a leader), and any number of readers.

    Args:
        client: by which.
        path: of the znode whose children it is.
    """

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._ready = f"{path}/{READY}"

    async def publish(self, values: Mapping[str, bytes]) -> None:
        """Puts a whole configuration in place of the one before; the changes are on their way all at once.

        Raises:
            ConnectionLoss: the connection broke; nobody reads a mixture, and it may be published again.
            CoordinationError: a value cannot be written.
        """
        client, path = self._client, self._path
        if READY in values:
            raise ValueError(f'a value cannot have the name "{READY}"')
        await ensure(client, path)
        with suppress(NoNode):
            await client.delete(self._ready)
        there = dict.fromkeys(await client.children(path))
        await asyncio.gather(
            *(
                client.set(f"{path}/{name}", value)
                if name in there
                else client.create(f"{path}/{name}", value)
                for name, value in values.items()
            ),
            *(client.delete(f"{path}/{name}") for name in there if name not in values),
        )
        # Not with the others: it would be created even if one of them had failed.
        with suppress(NodeExists):
            await retry(client.create, self._ready)

    async def read(self) -> dict[str, bytes]:
        """Returns a configuration as it was published, waiting for one if need be."""
        values, changed = await self._read()
        self._client.forget(changed)
        return values

    async def follow(self) -> AsyncIterator[dict[str, bytes]]:
        """Yields the configuration and each newer one; those in between may be left out."""
        while True:
            values, changed = await self._read()
            yield values
            await changed

    async def _read(self) -> tuple[dict[str, bytes], Watch]:
        client = self._client
        while True:
            stat, changed = await watched(client.exists, self._ready)
            if stat is None:
                await changed
                continue
            try:
                names = [name for name in await retry(client.children, self._path) if name != READY]
                read = await asyncio.gather(*(retry(client.get, f"{self._path}/{name}") for name in names))
            except NoNode:
                continue  # taken away meanwhile, with *ready* before it
            if not changed.fired:
                return {name: data for name, (data, _) in zip(names, read, strict=True)}, changed
