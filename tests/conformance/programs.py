"""Programs that live in a process of their own, so that they can be killed: `async def program(rig, ...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.rig import forever, plain, words

if TYPE_CHECKING:
    from services.host import File
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


# For `Rig.crash`: what a host was doing to its disk when it died

UNSYNCED = (
    bytes(range(1, 256)) * 40
)  # 10,200 bytes: some pages, of which no two bytes near each other are alike


async def _file(rig: Rig, path: str, data: bytes) -> File:
    """Makes a file that is durable."""
    file = await rig.disk.open(path, "w")
    await file.append(data)
    await file.sync()
    await rig.disk.sync()
    return file


async def synced(rig: Rig) -> None:
    """Syncs everything."""
    await _file(rig, "log", b"synced")
    rig.note("ready")


async def appended_with_sync(rig: Rig) -> None:
    """Appends and syncs at once."""
    file = await _file(rig, "log", b"syn")
    await file.append(b"ced", sync=True)
    rig.note("ready")


async def half_synced(rig: Rig) -> None:
    """Appends without syncing."""
    file = await _file(rig, "log", b"synced")
    await file.append(UNSYNCED)
    rig.note("ready")


async def overwriting(rig: Rig) -> None:
    """Overwrites without syncing."""
    file = await _file(rig, "log", b"o" * 10_000)
    await file.write(b"n" * 10_000, 0)
    rig.note("ready")


async def renaming(rig: Rig, sync: bool) -> None:
    """Replaces a file by a rename, and syncs the folder or not."""
    await _file(rig, "config", b"old")
    await _file(rig, "config.new", b"new")
    await rig.disk.rename("config.new", "config")
    if sync:
        await rig.disk.sync()
    rig.note("ready")


async def creating(rig: Rig) -> None:
    """Syncs a file, and not its folder."""
    file = await rig.disk.open("log", "w")
    await file.append(b"synced")
    await file.sync()
    rig.note("ready")


async def removing(rig: Rig) -> None:
    """Removes one file for certain, and another perhaps."""
    for path in ("gone", "kept", "perhaps"):
        await _file(rig, path, b"x")
    await rig.disk.remove("gone")
    await rig.disk.sync()
    await rig.disk.remove("perhaps")
    rig.note("ready")


async def truncating(rig: Rig) -> None:
    """Truncates without syncing."""
    file = await _file(rig, "log", b"0123456789")
    await file.truncate(5)
    rig.note("ready")


async def logging(rig: Rig) -> None:
    """Appends and syncs byte after byte; is ready after 50, and goes on."""
    file = await _file(rig, "log", b"")
    for number in range(256):
        await file.append(bytes([number]))
        await file.sync()
        if number == 49:
            rig.note("ready")
