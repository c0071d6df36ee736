"""The simple lock (2.4): one znode. Everybody who waits is woken by each release (the herd effect)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.api import CreateMode
from services.coordination.client import ConnectionLoss, NodeExists, NoNode, retry
from services.coordination.recipes.holding import Holding
from services.coordination.recipes.recoverable import draw_guid, ensure, remove, watched

if TYPE_CHECKING:
    from typing import Self

    from services.coordination.client import Client


class SimpleLock(Holding):
    """A lock: `async with SimpleLock(client, "/locks/l") as lock: ...`, and inside, look at `lock.lost`.

    Whoever is first after a release gets it: there is no order, and one may wait for ever. `lock.Lock` is
    better in every way; this one is there to be compared with.

    Args:
        client: whose session holds it.
        path: of the lock's znode.

    Attributes:
        lost, fence, wakeups: see `Holding`.
    """

    def __init__(self, client: Client, path: str) -> None:
        super().__init__(client)
        self._path = path
        self._guid = b""  # in the znode: by it a create is found again whose answer was lost

    async def acquire(self) -> None:
        """Returns when it is granted.

        Raises:
            RuntimeError: it is held, or asked for, by this object already.
            SessionExpired: the session is over.
        """
        if self._guid:
            raise RuntimeError(f"the lock at {self._path} is held by this object, or asked for, already")
        self._guid = draw_guid(self._client).encode()
        try:
            while True:
                try:
                    _, stat = await self._client.create_with_stat(
                        self._path, self._guid, mode=CreateMode.EPHEMERAL
                    )
                    break
                except ConnectionLoss:
                    continue
                except NodeExists:
                    pass  # perhaps by the time before, whose answer was lost
                except NoNode:
                    await ensure(self._client, self._path.rpartition("/")[0])
                    continue
                try:
                    (holder, stat), released = await watched(self._client.get, self._path)
                except NoNode:
                    continue
                if holder == self._guid:
                    self._client.forget(released)
                    break
                await released
                self.wakeups += 1
            self._grant(stat.czxid)
        except BaseException:
            await self.release()
            raise

    async def release(self) -> None:
        """Gives it back; does nothing when there is nothing to give back."""
        guid, self._guid = self._guid, b""
        if self._granted:
            self._drop()
            await remove(self._client, self._path, self.fence)
        elif guid:
            self._client.in_background(self._withdraw(guid))

    async def _withdraw(self, guid: bytes) -> None:
        """Removes the znode if a create that nobody waited for has made it."""
        await retry(self._client.sync)
        holder, stat = await retry(self._client.get, self._path)
        if holder == guid:
            await remove(self._client, self._path, stat.czxid)

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()
