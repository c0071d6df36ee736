"""The streams of the election: votes to and from every member, for as long as both live.

Each server opens one to each member and sends its votes there. A server that is no member yet is answered on
the stream that it opened.

The other side answers each message by an empty one; when no answer comes, the connection is dead, whatever
TCP thinks, and a new one is tried: so a healed partition is noticed within seconds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from protos.coordination_pb2 import Notification
from services.coordination.peer.iteration import broken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from services.host import Context, Host

ELECT = "/dsim.coordination.Peers/Elect"
BEAT = 1.0  # seconds between messages, when there is nothing to say
SILENCE = 3.0  # seconds without an answer after which the connection is given up
CONNECT = 1.5  # seconds that connecting may take
RETRY, RETRY_MAX = 0.05, 1.0  # seconds between attempts
WAITING = 100  # votes that may wait for a stream: the last one says it all

_BEAT = Notification().SerializeToString()
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a channel is a connection of its own
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
)


class Votes:
    """The streams of one server.

    Args:
        host: its door.
        metadata: that says who it is.
        reachable: told the id of a member when a stream to it has opened.
        heard: given each vote.
    """

    def __init__(
        self,
        host: Host,
        metadata: tuple[tuple[str, Any], ...],
        reachable: Callable[[int], None],
        heard: Callable[[Notification], None],
    ) -> None:
        self._host = host
        self._metadata = metadata
        self._reachable = reachable
        self._heard = heard
        self._links: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._queues: dict[int, asyncio.Queue[bytes]] = {}  # of the streams that this server opened
        self._callers: dict[int, asyncio.Queue[bytes]] = {}  # of those that others opened

    def connect(self, members: Mapping[int, str]) -> None:
        """Keeps streams to these members, at these addresses, and no others."""
        for number, (target, task) in list(self._links.items()):
            if members.get(number) != target:
                task.cancel()
                del self._links[number]
        for number, target in members.items():
            if number not in self._links:
                task = asyncio.create_task(self._keep(number, target), name=f"votes to {number}")
                self._links[number] = (target, task)

    def send(self, to: int, vote: Notification) -> None:
        """Sends a vote, if there is a stream."""
        queue = self._queues.get(to) or self._callers.get(to)
        if queue is not None:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(vote.SerializeToString())

    async def close(self) -> None:
        """Ends the streams."""
        tasks = [task for _, task in self._links.values()]
        self.connect({})
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, number: int, target: str) -> None:
        pause = RETRY
        while True:
            channel = self._host.connect(target, options=CHANNEL_OPTIONS)
            try:
                call: grpc.aio.StreamStreamCall[bytes, Notification] = channel.stream_stream(
                    ELECT, request_serializer=None, response_deserializer=Notification.FromString
                )(metadata=self._metadata)
                async with asyncio.timeout(CONNECT):
                    await call.wait_for_connection()
                pause = RETRY
                queue = self._queues[number] = asyncio.Queue(WAITING)
                self._reachable(number)
                await self._talk(call, queue)
            except broken():
                pass
            finally:
                self._queues.pop(number, None)
                await channel.close()
            await asyncio.sleep(pause * (0.5 + self._host.rng.random()))
            pause = min(2 * pause, RETRY_MAX)

    async def _talk(self, call: Any, queue: asyncio.Queue[bytes]) -> None:
        """Sends votes and beats, until the connection breaks or is silent."""
        writing = asyncio.create_task(_write(call.write, queue, beat=BEAT))
        try:
            while True:
                async with asyncio.timeout(SILENCE):
                    answer = await call.read()
                if not answer:
                    return
                if answer.sender:
                    self._heard(answer)
        finally:
            call.cancel()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def serve(self, _: Any, context: Context) -> None:
        """Takes the votes of another server."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        sender = 0
        writing = asyncio.create_task(_write(context.write, queue))
        try:
            while True:
                vote = await context.read()
                if not vote:
                    return
                if not queue.full():
                    queue.put_nowait(_BEAT)
                if vote.sender:
                    sender = vote.sender
                    self._callers[sender] = queue
                    self._heard(vote)
        except broken():
            pass
        finally:
            if self._callers.get(sender) is queue:
                del self._callers[sender]
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def _write(
    write: Callable[[bytes], Any], queue: asyncio.Queue[bytes], beat: float | None = None
) -> None:
    while True:
        try:
            async with asyncio.timeout(beat):
                data = await queue.get()
        except TimeoutError:
            data = _BEAT
        await write(data)
