"""Which server is asked: the leader of a group, or the nearest replica of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from services.spanner.client.pipeline import Pipeline
from services.spanner.client.retry import Backoff
from services.spanner.errors import SpannerError

if TYPE_CHECKING:
    from protos import spanner_pb2 as pb
    from services.host import Host
    from services.spanner.client.locations import Locations, Place

SUSPECT = 1.0  # seconds in which a server that did not answer is not asked when there is another
PAUSE = 0.3  # seconds at most between two rounds through the replicas of a group that has no leader

ELSEWHERE = ("moved", "unknown-group", "schema")
"""Reasons that concern what is asked, not whom: the caller makes another request."""


class Router:
    """The client's connections to spanservers, and what it knows of them.

    Args:
        host: the client's door.
        locations: where groups are.
        zone: the client's own: replicas there are near. "" leaves it to measured latencies.
    """

    def __init__(self, host: Host, locations: Locations, zone: str = "") -> None:
        self.host = host
        self.locations = locations
        self._zone = zone
        self._pipelines: dict[str, Pipeline] = {}
        self._suspects: dict[str, float] = {}

    def pipeline(self, server: str) -> Pipeline:
        """Returns the connection to a server."""
        pipeline = self._pipelines.get(server)
        if pipeline is None:
            pipeline = self._pipelines[server] = Pipeline(self.host, server)
        return pipeline

    async def close(self) -> None:
        """Closes all connections."""
        for pipeline in self._pipelines.values():
            await pipeline.close()

    async def lead(self, group: int, call: pb.Call, deadline: float) -> pb.Reply:
        """Asks a group's leader, whoever that is by the time; what is asked must be safe to ask twice.

        Args:
            group: which.
            call: what is asked.
            deadline: in `loop.time()`.

        Raises:
            SpannerError: the leader's refusal; DEADLINE_EXCEEDED: there was no leader, or no answer, within
                the time.
        """
        search = Search(self, group, deadline)
        try:
            while True:
                server = search.leader()
                try:
                    reply = await self.pipeline(server).ask(call, search.left())
                except SpannerError as exc:
                    await search.failed(server, exc)
                else:
                    search.over(found=True)
                    return reply
        finally:
            search.over()

    def nearest(self, place: Place, avoid: dict[str, None]) -> str:
        """Returns the replica to read at.

        Args:
            place: the group.
            avoid: servers that failed; asked only when no other is left.
        """
        now = asyncio.get_running_loop().time()

        def cost(member: pb.Member) -> tuple[bool, bool, float]:
            name = member.server
            suspect = name in avoid or self._suspects.get(name, 0.0) > now
            return suspect, bool(self._zone) and member.zone != self._zone, self.pipeline(name).latency

        return min(place.readable, key=cost).server

    def suspected(self, server: str) -> bool:
        """Says whether a server did not answer a moment ago."""
        return self._suspects.get(server, 0.0) > asyncio.get_running_loop().time()

    def suspect(self, server: str) -> None:
        """Remembers that a server did not answer."""
        self._suspects[server] = asyncio.get_running_loop().time() + SUSPECT


class Search:
    """Looks for a group's leader, for one request: asks one replica after the other, then pauses.

    Whom a replica names is asked at once, if that has not been refused in this round.

    Args:
        router: the connections.
        group: whose.
        deadline: in `loop.time()`.
    """

    def __init__(self, router: Router, group: int, deadline: float) -> None:
        self._router = router
        self._place = router.locations.place(group)
        self._deadline = deadline
        self._tried: dict[str, None] = {}
        self._backoff: Backoff | None = None
        self._unsure = False

    def left(self) -> float:
        """Returns the seconds that are left.

        Raises:
            SpannerError: DEADLINE_EXCEEDED: none are.
        """
        left = self._deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise SpannerError(
                "DEADLINE_EXCEEDED", f"group {self._place.number} has no leader that answers in time"
            )
        return left

    def leader(self) -> str:
        """Returns the server to ask."""
        place = self._place
        if not place.leader or place.leader not in place.electable:
            place.leader = place.another()
        return place.leader

    async def failed(self, server: str, error: SpannerError) -> None:
        """Says that a server refused, or did not answer; returns when another may be asked.

        Raises:
            SpannerError: the same, where asking another does not help.
        """
        place, router = self._place, self._router
        if error.reason == "not-leader":
            hint = error.hint
            if place.leader != server:
                pass  # another call has learned better meanwhile
            elif hint and hint != server and not router.suspected(hint):
                place.leader = hint
            else:
                place.leader = place.another()
        elif error.reason == "no-time" or (error.code == "UNAVAILABLE" and error.reason not in ELSEWHERE):
            if error.reason != "no-time":
                self._unsure = True
                router.suspect(server)
            if place.leader == server:
                place.leader = place.another()
        elif error.reason in ("unknown-group", "forgotten") and self._unsure:
            raise SpannerError("UNAVAILABLE", f"it may have been done, and then: {error.detail}")
        else:
            raise error
        again = server in self._tried
        self._tried[server] = None
        if again or all(one in self._tried for one in place.electable):
            if server:
                self._tried.clear()
            if place.scout not in (None, self):
                await self._wait()
                return
            if server:
                place.scout = self
            if self._backoff is None:
                self._backoff = Backoff(router.host.rng, PAUSE)
            await asyncio.sleep(min(self._backoff.next(error.retry_s), self.left()))

    def over(self, *, found: bool = False) -> None:
        """Says that this request is over, or has an answer: who waits for that goes on.

        Args:
            found: the leader has answered.
        """
        place = self._place
        if place.scout is None or not (found or place.scout is self):
            return
        if place.scout is self:
            place.scout = None
        waiting, place.waiting = place.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _wait(self) -> None:
        """Waits for the request that goes round."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._place.waiting.append(future)
        with contextlib.suppress(TimeoutError):  # `left` says so next time
            async with asyncio.timeout(self.left()):
                await future
