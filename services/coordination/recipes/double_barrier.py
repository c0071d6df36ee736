"""A double barrier (2.4): enough of them begin together, and all of them end together.

Invariants: nobody is in before `size` have come; nobody is out while one is still in. One whose session ends
counts as out. The znode *ready* is both the paper's and Apache's: it spares those who wait from counting.
Leaving is Apache's: the first by name stays to the last, so that each of the others is woken once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.coordination.api import CreateMode
from services.coordination.client import NodeExists, NoNode, retry
from services.coordination.recipes.recoverable import draw_guid, ensure, remove, watched

if TYPE_CHECKING:
    from typing import Self

    from services.coordination.client import Client

READY = "ready"


class DoubleBarrier:
    """A double barrier: `async with DoubleBarrier(client, "/barriers/1", 5): ...` is what is done together.

    A barrier is for one time: another time needs another path. (One who is quick would come in again while
    one who is slow still waits for it to be out.)

    Args:
        client: whose session stands for the process.
        path: of the barrier's znode; created when it is not there.
        size: how many must come.
        name: of the process, unique at this barrier; "" for a random one.

    Attributes:
        wakeups: how often waiting was interrupted to look again.
    """

    def __init__(self, client: Client, path: str, size: int, name: str = "") -> None:
        if name == READY or "/" in name:
            raise ValueError(f'a process at a barrier cannot have the name "{name}"')
        self.wakeups = 0
        self._client = client
        self._path = path
        self._size = size
        self._name = name or draw_guid(client)
        self._own = f"{path}/{self._name}"

    async def enter(self) -> None:
        """Returns when enough have come.

        Raises:
            NodeExists: another process has that name.
            SessionExpired: the session is over.
        """
        client, ready = self._client, f"{self._path}/{READY}"
        try:
            await self._come()
        except asyncio.CancelledError:
            client.in_background(self._withdraw())
            raise
        try:
            opened, change = await watched(client.exists, ready)
            if opened is not None:
                client.forget(change)
                return
            if len(await self._inside()) < self._size:
                await change
                self.wakeups += 1
                return
            client.forget(change)
            with suppress(NodeExists):
                await retry(client.create, ready)
        except BaseException:
            await remove(client, self._own)
            raise

    async def leave(self) -> None:
        """Returns when all have left.

        Raises:
            SessionExpired: the session is over: for the others this process has left.
        """
        while inside := await self._inside():
            if inside == [self._name]:
                await remove(self._client, self._own)
                return
            if inside[0] == self._name:
                other = inside[-1]
            else:
                if self._name in inside:
                    await remove(self._client, self._own)
                other = inside[0]
            try:
                _, gone = await watched(self._client.get, f"{self._path}/{other}")
            except NoNode:
                continue
            await gone
            self.wakeups += 1

    async def _come(self) -> None:
        client = self._client
        while True:
            try:
                await retry(client.create, self._own, mode=CreateMode.EPHEMERAL)
                return
            except NoNode:
                await ensure(client, self._path)
            except NodeExists:  # perhaps by this very call, whose first answer was lost
                await retry(client.sync)
                there = await retry(client.exists, self._own)
                if there is not None and there.ephemeral_owner != client.session:
                    raise
                if there is not None:
                    return

    async def _withdraw(self) -> None:
        """Removes the znode if a create that nobody waited for has made it."""
        await retry(self._client.sync)
        there = await retry(self._client.exists, self._own)
        if there is not None and there.ephemeral_owner == self._client.session:
            await remove(self._client, self._own)

    async def _inside(self) -> list[str]:
        names = await retry(self._client.children, self._path)
        return [name for name in names if name != READY]

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.leave()
        else:
            await remove(self._client, self._own)
