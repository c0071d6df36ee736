"""A till that adds up what is paid: a plain grpc.aio service, which knows nothing of dsim."""

import asyncio

import grpc

from protos import echo_pb2, echo_pb2_grpc


class Till(echo_pb2_grpc.EchoServicer):
    """Speaks Echo: the number of `Say` is an amount, and the answer is the total so far."""

    def __init__(self) -> None:
        self.total = 0

    async def Say(self, request, context):  # type: ignore[no-untyped-def]
        """Adds an amount."""
        self.total += request.number
        return echo_pb2.Words(number=self.total)


async def main(port: int = 50051) -> None:
    """Serves until cancelled."""
    server = grpc.aio.server()
    echo_pb2_grpc.add_EchoServicer_to_server(Till(), server)  # type: ignore[abstract]
    server.add_insecure_port(f"[::]:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
