"""Streams between spanservers: one for each ordered pair, for all groups that the two have in common.

Whatever is ready when a stream can take more travels in one message. A stream that breaks loses what
waits for it and what was under way: Paxos asks again. It is opened by the first message, and after it
broke by the next one, with growing pauses: so a server that nobody talks to costs nothing.

A cut that heals leaves TCP to try again in its own time, which may be minutes. So now and then a message asks
for an answer, and where none comes the connection is given up for a new one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from protos import spanner_pb2 as pb
from services.outbox import Outbox
from services.parts import part, varint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from services.host import Context, Host

DELIVER = "/dsim.spanner.Replicas/Deliver"
ASK = 0.5  # seconds between messages that ask for an answer
SILENCE = 2.0  # seconds without the answer after which the connection is given up
CONNECT = 1.5  # seconds that connecting may take
RETRY, RETRY_MAX = 0.05, 1.0  # seconds between attempts

CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a channel is a connection of its own
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
)
BROKEN = (grpc.RpcError, grpc.aio.BaseError, ConnectionError, TimeoutError, asyncio.InvalidStateError)

_GROUP = bytes([pb.Letter.GROUP_FIELD_NUMBER << 3])
_MESSAGE = bytes([pb.Letter.MESSAGE_FIELD_NUMBER << 3 | 2])
_ANSWER = pb.Letters(answer=True).SerializeToString()


def letter(group: int, message: bytes) -> bytes:
    """Returns a `Letters` of one letter. Several one after the other are one of several (protobuf)."""
    content = b"".join((_GROUP, varint(group), _MESSAGE, varint(len(message)), message))
    return part(pb.Letters.LETTERS_FIELD_NUMBER, content)


class Link:
    """The way to one other spanserver.

    Args:
        host: the door.
        to: the other's name.
        metadata: that says who sends.
    """

    def __init__(self, host: Host, to: str, metadata: tuple[tuple[str, str], ...]) -> None:
        self._host = host
        self._to = to
        self._metadata = metadata
        self._outbox = Outbox()
        self._task: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None  # of the present stream

    def put(self, letters: bytes) -> None:
        """Sends, or loses."""
        if not self._outbox.put(letters):  # nobody takes it
            self._outbox = Outbox()
            self._end()
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"link to {self._to}")

    async def close(self) -> None:
        """Ends it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _end(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    async def _keep(self) -> None:
        """Keeps a stream while there is something to say."""
        pause = RETRY
        while True:
            channel = self._host.connect(self._to, options=CHANNEL_OPTIONS)
            try:
                call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(DELIVER)(
                    metadata=self._metadata
                )
                async with asyncio.timeout(CONNECT):
                    await call.wait_for_connection()
                pause = RETRY
                await self._talk(call)
            except BROKEN:
                pass
            finally:
                await channel.close()
            self._outbox = Outbox()
            await asyncio.sleep(pause * (0.5 + self._host.rng.random()))
            pause = min(2 * pause, RETRY_MAX)
            if self._outbox.empty:
                self._task = None
                return

    async def _talk(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        """Sends what there is, until the stream breaks, or is silent where it should not be."""
        loop = asyncio.get_running_loop()
        over = self._over = loop.create_future()
        silent: asyncio.TimerHandle | None = None
        outbox, asked = self._outbox, float("-inf")

        async def send() -> None:
            nonlocal silent, asked
            async for data in outbox.batches():
                if silent is None and loop.time() >= asked + ASK:
                    asked = loop.time()
                    silent = loop.call_later(SILENCE, self._end)
                    data += _ANSWER
                await call.write(data)

        async def read() -> None:
            nonlocal silent
            while await call.read() is not grpc.aio.EOF:
                if silent is not None:
                    silent.cancel()
                    silent = None

        tasks = (asyncio.create_task(send()), asyncio.create_task(read()))
        try:
            await asyncio.wait((*tasks, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if silent is not None:
                silent.cancel()
            for task in tasks:
                task.cancel()
            call.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, BROKEN):
                raise result


class Links:
    """All ways to and from other spanservers.

    Args:
        host: the door.
        universe: servers of different ones do not talk to each other.
        heard: given who sends, and letters.
    """

    def __init__(self, host: Host, universe: str, heard: Callable[[str, Iterable[pb.Letter]], None]) -> None:
        self._host = host
        self._universe = universe
        self._heard = heard
        self._links: dict[str, Link] = {}
        self._incarnations: dict[str, int] = {}
        self.metadata = (
            ("universe", universe.encode().hex()),
            ("server", host.name),
            ("incarnation", str(host.incarnation)),
        )

    def send(self, to: str, letters: bytes) -> None:
        """Sends to a spanserver, or loses it."""
        link = self._links.get(to)
        if link is None:
            link = self._links[to] = Link(self._host, to, self.metadata)
        link.put(letters)

    async def sender(self, context: Context) -> tuple[str, int]:
        """Returns who opened a stream, and in which life; refuses strangers."""
        said = dict(context.invocation_metadata() or ())
        server, universe = str(said.get("server", "")), said.get("universe")
        if universe != self._universe.encode().hex() or server in ("", self._host.name):
            why = f'this is spanserver {self._host.name} of universe "{self._universe}"'
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, why)
        try:
            return server, int(said.get("incarnation", ""))
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "incarnation: not a number")
            raise

    async def deliver(self, context: Context, room: Callable[[], Awaitable[None] | None]) -> None:
        """Takes what another spanserver sends; nothing any more once a later life of it has been heard.

        Args:
            context: of the call.
            room: returns what to wait for before more is read, if anything.
        """
        server, incarnation = await self.sender(context)
        await context.send_initial_metadata(())
        try:
            while batch := await context.read():
                if batch is grpc.aio.EOF or incarnation < self._incarnations.get(server, incarnation):
                    return
                self._incarnations[server] = incarnation
                self._heard(server, batch.letters)
                if batch.answer:
                    await context.write(pb.Received())
                wait = room()
                if wait is not None:
                    await wait
        except BROKEN:
            pass

    async def close(self) -> None:
        """Ends all ways from here."""
        for link in self._links.values():
            await link.close()
