"""A service written for plain grpc.aio moves in unchanged; a lost reply shows what retrying does to it."""

import grpc

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoStub
from scenarios.adopted import till
from sim import World, scenario
from sim.faults import LoseReply


@scenario(checks=("no payment counted twice", "no acknowledged payment lost"))
async def payments(world: World, *, count: int = 10, retry: bool = False) -> None:
    """Ten payments to a till, one reply lost; with --set retry=true the client pays that one twice."""
    await world.start("till", till.main, adopt=True)
    await world.serving("till")
    stub = EchoStub(world.client("shop").connect("till"))
    acknowledged = 0
    for n in range(count):
        if n == count // 2:
            await world.inject(LoseReply(host="till"))
        async with world.operation("shop", "pay", 1) as operation:
            try:
                await stub.Say(Words(number=1), timeout=1)
            except grpc.aio.AioRpcError:
                if not retry:
                    continue  # nobody knows: the operation is recorded as `info`
                await stub.Say(Words(number=1), timeout=1, wait_for_ready=True)
            operation.ok()
            acknowledged += 1
    total = (await stub.Say(Words(number=0), wait_for_ready=True)).number
    world.check("no payment counted twice", total <= count, f"{count} payments, {total} in the till")
    world.check("no acknowledged payment lost", total >= acknowledged, f"{acknowledged} acknowledged")


if __name__ == "__main__":
    payments.main()
