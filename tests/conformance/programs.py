"""Programs that live in a process of their own, so that they can be killed: `async def program(rig, ...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.rig import forever, plain, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig


async def say(request: Any, context: Any) -> Any:
    """Says it back."""
    return request


async def repeat(request: Any, context: Any) -> Any:
    """Says it `number` times, numbered."""
    for number in range(request.number):
        yield words(f"{request.text}{number}", number)


async def gather(requests: Any, context: Any) -> Any:
    """Joins all texts."""
    texts = [request.text async for request in requests]
    return words(" ".join(texts), len(texts))


async def chat(requests: Any, context: Any) -> Any:
    """Says each back as it comes."""
    async for request in requests:
        yield request


ECHO = {"say": say, "repeat": repeat, "gather": gather, "chat": chat}
"""The Echo service by the book: `rig.serve(**ECHO)`."""


async def echo_server(rig: Rig, at: str) -> None:
    """Serves `ECHO`."""
    await rig.serve(at=at, **ECHO)
    rig.note("serving")


async def stalling_server(rig: Rig, at: str) -> None:
    """Takes calls and never finishes one: streams give one message first."""

    async def say(request: Any, context: Any) -> Any:
        rig.note("say", request.text)
        await forever()

    async def repeat(request: Any, context: Any) -> Any:
        yield words("first")
        rig.note("repeat", request.text)
        await forever()

    async def gather(requests: Any, context: Any) -> Any:
        async for request in requests:
            rig.note("gather", request.text)
        await forever()

    async def chat(requests: Any, context: Any) -> Any:
        async for request in requests:
            rig.note("chat", request.text)
            yield request
        await forever()

    await rig.serve(at=at, say=say, repeat=repeat, gather=gather, chat=chat)
    rig.note("serving")


async def unary_client(rig: Rig, target: str) -> None:
    """Makes one call and waits for it."""
    await EchoStub(rig.connect(target)).Say(words("hello"))


async def reading_client(rig: Rig, target: str) -> None:
    """Reads one message of a stream and waits for the next."""
    call = EchoStub(rig.connect(target)).Repeat(words("hello", 2))
    rig.note("read", plain(await call.read()))
    await call.read()


async def writing_client(rig: Rig, target: str) -> None:
    """Writes two messages of a stream and never says that it is done."""
    call = EchoStub(rig.connect(target)).Chat()
    for text in ("one", "two"):
        await call.write(words(text))
        rig.note("wrote", text)
    await call.read()
    await call.read()
    rig.note("heard")
    assert await call.read() is grpc.aio.EOF
