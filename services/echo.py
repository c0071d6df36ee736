"""The smallest service: it says back what it heard, in all four shapes of RPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.host import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Host


class Echo(echo_pb2_grpc.EchoServicer):
    """The service of `protos/echo.proto`."""

    async def Say(self, request: Words, context: Any) -> Words:
        """Returns the request."""
        return request

    async def Repeat(self, request: Words, context: Any) -> AsyncIterator[Words]:
        """Returns the request `number` times, numbered."""
        for number in range(request.number):
            yield Words(text=request.text, number=number, payload=request.payload)

    async def Gather(self, request_iterator: AsyncIterator[Words], context: Any) -> Words:
        """Returns the texts joined by spaces, and their count."""
        texts = [request.text async for request in request_iterator]
        return Words(text=" ".join(texts), number=len(texts))

    async def Chat(self, request_iterator: AsyncIterator[Words], context: Any) -> AsyncIterator[Words]:
        """Returns each request as it comes."""
        async for request in request_iterator:
            yield request


async def serve(host: Host, port: int = DEFAULT_PORT) -> None:
    """The program: serves `Echo` until it is stopped."""
    server = host.serve(port)
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    await server.start()
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(None)
