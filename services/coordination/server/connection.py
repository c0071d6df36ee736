"""A client's connection: its requests in their order (2.3), and what it is told.

Updates go to the leader as they come, many at a time. A local request waits for the updates before it, and is
then answered from the state right after them: nothing is delivered in between. Everything is answered in
the order of submission.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from services.coordination import api
from services.coordination.api import Code, CoordinationError, Event, Reply
from services.coordination.front import ConnectionFigures
from services.coordination.server.pipeline import ROUTES, Route, Throttle, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.api import AnyRequest, AnyResult, Identity
    from services.coordination.front import Deliver
    from services.coordination.server.figures import Figures

CLOSED = "the session is closed"
EXPIRED = "the session has expired"
MOVED = "the session has moved to another server"
AUTH_FAILED = "authentication failed"


class Behind(Protocol):
    """What is behind a connection: the server."""

    throttle: Throttle
    figures_of: Figures

    @property
    def zxid(self) -> int:
        """The last transaction delivered."""
        ...

    def clock(self) -> float:
        """Returns seconds that never go back."""
        ...

    def hear(self, connection: ClientConnection) -> None:
        """Tells that the client has given a sign of life."""
        ...

    def forward(self, connection: ClientConnection, waiting: Waiting) -> None:
        """Has an update ordered; `settle` answers it."""
        ...

    def synchronize(self, connection: ClientConnection, waiting: Waiting) -> None:
        """Carries out a `Sync`; `settle` answers it."""
        ...

    def authenticate(self, connection: ClientConnection, request: Any) -> Code:
        """Adds to who the session is."""
        ...

    def perform(self, connection: ClientConnection, request: Any) -> AnyResult:
        """Answers a local request.

        Raises:
            CoordinationError: it cannot be.
        """
        ...

    def gone(self, connection: ClientConnection) -> None:
        """Tells that the connection is over."""
        ...


class ClientConnection:
    """One client that is connected (`front.Connection`).

    Attributes:
        session, password, timeout: of the session; the time-out in ms.
        address: the client's network address.
        identities: who the session is.
        read_only: whether it is served without a quorum.
        floor: transactions of the session up to this zxid belong to an earlier connection.
        ended: nothing is taken or delivered any more.
    """

    def __init__(
        self,
        behind: Behind,
        session: int,
        password: bytes,
        timeout: int,
        address: str,
        deliver: Deliver,
        closed: Callable[[str], None],
        *,
        limit: int,
        read_only: bool = False,
    ) -> None:
        self.session, self.password, self.timeout = session, password, timeout
        self.address = address
        self.identities: tuple[Identity, ...] = (api.Identity("ip", address),) if address else ()
        self.read_only = read_only
        self.floor = 0
        self.ended = False
        self._behind = behind
        self._throttle = behind.throttle
        self._figures = behind.figures_of
        self._deliver = deliver
        self._closed = closed
        self._limit = limit
        self._queue: deque[Waiting] = deque()
        self._updates: deque[Waiting] = deque()  # those in `_queue` whose transactions are still to come
        self._room: asyncio.Future[None] | None = None
        self._said = 0  # the zxid of the last reply
        self._established = behind.clock()
        self._received = self._sent = self._answered = 0
        self._latency_min, self._latency_sum, self._latency_max = 0.0, 0.0, 0.0
        self._last = "NA"
        self._last_xid = 0
        self._replied = self._latency_last = 0.0

    # For the door

    @property
    def full(self) -> bool:
        """Whether a door is to await `room` before it submits more."""
        return len(self._queue) >= self._limit or self._throttle.full

    def submit(self, xid: int, request: AnyRequest) -> None:
        """Takes a request; its reply is delivered in the order of submission."""
        if self.ended:
            return
        self._behind.hear(self)
        self._received += 1
        self._figures.received += 1
        self._last = type(request).__name__
        route = ROUTES.get(type(request), Route.LOCAL)
        waiting = Waiting(xid, request, route, 0, self._behind.clock())
        if route is Route.AT_ONCE:
            waiting.settled, waiting.code = True, self._behind.authenticate(self, request)
        elif self.read_only:
            waiting.route = route = Route.LOCAL
        if not self._queue and (route is Route.LOCAL or route is Route.AT_ONCE):
            self._answer(waiting)
            return
        self._queue.append(waiting)
        self._throttle.outstanding += 1
        if route is Route.UPDATE:
            self._updates.append(waiting)
            self._behind.forward(self, waiting)
        elif route is Route.SYNC:
            self._behind.synchronize(self, waiting)

    async def room(self) -> None:
        """Waits until the server takes more requests of this client."""
        while not self.ended:
            if len(self._queue) >= self._limit:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            elif self._throttle.full:
                await self._throttle.wait()
                if self.ended:
                    self._throttle.skip()
            else:
                return

    def close(self) -> None:
        """Tells that the link is gone. The session stays."""
        self._end("")

    # For the server

    def delivered(self, zxid: int, tag: int, code: Code, result: AnyResult | None) -> None:
        """Tells that a transaction of the session has been delivered: it may answer an update."""
        if zxid > self.floor and self._updates and self._updates[0].tag == tag:
            self.settle(self._updates.popleft(), code, result)

    def refused(self, tag: int, code: Code) -> None:
        """Tells that the leader would not take an update."""
        for waiting in self._updates:
            if waiting.tag == tag:
                self._updates.remove(waiting)
                self.settle(waiting, code)
                return

    def settle(self, waiting: Waiting, code: Code, result: AnyResult | None = None) -> None:
        """Answers a request once all before it are answered, and the local ones right after it."""
        waiting.settled, waiting.code, waiting.result = True, code, result
        queue = self._queue
        done = 0
        while queue and (queue[0].settled or queue[0].route is Route.LOCAL):
            done += 1
            self._answer(queue.popleft())
        if done:
            self._throttle.release(done)
            if self._room is not None and len(queue) < self._limit and not self._room.done():
                self._room.set_result(None)

    def tell(self, event: Event) -> None:
        """Delivers what a watch saw, before any reply that shows it."""
        if not self.ended:
            self._sent += 1
            self._figures.sent += 1
            self._deliver(event)

    def end(self, why: str) -> None:
        """Ends the connection from this side."""
        self._end(why)

    def figures(self, epoch: float = 0.0) -> ConnectionFigures:
        """Returns what `cons` tells.

        Args:
            epoch: what the loop's seconds lack to those since the Unix epoch.
        """
        answered = self._answered or 1
        return ConnectionFigures(
            address=self.address,
            session=self.session,
            timeout=self.timeout,
            queued=len(self._queue),
            received=self._received,
            sent=self._sent,
            last_operation=self._last,
            last_zxid=self._said,
            latency_min=round(self._latency_min * 1000),
            latency_avg=round(self._latency_sum / answered * 1000),
            latency_max=round(self._latency_max * 1000),
            established=round((self._established + epoch) * 1000),
            last_xid=self._last_xid,
            last_response=round((self._replied + epoch) * 1000) if self._answered else 0,
            latency_last=round(self._latency_last * 1000),
        )

    def _answer(self, waiting: Waiting) -> None:
        if self.ended:
            return
        behind = self._behind
        code, result, why = waiting.code, waiting.result, ""
        if waiting.route is Route.LOCAL:
            try:
                result = behind.perform(self, waiting.request)
            except CoordinationError as exc:
                code = exc.code
            if type(waiting.request) is api.CloseSession:
                why = CLOSED  # of a read-only connection: nobody else knows of its end
        elif waiting.route is Route.AT_ONCE and code is not Code.OK:
            why = AUTH_FAILED
        zxid = behind.zxid
        assert zxid >= self._said, "a reply would show an older state than the one before it"
        self._said = zxid
        self._last_xid = waiting.xid
        self._replied = now = behind.clock()
        self._latency_last = took = now - waiting.since
        self._answered += 1
        self._sent += 1
        self._latency_sum += took
        if took > self._latency_max:
            self._latency_max = took
        if took < self._latency_min or self._answered == 1:
            self._latency_min = took
        self._figures.answered(took)
        self._deliver(Reply(waiting.xid, zxid, code, result))
        if why:
            self._end(why)

    def _end(self, why: str) -> None:
        if self.ended:
            return
        self.ended = True
        waited = len(self._queue)
        self._queue.clear()
        self._updates.clear()
        self._throttle.release(waited)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._behind.gone(self)
        if why:
            self._closed(why)
