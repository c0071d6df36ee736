"""One call at the server's side of the door: who calls, what is recorded of it, and what the service sees."""

from __future__ import annotations

from hmac import compare_digest
from time import time_ns
from typing import TYPE_CHECKING, Any

import grpc

from protos.trace import Message
from services.real.channel import CALL_KEY, credential
from services.real.conveyor import END, Conveyor
from services.real.tracing import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.real.door import Link
    from services.real.host import RealHost

REFUSAL = "this cluster's token is missing from the call's metadata"
LOST = "Socket closed"  # what gRPC says of a connection that broke


class Incoming:
    """One call at the server's side."""

    __slots__ = ("conveyor", "host", "link", "method", "number", "reads", "writes")

    def __init__(self, host: RealHost, link: Link, method: str, number: int) -> None:
        self.host = host
        self.link = link
        self.method = method
        self.number = number
        self.reads = 0
        self.writes = 0
        self.conveyor: Conveyor | None = None

    def received(self, sent: int = 0, size: int = 0) -> None:
        """Records a request."""
        host = self.host
        host.door.received += 1
        if host.tracing.on:
            now = time_ns()
            host.tracing.write(
                Message(
                    now,
                    host.name,
                    self.link.peer,
                    sent or now,
                    self.number,
                    self.method,
                    "request",
                    size,
                    "",
                    "",
                    self.reads,
                )
            )
            self.reads += 1

    def sent(self, code: str = "") -> None:
        """Records a response."""
        host = self.host
        host.door.sent += 1
        if host.tracing.on:
            host.tracing.sent(
                Sent(
                    time_ns(),
                    host.name,
                    self.link.peer,
                    self.number,
                    self.method,
                    "response",
                    0,
                    code,
                    self.writes,
                )
            )
            self.writes += 1

    async def read(self, message: Any) -> None:
        """Lets in a message of a stream."""
        if self.link.rule is not None:
            await self.link.carried_in()
        if message is not grpc.aio.EOF:
            self.received()

    async def write(self, context: Any, message: Any) -> None:
        """Sends a message of a stream."""
        self.sent()
        if self.host.door.losing:
            await self.lose(context)
        if self.link.rule is not None or self.conveyor is not None:
            if self.conveyor is None:
                self.conveyor = Conveyor(self.link, context.write, context.done)
            await self.conveyor.put(message)
        else:
            await context.write(message)

    async def end(self, context: Any, code: str) -> None:
        """Lets out the end of a call."""
        self.sent(code)
        await self.leave(context)

    async def leave(self, context: Any) -> None:
        """Waits at the rules, and loses the reply if it is to be."""
        if self.conveyor is not None:
            await self.conveyor.put(END)
            await self.conveyor.drained()
        elif self.link.rule is not None:
            await self.link.carried_out()
        if self.host.door.losing:
            await self.lose(context)

    async def lose(self, context: Any) -> None:
        """Has the reply lost, if it is to be: the caller sees the connection break."""
        if context.done():  # it is lost already, and the handler went on: a second abort is an error
            return
        if self.host.door.loses_reply(self.method):
            context.set_trailing_metadata(())
            await context.abort(grpc.StatusCode.UNAVAILABLE, LOST)


class Context:
    """What a handler gets for its context: the real one, without the door's metadata."""

    __slots__ = ("_call", "_inner")

    def __init__(self, inner: Any, call: Incoming) -> None:
        self._inner = inner
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def invocation_metadata(self) -> Any:
        """Returns the metadata that the caller sent."""
        return own_metadata(self._inner.invocation_metadata())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Has `callback` called, with what the handler knows as its context, when the call has ended."""
        self._inner.add_done_callback(lambda _: callback(self))

    async def read(self) -> Any:
        """Reads the next message of the caller's."""
        message = await self._inner.read()
        await self._call.read(message)
        return message

    async def write(self, message: Any) -> None:
        """Writes a message to the caller."""
        await self._call.write(self._inner, message)

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Sends the initial metadata."""
        if self._call.link.rule is not None:
            await self._call.link.cleared()
        await self._inner.send_initial_metadata(metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        """Ends the call with an error."""
        if not self._inner.done():
            await self._call.end(self._inner, getattr(code, "name", str(code)))  # a number does, too
        await self._inner.abort(code, details, trailing_metadata)

    async def abort_with_status(self, status: grpc.Status) -> None:
        """Ends the call with an error."""
        await self.abort(status.code, status.details, status.trailing_metadata)


class PlainContext:
    """The same for a plain handler, which runs in a thread and may wait there.

    Args:
        inner: the real context.
        leave: records and lets out the end of the call, by the name of its status code.
    """

    def __init__(self, inner: Any, leave: Callable[[str], None]) -> None:
        self._inner = inner
        self._leave = leave

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def invocation_metadata(self) -> Any:
        """Returns the metadata that the caller sent."""
        return own_metadata(self._inner.invocation_metadata())

    def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        """Ends the call with an error."""
        self._leave(getattr(code, "name", str(code)))
        self._inner.abort(code, details, trailing_metadata)


def own_metadata(metadata: Any) -> Any:
    """Returns the metadata without the door's."""
    return tuple(
        (key, value.rpartition(" ")[0]) if key == "user-agent" else (key, value)
        for key, value in metadata
        if key != CALL_KEY
    )


def caller(agent: str, token: str) -> str | None:
    """Returns who calls, by the user agent; None when that does not hold the token."""
    proof, _, name = agent.rpartition(" ")[2].rpartition("/")
    return name if compare_digest(f"{proof}/".encode(), credential(token, "").encode()) else None


def admit(host: RealHost, method: str, context: Any, *, streaming: bool) -> Incoming | None:
    """Returns the call, or None when it lacks the token."""
    agent, about = "", "0 0 0"
    for key, value in context.invocation_metadata():
        if key == "user-agent":
            agent = value
        elif key == CALL_KEY:
            about = value
    link = host.callers.get(agent)
    if link is None:
        name = caller(agent, host.token)
        if name is None:
            return None
        link = host.callers[agent] = host.door.link(name)
    number, sent, size = about.split(" ")
    call = Incoming(host, link, method, int(number))
    if not streaming:
        call.received(int(sent), int(size))
    return call


def code_of(context: Any, otherwise: str) -> str:
    """Returns the status code that a handler set, or another name when it set none."""
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else otherwise
