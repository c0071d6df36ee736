"""The streams of the iterations that this server takes part in, one a server, whichever side it is on.

An iteration is the present one as long as it is registered here. One that the rules have ended is not, and
what still arrives on it is passed on to nobody.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from protos.coordination_pb2 import CEpoch, FromLeader, FromLearner, Notification
from services.coordination.peer.encoding import messages
from services.coordination.peer.iteration import Iteration, broken
from services.coordination.peer.votes import CHANNEL_OPTIONS, CONNECT, ELECT
from services.coordination.storage import StorageRefused
from services.outbox import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from services.host import Context, Host

FOLLOW = "/dsim.coordination.Peers/Follow"

log = logging.getLogger(__name__)


class Events(Protocol):
    """What streams tell."""

    def connected(self, server: int) -> None:
        """An iteration has opened."""
        ...

    def closed(self, server: int) -> None:
        """It has ended, and nobody here ended it."""
        ...

    def received(self, server: int, batch: Any) -> bool:
        """It has brought messages; says whether it may bring more now."""
        ...

    async def room(self) -> None:
        """Returns when iterations may bring more."""
        ...

    def unreadable(self, why: Exception) -> None:
        """A history that was to be sent cannot be read."""
        ...


class Streams:
    """The iterations of one server.

    Args:
        host: its door.
        server, ensemble: which it is.
        events: told what happens.
        most: bytes that are sent at once, and one message more.
    """

    def __init__(self, host: Host, server: int, ensemble: str, events: Events, most: int = MESSAGE) -> None:
        self._most = most
        self._host = host
        self._server = server
        self._ensemble = ensemble.encode()
        self._events = events
        self._present: dict[int, Iteration] = {}
        self._refused: dict[str, None] = {}
        self.metadata = (("ensemble-bin", self._ensemble), ("server", str(server)))

    def get(self, server: int) -> Iteration | None:
        """Returns the present iteration with a server."""
        return self._present.get(server)

    def open(self, server: int) -> Iteration:
        """Registers a new one; an older one with the same server is over."""
        old = self._present.get(server)
        if old is not None:
            old.end()
        iteration = self._present[server] = Iteration(server, self._most)
        return iteration

    def hang_up(self, server: int) -> bool:
        """Ends one when what was sent has gone; says whether there was one."""
        iteration = self._present.pop(server, None)
        if iteration is not None:
            iteration.finish()
        return iteration is not None

    def flush(self) -> None:
        """Sends what waits and can be sent at once."""
        for iteration in self._present.values():
            iteration.outbox.flush()

    def end_all(self) -> None:
        """Ends all of them at once."""
        present, self._present = self._present, {}
        for iteration in present.values():
            iteration.end()

    async def learn(self, iteration: Iteration, target: str | None) -> None:
        """The learner's side: connects and carries messages until it is over.

        Args:
            iteration: registered already.
            target: where the prospective leader is; None when that is not known.
        """
        if target is None:
            self._over(iteration)
            return
        channel = self._host.connect(target, options=CHANNEL_OPTIONS)
        try:
            call: grpc.aio.StreamStreamCall[bytes, FromLeader] = channel.stream_stream(
                FOLLOW, request_serializer=None, response_deserializer=FromLeader.FromString
            )(metadata=self.metadata)
            async with asyncio.timeout(CONNECT):
                await call.wait_for_connection()
            if self._is_present(iteration):
                self._events.connected(iteration.server)
                await self._run(iteration, call)
                await call.done_writing()
        except broken():
            pass
        finally:
            self._over(iteration)
            await channel.close()

    async def lead(self, _: Any, context: Context) -> None:
        """The leader's side of one that somebody else opens: the first message says who."""
        iteration: Iteration | None = None
        try:
            async with asyncio.timeout(CONNECT):
                first = await context.read()
            said = next(messages(first), None) if first else None
            if not isinstance(said, CEpoch) or said.server == self._server:
                return
            iteration = self.open(said.server)
            self._events.connected(said.server)
            self._received(iteration, first)
            await self._run(iteration, context)
        except broken():
            pass
        except (StorageRefused, OSError) as exc:
            self._events.unreadable(exc)
        finally:
            if iteration is not None:
                self._over(iteration)

    async def admit(self, context: Context) -> None:
        """Lets a stream of another server of this ensemble begin; refuses others, and logs that once."""
        said = dict(context.invocation_metadata() or ())
        why = ""
        if said.get("ensemble-bin") != self._ensemble:
            why = f'this is a server of ensemble "{self._ensemble.decode()}"'
        elif said.get("server") == str(self._server):
            why = f"this is server {self._server}: two servers have the same id"
        if why:
            if why not in self._refused:
                self._refused[why] = None
                log.error("server %d: refused a stream from %s: %s", self._server, context.peer(), why)
            from grpc import StatusCode

            await context.abort(StatusCode.FAILED_PRECONDITION, why)
        await context.send_initial_metadata(())

    def _is_present(self, iteration: Iteration) -> bool:
        return self._present.get(iteration.server) is iteration

    async def _run(self, iteration: Iteration, stream: Any) -> None:
        """Carries messages for as long as the iteration is the present one."""

        async def room() -> None:
            await self._events.room()
            if not self._is_present(iteration):
                raise ConnectionError("the iteration is over")

        await room()
        await iteration.run(stream, lambda batch: self._received(iteration, batch), room)

    def _received(self, iteration: Iteration, batch: Any) -> bool:
        """Passes messages on; says whether more may come now."""
        more = self._is_present(iteration) and self._events.received(iteration.server, batch)
        return more and self._is_present(iteration)

    def _over(self, iteration: Iteration) -> None:
        if self._is_present(iteration):
            del self._present[iteration.server]
            self._events.closed(iteration.server)


class Method(NamedTuple):
    """A `grpc.RpcMethodHandler` of streams both ways, whose responses are bytes already."""

    stream_stream: Callable[[Any, Context], Awaitable[None]]
    request_deserializer: Callable[[bytes], Any]
    request_streaming: bool = True
    response_streaming: bool = True
    response_serializer: None = None
    unary_unary: None = None
    unary_stream: None = None
    stream_unary: None = None


class Handlers:
    """What others open streams to: a `grpc.GenericRpcHandler`.

    Args:
        begin: lets a stream begin, or aborts it.
        elect, follow: carry one until it is over.
    """

    def __init__(
        self,
        begin: Callable[[Context], Awaitable[None]],
        elect: Callable[[Any, Context], Awaitable[None]],
        follow: Callable[[Any, Context], Awaitable[None]],
    ) -> None:
        async def elected(requests: Any, context: Context) -> None:
            await begin(context)
            await elect(requests, context)

        async def followed(requests: Any, context: Context) -> None:
            await begin(context)
            await follow(requests, context)

        self._methods = {
            ELECT: Method(elected, Notification.FromString),
            FOLLOW: Method(followed, FromLearner.FromString),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Method | None:
        """Returns the handler of a method, None when it has none."""
        return self._methods.get(handler_call_details.method)
