"""A channel's way to its server: when it connects, waits, fails and tries again.

This is gRPC core's `pick_first` policy with one address: a channel connects when the first RPC wants it to,
and again when a connection is lost and there is an RPC; after a failure it tries again by itself, with
exponential backoff, and RPCs fail at once meanwhile unless they wait for ready.
(gRPC's `doc/connection-backoff.md` and `doc/connectivity-semantics-and-api.md`.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import grpc

from sim.world.rpc import status
from sim.world.rpc.connection import ClientConnection
from sim.world.timers import FIRE, SECOND, Timer

if TYPE_CHECKING:
    import asyncio

    from sim.world.network import Dialling, Endpoint
    from sim.world.rpc.channel import Channel
    from sim.world.rpc.stream import ClientStream
    from sim.world.rpc.targets import Target

IDLE = grpc.ChannelConnectivity.IDLE
CONNECTING = grpc.ChannelConnectivity.CONNECTING
READY = grpc.ChannelConnectivity.READY
TRANSIENT_FAILURE = grpc.ChannelConnectivity.TRANSIENT_FAILURE
SHUTDOWN = grpc.ChannelConnectivity.SHUTDOWN

MULTIPLIER = 1.6
JITTER = 0.2


class Subchannel:
    """The state of one channel's connection.

    Args:
        channel: whose.
        target: where to.
        initial, longest: backoff in seconds.
        timeout: seconds that an attempt is given at least.

    Attributes:
        state: as `grpc.aio.Channel.get_state` has it.
    """

    __slots__ = (
        "_backoff",
        "_channel",
        "_dialling",
        "_failure",
        "_greeting",
        "_initial",
        "_leaving",
        "_longest",
        "_next_attempt",
        "_pending",
        "_target",
        "_timeout",
        "_timer",
        "_watchers",
        "state",
    )

    def __init__(
        self, channel: Channel, target: Target, initial: float, longest: float, timeout: float
    ) -> None:
        self._channel = ref(channel)
        self.state = IDLE
        self._target = target
        self._initial = initial
        self._longest = longest
        self._timeout = timeout
        self._backoff = initial
        self._failure: Any = None
        self._pending: dict[ClientStream, None] = {}
        self._watchers: list[asyncio.Future[None]] = []
        self._dialling: Dialling | None = None
        self._greeting: ClientConnection | None = None
        self._timer: Timer | None = None
        self._next_attempt = 0  # ns
        self._leaving: dict[ClientConnection, None] = {}  # the server goes away; RPCs on them may end

    @property
    def channel(self) -> Channel:
        """Whose this is. A weak reference: see `Channel.__del__`."""
        channel = self._channel()
        assert channel is not None, "a channel that is gone has shut its subchannel down"
        return channel

    # RPCs

    def submit(self, stream: ClientStream) -> None:
        """Takes an RPC that has no connection to go on."""
        if self.state is SHUTDOWN:
            stream.finish(status.Status(status.CANCELLED, "Channel closed!", (), ""))
            return
        if self.state is IDLE:
            self.connect()
        if self.state is TRANSIENT_FAILURE and not stream.wait_for_ready:
            stream.finish(self._failure)
        else:
            self._pending[stream] = None

    def withdraw(self, stream: ClientStream) -> None:
        """An RPC that waited has ended otherwise."""
        self._pending.pop(stream, None)

    def refused(self, connection: ClientConnection, stream: ClientStream) -> None:
        """The server has not looked at the RPC because it shuts down: gRPC tries once more by itself."""
        if stream.outcome is not None:
            return
        connection.streams.pop(stream, None)
        stream.connection = None
        stream.tries += 1
        if stream.tries > 1:
            stream.finish(status.failure(status.UNAVAILABLE, "Stream refused by server"))
            return
        self.lost(connection)
        self.submit(stream)

    def streams(self) -> list[ClientStream]:
        """Returns the RPCs under way."""
        connections = [*self._leaving, *((self.channel.connection,) if self.channel.connection else ())]
        return [*self._pending, *(stream for connection in connections for stream in connection.streams)]

    # Connecting

    def connect(self) -> None:
        """Begins an attempt."""
        channel = self.channel
        if self.state is not TRANSIENT_FAILURE:  # which lasts until the channel is ready
            self._set(CONNECTING)
        env = channel.loop.env
        jitter = 1.0 + JITTER * (2.0 * channel.rng.random() - 1.0)
        self._next_attempt = env._now + round(self._backoff * jitter * SECOND)
        self._backoff = min(self._backoff * MULTIPLIER, self._longest)
        target = self._target
        deadline = max(self._next_attempt, env._now + round(self._timeout * SECOND))
        self._set_timer(deadline, self._timed_out)
        self._dialling = channel.simulation.network.dial(
            channel.process, target.host, target.port, self._dialled
        )

    def _dialled(self, endpoint: Endpoint | None, why: str) -> None:
        self._dialling = None
        if self._channel() is not None:
            self.channel.enter(self._connected, endpoint, why)

    def _connected(self, endpoint: Endpoint | None, why: str) -> None:
        if self.state is SHUTDOWN:
            if endpoint is not None:
                endpoint.close()
        elif endpoint is None:
            self._failed(self._target.refusal(why))
        elif not endpoint.open:
            endpoint.close()
        else:
            channel = self.channel
            self._greeting = ClientConnection(channel.simulation, endpoint, self)
            self._greeting.greet()

    def ready(self, connection: ClientConnection) -> None:
        """The server has answered: RPCs go out."""
        if connection is not self._greeting:
            return
        self._greeting = None
        self._clear_timer()
        self._backoff = self._initial
        self.channel.connection = connection
        self._set(READY)
        pending, self._pending = self._pending, {}
        for stream in pending:
            stream.go(connection)

    def _timed_out(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
            self._failed(self._target.refusal("connection timed out"))
        elif self._greeting is not None:
            self._greeting.endpoint.close()
            self._greeting = None
            self._failed(self._target.mute())

    def _failed(self, details: str) -> None:
        self._failure = status.failure(status.UNAVAILABLE, details)
        self._set(TRANSIENT_FAILURE)
        pending, self._pending = self._pending, {}
        for stream in pending:
            if stream.wait_for_ready:
                self._pending[stream] = None
            else:
                stream.finish(self._failure)
        self._set_timer(max(self._next_attempt, self.channel.loop.env._now), self._again)

    def _again(self) -> None:
        self._timer = None
        if self.state is TRANSIENT_FAILURE:
            self.connect()

    # Losing the connection

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone, or takes nothing new."""
        if connection is self._greeting:
            self._greeting = None
            self._clear_timer()
            self._failed(self._target.refusal("Connection reset by peer"))
            return
        if self.state is SHUTDOWN or connection is not self.channel.connection:
            return
        self.channel.connection = None
        if connection.open:
            connection.leaving = True
            connection.detour += 1
            self._leaving[connection] = None
            self.release(connection)
        self._set(IDLE)
        if self._pending:
            self.connect()

    def release(self, connection: ClientConnection) -> None:
        """An RPC on the connection has ended."""
        if connection.leaving and not connection.streams:
            connection.leaving = False
            connection.detour -= 1
            self._leaving.pop(connection, None)
            connection.endpoint.close()

    def shut_down(self) -> None:
        """The channel is closed."""
        self._set(SHUTDOWN)
        self._clear_timer()
        if self._dialling is not None:
            self._dialling.cancel()
        for connection in (self._greeting, self.channel.connection, *self._leaving):
            if connection is not None:
                connection.endpoint.close()
        self._greeting = self.channel.connection = None
        self._leaving.clear()

    def drop(self, connection: ClientConnection | None) -> None:
        """The channel is gone, closed or not: lets go of everything, without a word to anybody.

        Args:
            connection: the channel's.
        """
        self.state = SHUTDOWN
        self._clear_timer()
        if self._dialling is not None:
            self._dialling.cancel()
        for one in (self._greeting, connection, *self._leaving):
            if one is not None:
                one.endpoint.vanish()
        self._greeting = None
        self._leaving.clear()

    # The state

    def _set(self, state: grpc.ChannelConnectivity) -> None:
        if state is self.state:
            return
        self.state = state
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def changed(self, seen: grpc.ChannelConnectivity) -> None:
        """Returns when the state is another than `seen`."""
        while self.state is seen:
            watcher = self.channel.loop.create_future()
            self._watchers.append(watcher)
            await watcher

    def _set_timer(self, at: int, what: Any) -> None:
        self._clear_timer()
        channel = self.channel
        loop = channel.loop
        self._timer = Timer(what, (), channel.process.context, loop, at, FIRE)
        loop.env.push(at, self._timer)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
