"""A bare grpc.aio server that says back what it hears, until its input ends; prints its port."""

from __future__ import annotations

import asyncio
import sys

import grpc

from protos import echo_pb2_grpc
from services.echo import Echo


async def _serve() -> None:
    server = grpc.aio.server()
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
