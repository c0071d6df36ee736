"""The commonest RPC, written out: a unary request and its reply, with nothing unusual about either.

Each function here does, for a message that arrives, exactly what the general way does (`arrived`, then
`ServerConnection.on_unary` and `CoreServer.begin_unary`, or `ClientStream.on_reply` and `replied`), in one
frame and with as few steps as that takes; whatever is unusual goes the general way from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.trace import Message
from sim.world.network.connection import arrived
from sim.world.rpc import status
from sim.world.rpc.context import Context

if TYPE_CHECKING:
    from sim.world.rpc.stream import ClientStream
    from sim.world.timers import Delivery


def on_reply(stream: ClientStream, data: bytes, sent: int, task: str) -> None:
    """Takes a unary reply the general way."""
    stream.on_reply(data, sent, task)


def _request_arrived(delivery: Delivery) -> None:
    endpoint = delivery.to
    connection = endpoint.owner
    server = connection.server
    stream, data = delivery.args
    handler = server.quick.get(stream.method)
    worker = server.idle
    if (
        handler is None
        or worker is None
        or connection.detour
        or connection.process.halted
        or not endpoint.open
        or len(data) > server.max_receive
    ):
        arrived(delivery)
        return
    if connection.trace is not None:
        connection.trace.write(
            Message(
                connection.env._now,
                connection.local,
                connection.remote,
                stream.sent,
                stream.number,
                stream.method,
                "request",
                len(data),
                "",
                stream.task,
            )
        )
    server.idle = worker.below
    context = worker.context = stream.remote = Context(connection, stream, data, handler, worker)
    connection.last = stream.number
    connection.streams[context] = None
    future = worker.future  # `Worker.serve` and `wake`
    waiting = future._callbacks
    if waiting is None:
        worker.begin()
        return
    wakeup, variables = waiting[0]
    future.remove_done_callback(wakeup)
    variables.run(wakeup, server.settled)


def _reply_arrived(delivery: Delivery) -> None:
    endpoint = delivery.to
    connection = endpoint.owner
    stream, data, sent, task = delivery.args
    future = stream.waiter
    if (
        future is None
        or connection.detour
        or connection.process.halted
        or not endpoint.open
        or len(data) > stream.channel.max_receive
    ):
        arrived(delivery)
        return
    if connection.trace is not None:
        connection.trace.append(  # its request has looked whether there is room
            Message(
                connection.env._now,
                connection.local,
                connection.remote,
                sent,
                stream.number,
                stream.method,
                "response",
                len(data),
                "OK",
                task,
            )
        )
    del connection.streams[stream]
    stream.response = data
    stream.outcome = status.FINE
    stream.waiter = None  # nothing may hold itself: memory is given back by counting
    waiting = future._callbacks  # `wake`
    if waiting is None:  # the task has just been cancelled
        return
    wakeup, variables = waiting[0]
    future.remove_done_callback(wakeup)
    stream.channel.pauses.append(future)
    variables.run(wakeup, connection.done)


REQUEST = (_request_arrived,)
REPLY = (_reply_arrived,)
