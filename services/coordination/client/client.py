"""The client: a session, as a program holds it, with the calls on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from services.coordination.api import Code, SessionState
from services.coordination.client.calls import Calls
from services.coordination.client.errors import error
from services.coordination.client.feed import Feed
from services.coordination.client.session import OVER, Session
from services.coordination.client.watches import Watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from typing import Self

    from services.host import Host


class Client(Calls):
    """A client with one session: `async with Client(host, ["zk1", "zk2", "zk3"]) as client`.

    The calls are those of `Calls`. They are sent in their order, and none waits for the answer of another.
    Answers come in the same order (2.3: FIFO client order). A caller that gives up (a cancelled task) leaves
    the call and the session as they are. While there is no connection, calls wait for one. What was sent when
    a connection broke ends with `ConnectionLoss`: nobody knows whether it took effect, and the client does
    not try again by itself (`retry` does, for what may be done twice). When the session is over every call
    ends with `SessionExpired`; a new client is needed then.

    Args:
        host: the door of the program that uses it.
        servers: the names of the ensemble's servers, "name" or "name:port"; tried in random order.
        timeout: of the session, in seconds, as asked for: the server may grant another (`Client.timeout`).
        chroot: a path that all paths are below, "" for none. It is not created.
        read_only: content with a server that is cut off from the others, while there is none better.
        max_pending: calls that may wait for their answers; more are refused (`Throttled`).
        within: seconds for `async with` to have a session, None for as long as it takes.

    Raises:
        ValueError: no servers, no time, or a chroot that is no path.
    """

    def __init__(
        self,
        host: Host,
        servers: Sequence[str],
        *,
        timeout: float = 10.0,
        chroot: str = "",
        read_only: bool = False,
        max_pending: int = 100_000,
        within: float | None = None,
    ) -> None:
        if chroot and (not chroot.startswith("/") or chroot.endswith("/")):
            raise ValueError(f'chroot is "{chroot}", must be a path such as "/app" or ""')
        watches = Watches(chroot)
        session = Session(host, servers, timeout, read_only, max_pending, watches)
        super().__init__(session, watches, chroot)
        self.host = host
        self._within = within
        self._closing = False
        self._feeds: dict[Feed[SessionState], None] = {}
        self._background: dict[asyncio.Task[None], None] = {}
        self._session.state_listeners[self._feed] = None

    async def __aenter__(self) -> Self:
        self._session.start()
        try:
            async with asyncio.timeout(self._within):
                await self.connected()
        except BaseException as exc:
            await self.close()
            if isinstance(exc, TimeoutError):
                raise error(Code.CONNECTION_LOSS) from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the session: its ephemerals go at once, its calls have been answered before."""
        self._closing = True
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait([*self._background])
        await self._session.close()

    # The session

    @property
    def state(self) -> SessionState:
        """What is known of the session. EXPIRED, CLOSED and AUTH_FAILED are for good."""
        return self._session.state

    @property
    def session(self) -> int:
        """The session's id, 0 before there is one: the `ephemeral_owner` of its ephemerals."""
        return self._session.id

    @property
    def timeout(self) -> float:
        """The session's time-out in seconds, as negotiated."""
        return self._session.timeout

    @property
    def server(self) -> str:
        """The server that it is connected to, as the client was told its name; "" for none."""
        return self._session.server

    @property
    def last_zxid(self) -> int:
        """The last transaction that an answer has shown."""
        return self._session.last_zxid

    @property
    def sure_until(self) -> float:
        """Until when (in `loop.time()`) the session cannot have expired; see `on_doubt`."""
        return self._session.pulse.sure_until

    async def connected(self) -> None:
        """Waits for a connection.

        Raises:
            CoordinationError: the session is over.
        """
        await self._session.connected.wait()
        if self.state in OVER:
            raise error(OVER[self.state])

    def states(self) -> AsyncIterator[SessionState]:
        """Yields the state, and each later one, until the session is over.

        Raises:
            EventsLost: (by iterating) the reader lags behind by a thousand changes.
        """
        feed: Feed[SessionState] = Feed()
        feed.push(self.state)
        if self.state in OVER:
            feed.end()
        else:
            self._feeds[feed] = None
        return feed

    def on_state(self, callback: Callable[[SessionState], None]) -> Callable[[], None]:
        """Has `callback` called with each change of state, at once; returns what calls it off."""
        self._session.state_listeners[callback] = None
        return lambda: self._session.state_listeners.pop(callback, None)

    def on_doubt(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Has `callback` called when the session may be over; returns what calls it off.

        That is when a time-out has passed since the last request was *sent* that was answered: from then on
        the leader may have expired the session, and its ephemerals (locks, memberships) be gone. A process
        that stands still hears of it late; work that must not be done twice needs a fencing token as well.
        """
        self._session.pulse.listeners[callback] = None
        return lambda: self._session.pulse.listeners.pop(callback, None)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what nobody waits for, until it is done or the client closes. Its errors are dropped."""
        if self._closing:
            work.close()
            return
        task = asyncio.create_task(work)
        self._background[task] = None
        task.add_done_callback(self._done_in_background)

    def _feed(self, state: SessionState) -> None:
        for feed in self._feeds:
            feed.push(state)
            if state in OVER:
                feed.end()
        if state in OVER:
            self._feeds.clear()

    def _done_in_background(self, task: asyncio.Task[None]) -> None:
        del self._background[task]
        if not task.cancelled():
            task.exception()
