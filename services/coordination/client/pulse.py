"""A session's signs of life: heartbeats, silence, doubt (2.1, 4.4).

With s the session's time-out: a heartbeat after s/3 without sending, another server after 2s/3 of silence.
The leader ends the session when no server has heard of it for s. The client cannot see that happen, but it
knows until when it cannot have happened: s after it *sent* the last request that was answered. Beyond that
the session is in doubt, and whoever relies on it (the holder of a lock) is told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.client.link import Link

_NEVER = float("inf")
_SOON = 0.001  # seconds: a timer that fires a little early must not make the loop spin


class Pulse:
    """The timers of a session.

    Args:
        beat: sends a heartbeat.

    Attributes:
        sure_until: until when the session cannot have expired, in `loop.time()`.
        listeners: called when it is in doubt.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self.sure_until = _NEVER
        self.listeners: dict[Callable[[], None], None] = {}
        self._beat = beat
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._timeout = 0.0
        self._in_doubt = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, link: Link, timeout: float) -> None:
        """There is a connection; the server has said so, and granted a time-out of so many seconds."""
        self._link = link
        self._timeout = timeout
        self.answered(link.opening)
        self._tick()

    def answered(self, asked: float) -> None:
        """An answer came to what was sent at that time."""
        self.sure_until = asked + self._timeout
        self._in_doubt = False

    def pause(self) -> None:
        """There is no connection any more."""
        self._link = None

    def end(self) -> None:
        """The session is over: there is no doubt, and those who would doubt are told."""
        self._link = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.sure_until = min(self.sure_until, self._loop.time())
        self._doubt()

    def _tick(self) -> None:
        """Does what is due, and sets the timer for what is due next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        due = self.sure_until
        if now >= due:
            self._doubt()
            due = _NEVER
        link = self._link
        if link is not None and not link.closed.done():
            if now >= link.heard + 2 * self._timeout / 3:
                link.end("silence")
            else:
                if now >= link.sent + self._timeout / 3:
                    link.sent = now
                    self._beat()
                due = min(due, link.heard + 2 * self._timeout / 3, link.sent + self._timeout / 3)
        if due < _NEVER:
            self._timer = self._loop.call_at(max(due, now + _SOON), self._tick)

    def _doubt(self) -> None:
        if self._in_doubt:
            return
        self._in_doubt = True
        for listener in [*self.listeners]:
            listener()
