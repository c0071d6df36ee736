"""A lock without herd effect (2.4): each waits for the one before it, and for nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from services.coordination.api import Code
from services.coordination.client import NoNode, retry
from services.coordination.recipes.holding import Holding
from services.coordination.recipes.recoverable import create_own, remove, sequence, watched

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from services.coordination.client import Client


class Lock(Holding):
    """A lock: `async with Lock(client, "/locks/l") as lock: ...`, and inside, look at `lock.lost`.

    Granted in the order in which it was asked for. A release, or the end of a holder's or waiter's session,
    wakes at most one. Giving up (`asyncio.timeout`, a cancelled task) leaves the line.

    Args:
        client: whose session holds it.
        path: of the znode below which those stand in line; created when it is not there.
        data: for those who look into the line.

    Attributes:
        lost, fence, wakeups: see `Holding`.
    """

    kind: ClassVar[str] = "lock"

    def __init__(self, client: Client, path: str, data: bytes = b"") -> None:
        super().__init__(client)
        self._path = path
        self._data = data
        self._own: str | None = None

    @property
    def node(self) -> str:
        """The name of the znode with which this client holds it or stands in line; "" without one."""
        return (self._own or "").rpartition("/")[2]

    async def acquire(self) -> None:
        """Returns when it is granted. The numbers are the lines of the paper.

        Raises:
            RuntimeError: it is held, or asked for, by this object already.
            SessionExpired: the session is over.
            NoNode: somebody has deleted the znode with which this client stood in line.
        """
        if self._own is not None:
            raise RuntimeError(f"the lock at {self._path} is held by this object, or asked for, already")
        self._own = ""
        try:
            self._own, stat = await create_own(self._client, self._path, self.kind, self._data)  # 1
            own = self._own.rpartition("/")[2]
            while True:
                names = await retry(self._client.children, self._path)  # 2
                line = sorted(names, key=sequence)
                if own not in line:
                    raise NoNode(Code.NO_NODE, self._own)
                before = self._before(line[: line.index(own)])  # 4
                if before is None:
                    self._grant(stat.czxid)  # 3
                    return
                await self._gone(f"{self._path}/{before}")  # 5
                self.wakeups += 1  # 6
        except BaseException:
            await self.release()
            raise

    async def release(self) -> None:
        """Gives it back, or leaves the line; does nothing otherwise."""
        own, self._own = self._own, None
        self._drop()
        if own:
            await remove(self._client, own)

    def _before(self, lower: Sequence[str]) -> str | None:
        """Returns for whom to wait, of those who came before; None: for nobody."""
        return lower[-1] if lower else None

    async def _gone(self, path: str) -> None:
        """Returns when a znode is not there (any more).

        Not `exists`, as in the paper, but `getData`: it leaves no watch where there is no znode, and this
        name never comes again.
        """
        try:
            _, deleted = await watched(self._client.get, path)
        except NoNode:
            return
        await deleted

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()
