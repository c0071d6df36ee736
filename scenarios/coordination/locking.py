"""A client's lock in the history (`lock`, `unlock`), and as spans: a timeline shows who waits and who holds."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.coordination.clients import RecordedClient
    from services.coordination.recipes import Lock, SimpleLock


class Locking:
    """A lock of one client.

    Args:
        client: whose.
        lock: of its session.
        path: of the lock.

    Attributes:
        since: when it was granted, in seconds of the run.
    """

    def __init__(self, client: RecordedClient, lock: Lock | SimpleLock, path: str = "/lock") -> None:
        self.lock = lock
        self.since = 0.0
        self._client = client
        self._path = path
        self._lane = f"{client.name}/{path.strip('/').replace('/', '-')}"
        self._host = client.world.client(client.name)
        self._holding = ExitStack()

    async def acquire(self) -> None:
        """Waits for it."""
        async with self._client.world.operation(self._lane, "lock", {"mode": "write"}, key=self._path) as op:
            with self._host.span("waits"):
                await self.lock.acquire()
            op.ok({"node": getattr(self.lock, "node", "")})
            self.since = self._client.world.now()
            self._holding.enter_context(self._host.span("holds"))

    async def release(self) -> None:
        """Gives it back, if it is still there."""
        async with self._client.world.operation(self._lane, "unlock", None, key=self._path) as op:
            self._holding.close()
            await self.lock.release()
            op.ok()
