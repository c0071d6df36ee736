"""Locks of clients in the history (`lock`, `unlock`), and as spans: a timeline shows who waits and holds."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from services.coordination.recipes import Lock, SimpleLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from scenarios.coordination.clients import RecordedClient


class _Seen:
    """A lock whose wake-ups are seen when they come."""

    woken: Callable[[], None] | None = None
    _wakeups = 0

    @property
    def wakeups(self) -> int:
        return self._wakeups

    @wakeups.setter
    def wakeups(self, count: int) -> None:
        self._wakeups = count
        if self.woken is not None:
            self.woken()


class InLine(_Seen, Lock):
    """The lock without herd effect."""


class Simple(_Seen, SimpleLock):
    """The simple lock."""


class Locking:
    """What a client has to do with a lock.

    Args:
        client: whose session holds it.
        kind: which of the two locks.
        path: of it; of the simple lock's znode, the parent.

    Attributes:
        lock: it.
        since: when it was granted, in seconds of the run; 0 if it never was.
    """

    def __init__(self, client: RecordedClient, kind: type[InLine | Simple], path: str = "/lock") -> None:
        self.lock = InLine(client.session, path) if kind is InLine else Simple(client.session, f"{path}/lock")
        self.lock.woken = self._woken
        which = " the simple lock" if kind is Simple else ""
        self._waits, self._holds = f"waits for{which or ' its turn'}", f"holds{which or ' it'}"
        self.since = 0.0
        self._client = client
        self._path = path
        self._lane = f"{client.name}/{path.strip('/').replace('/', '-')}"
        self._host = client.world.client(client.name)
        self._span = ExitStack()

    async def acquire(self) -> None:
        """Waits for it."""
        async with self._client.world.operation(self._lane, "lock", {"mode": "write"}, key=self._path) as op:
            with self._span:
                self._span.enter_context(self._host.span(self._waits))
                await self.lock.acquire()
            op.ok({"node": getattr(self.lock, "node", "")})
            self.since = self._client.world.now()
            self._client.session.on_doubt(self._span.close)  # not sure any more, as good as not its own
            self._span.enter_context(self._host.span(self._holds))

    async def release(self) -> None:
        """Gives it back, if it is still there."""
        async with self._client.world.operation(self._lane, "unlock", None, key=self._path) as op:
            self._span.close()
            await self.lock.release()
            op.ok()

    def _woken(self) -> None:
        """Begins another bar for the time until it is woken again."""
        self._span.close()
        self._span.enter_context(self._host.span(self._waits))
