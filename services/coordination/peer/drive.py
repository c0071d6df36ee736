"""The rules at work: told what happens and what time it is, and what they want is done at once, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.coordination.zab.peer import Peer
    from services.host import Host

NEVER = float("inf")


class Drive:
    """Drives the rules of one server.

    Args:
        host: its door.
        rules: the rules.
        do: what carries out each kind of output.
        after: called when all has been carried out.

    Attributes:
        failed: done, with the reason, when the server cannot go on.
    """

    def __init__(
        self,
        host: Host,
        rules: Peer,
        do: Mapping[type, Callable[[Any], None]],
        after: Callable[[], None],
    ) -> None:
        self._host = host
        self._rules = rules
        self._do = do
        self._after = after
        self._outputs: deque[Any] = deque()
        self._draining = self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._tick_at = NEVER
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def input(self, rule: Callable[..., None], *args: Any) -> None:
        """Tells the rules that something happened, and does what they want."""
        if self.failed.done():
            return
        try:
            rule(*args, self._host.clock.monotonic())
            self._drain()
        except Exception as exc:  # an invariant that is broken, or a fault of the state machine
            self.fail(exc)

    def add(self, output: Any) -> None:
        """Adds something to be done after all that the rules have wanted so far."""
        self._outputs.extend(self._rules.take())
        self._outputs.append(output)
        self.soon()

    def soon(self) -> None:
        """Does what the rules want once the caller, who may propose more, has ended."""
        if not (self._scheduled or self._draining):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._now)

    def fail(self, exc: BaseException) -> None:
        """Notes why the server cannot go on."""
        if not self.failed.done():
            self.failed.set_exception(exc)

    def stop(self, why: str) -> None:
        """Has the rules step down. Nothing of what they wanted before is done."""
        self.failed.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._outputs.clear()
        self._rules.take()
        self._rules.stop(why, self._host.clock.monotonic())
        self._drain()

    def _now(self) -> None:
        self._scheduled = False
        if not self.failed.done():
            try:
                self._drain()
            except Exception as exc:
                self.fail(exc)

    def _drain(self) -> None:
        """Carries out what the rules want, and what comes of that."""
        if self._draining:
            return
        self._draining = True
        outputs, take, do = self._outputs, self._rules.take, self._do
        try:
            while True:
                outputs.extend(take())
                if not outputs:
                    break
                while outputs:
                    output = outputs.popleft()
                    do[type(output)](output)
        finally:
            self._draining = False
        if not self.failed.done():
            self._set_timer()
            self._after()

    def _set_timer(self) -> None:
        """Sees to the next tick. A timer that is too early is left: it sets the next one."""
        due = self._rules.next_deadline()
        if due < self._tick_at:
            if self._timer is not None:
                self._timer.cancel()
            self._tick_at = due
            wait = max(0.0, due - self._host.clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._tick_at, self._timer = NEVER, None
        self.input(self._rules.tick)
