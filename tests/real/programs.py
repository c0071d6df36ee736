"""What the nodes of these tests run: a service that does what it is told, for effects to be seen outside."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import grpc

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.echo import Echo
from services.host import Host


class Probe(Echo):
    """`Say` carries a command as JSON; its result comes back as JSON."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.calls = 0

    async def Say(self, request: Words, context: Any) -> Words:
        if not request.text.startswith("{"):
            self.calls += 1
            return request
        command = json.loads(request.text)
        result = await getattr(self, command.pop("do"))(**command)
        return Words(text=json.dumps(result))

    def Gather(self, request_iterator: Any, context: Any) -> Words:  # type: ignore[override]
        """Plain: grpc.aio runs it in a thread."""
        texts = [request.text for request in request_iterator]
        if "abort" in texts:
            context.abort(
                grpc.StatusCode.NOT_FOUND, " ".join(key for key, _ in context.invocation_metadata())
            )
        return Words(text=" ".join(texts), number=len(texts))

    async def count(self) -> int:
        return self.calls

    async def append(self, path: str, data: str) -> int:
        file = await self.host.disk.open(path, "a")
        try:
            await file.append(data.encode())
            return await file.size()
        finally:
            await file.close()

    async def append_open(self, path: str, data: str) -> None:
        self.kept = await self.host.disk.open(path, "a")
        await self.kept.append(data.encode())

    async def sync(self, path: str) -> str:
        try:
            await self.kept.sync()
        except OSError as exc:
            return str(exc.errno)
        return "synced"

    async def try_append(self, path: str, data: str) -> str:
        try:
            await self.append(path, data)
        except OSError as exc:
            return str(exc.errno)
        return "written"

    async def read(self, path: str) -> str:
        file = await self.host.disk.open(path)
        data = await file.read()
        await file.close()
        return data.decode(errors="replace")

    async def write_many(self, count: int) -> float:
        start = time.perf_counter()
        for number in range(count):
            await self.append(f"many/{number}", "x" * 1000)
        return time.perf_counter() - start

    async def clock(self) -> list[float]:
        return [self.host.clock.time() - time.time(), self.host.clock.lie]  # type: ignore[attr-defined]

    async def burn(self, turns: int) -> float:
        start = time.perf_counter()
        for _ in range(turns):
            pass
        return time.perf_counter() - start

    async def compute(self, number: int) -> list[Any]:
        return await self.host.compute(square, number)

    async def compute_fails(self) -> str:
        try:
            await self.host.compute(int, "no number")
        except ValueError as exc:
            return str(exc)
        return "no error"

    async def compute_dies(self) -> str:
        try:
            await self.host.compute(os.abort)
        except RuntimeError as exc:
            return type(exc).__name__
        return "no error"

    async def call(self, peer: str, text: str, timeout: float) -> str:
        async with self.host.connect(peer) as channel:
            try:
                reply = await echo_pb2_grpc.EchoStub(channel).Say(Words(text=text), timeout=timeout)
            except grpc.aio.AioRpcError as exc:
                return exc.code().name
            return reply.text


def square(number: int) -> list[Any]:
    return [number * number, os.getpid()]


async def probe(host: Host) -> None:
    server = host.serve()
    echo_pb2_grpc.add_EchoServicer_to_server(Probe(host), server)
    await server.start()
    host.trace("ready", port=50051)
    await server.wait_for_termination()


async def fails(host: Host, why: str) -> None:
    raise RuntimeError(why)


async def fails_later(host: Host) -> None:
    await asyncio.sleep(0.05)
    raise RuntimeError("not for long")


async def mute(host: Host) -> None:
    """Serves nothing."""
    await asyncio.sleep(60)


async def stubborn(host: Host) -> None:
    """Does not end when it is cancelled."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


async def adopted(answer: str) -> None:
    """Knows no Host: plain grpc.aio, of which it asks itself a question."""

    class Service(Echo):
        async def Say(self, request: Words, context: Any) -> Words:
            return Words(text=f"{answer} {request.text}")

    server = grpc.aio.server()
    echo_pb2_grpc.add_EchoServicer_to_server(Service(), server)
    assert server.add_insecure_port("[::]:50051") == 50051
    await server.start()
    async with grpc.aio.insecure_channel("localhost:50051") as channel:
        assert (await echo_pb2_grpc.EchoStub(channel).Say(Words(text="me"))).text == f"{answer} me"
    await server.wait_for_termination()


class Parent(Probe):
    """A probe that has a child, which never returns."""

    async def start_child(self) -> int:
        from tests.real import calls

        heard: list[int] = []
        self.child = self.host.child(heard=heard.append)
        self.call = asyncio.ensure_future(self.child.run(calls.hang))
        while not heard:
            await asyncio.sleep(0.005)
        return heard[0]


async def parent(host: Host) -> None:
    server = host.serve()
    echo_pb2_grpc.add_EchoServicer_to_server(Parent(host), server)
    await server.start()
    await server.wait_for_termination()
