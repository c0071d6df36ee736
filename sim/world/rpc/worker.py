"""Workers: the tasks that run handlers.

grpc.aio starts a task for each RPC; making, registering and ending one costs as much as everything else that
an RPC does here. So a task that has served an RPC waits for the next, as long as nobody could tell it
from a new one: a handler that was cancelled, changed its context, named its task, gave it a callback or an
attribute, or kept it, has used it up, and it ends as it would have in grpc.aio.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from sys import getrefcount
from typing import TYPE_CHECKING
from weakref import getweakrefcount

from sim.world.rpc.connection import FRAME, HEADERS
from sim.world.rpc.handlers import failed, serve
from sim.world.rpc.waking import Waiter, wake_soon

if TYPE_CHECKING:
    from contextvars import Context as Variables

    from sim.world.rpc.context import Context
    from sim.world.rpc.server import Server


class Worker:
    """One task, and the RPC that it serves.

    Args:
        server: whose.
        context: the first RPC.
    """

    __slots__ = ("_name", "_revoked", "_server", "context", "task", "waiter")

    task: asyncio.Task[None] | None

    def __init__(self, server: Server, context: Context) -> None:
        self._server = server
        self.context: Context | None = context
        self.task = None  # until it has begun to run
        self._revoked = False  # the RPC was cancelled before that
        self.waiter = Waiter(server.get_loop, self._give_up)
        variables: Variables = server.variables.copy()
        self._name = server.worker_name()
        server.loop.create_task(self._run(), name=self._name, context=variables)

    def cancel(self, context: Context) -> None:
        """Cancels the handler of an RPC, if this is still serving it."""
        if self.context is not context:
            return
        if self.task is None:
            self._revoked = True  # the handler will not even begin, as a task cancelled at birth does not
        else:
            self.task.cancel()

    def _give_up(self) -> bool:
        """The task is cancelled while it waits for work: it ends."""
        self._server.retire(self)
        wake_soon(self.waiter, self._server._settled, self._server.loop)
        return False

    def _forsake(self, context: Context) -> None:
        """Ends an RPC that was cancelled before its handler began."""
        failed(context, asyncio.CancelledError())
        context._close()
        self.context = context._worker = None
        if context._callbacks is not None:
            self._server.run_callbacks(context)
        self._server.served(context)

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        server = self._server
        if self._revoked:
            assert self.context is not None
            self._forsake(self.context)
            return
        idle = server.idle
        # What a task that nobody has touched looks like, from this very place.
        variables, references, weak_references = copy_context(), getrefcount(task), getweakrefcount(task)
        waiter, name, losing, max_send = self.waiter, self._name, server.losing, server.max_send
        while True:
            context = self.context
            assert context is not None
            handler = context._handler
            if handler is not None and handler.fast:
                try:
                    raw = context._request
                    decode = handler.request_deserializer
                    response = await handler.behaviour(raw if decode is None else decode(raw), context)
                    if context._plain:
                        encode = handler.response_serializer
                        data = response if encode is None else encode(response)
                        if type(data) is not bytes or losing or len(data) > max_send:
                            server.reply(context, data)
                        else:
                            connection = context._connection
                            context._status_sent = True
                            stream = context._stream
                            if connection.endpoint.open:
                                connection.send(
                                    FRAME + HEADERS + len(data),
                                    type(stream).on_reply,
                                    stream,
                                    data,
                                    connection.env._now,
                                    name,
                                )
                            del connection.streams[context]
                            stream.remote = None
                    else:
                        server.finish_unary(context, handler, response)
                except BaseException as exc:
                    failed(context, exc)
                if context._timer is not None or not context._plain:
                    context._close()
            else:
                await serve(server, context)
                context._close()
            self.context = context._worker = None
            if context._callbacks is not None:
                server.run_callbacks(context)
            if server.attentive or not context._connection.endpoint.open:
                server.served(context)
            if (
                getrefcount(task) != references
                or getweakrefcount(task) != weak_references
                or task.cancelling()
                or task._callbacks is not None
                or task.get_name() is not name
                or copy_context() != variables
                or server.stopping
            ):
                return
            context = handler = None
            idle.append(self)
            await waiter
