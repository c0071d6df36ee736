"""Workers: the tasks that run handlers.

grpc.aio starts a task for each RPC; making, registering and ending one costs as much as everything else that
an RPC does here. So a task that has served an RPC waits for the next, as long as nobody could tell it
from a new one: a handler that was cancelled, changed its context, named its task, gave it a callback or an
attribute, or kept it, has used it up, and it ends as it would have in grpc.aio.

Whether a task is used again cannot be seen: a new one has the name of the one whose place it takes, and
takes its first step at once, as the old one would have been woken. (Whoever looks at tasks, a debugger say,
keeps them from being used again, and must not change the run by that.)
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from sys import getrefcount
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

from sim.world.rpc.connection import FRAME, HEADERS
from sim.world.rpc.fast import REPLY, on_reply
from sim.world.rpc.handlers import failed, serve
from sim.world.rpc.waking import Once, pause, wake

if TYPE_CHECKING:
    from sim.world.rpc.context import Context
    from sim.world.rpc.serving import CoreServer


class Worker:
    """A place where RPCs are served, one after the other, by one task as long as that will do.

    Attributes:
        context: the RPC that is served now.
        task: what serves it.
        future: what the task waits on for the next RPC.
        below: the worker that became idle before this one did, while this one is idle.
    """

    __slots__ = ("_name", "_server", "below", "context", "future", "task")

    task: asyncio.Task[Any]

    def __init__(self, server: CoreServer, name: str) -> None:
        self._server = server
        self._name = name
        self.context: Context | None = None
        self.below: Worker | None = None
        self.future = pause(server.loop)

    def serve(self, context: Context) -> None:
        """Serves an RPC; returns when that has ended, or waits for something."""
        self.context = context
        if not wake(self.future, self._server.settled):
            self.begin()

    def begin(self) -> None:
        """Serves with a new task."""
        server = self._server
        self.future = pause(server.loop)
        server.tasks += 1
        self.task = task = server.loop.create_task(
            self._run(), name=self._name, context=server.variables.copy()
        )
        soon = server.loop._soon
        if soon and getattr(soon[-1].callback, "__self__", None) is task:
            del task  # it counts references
            server.loop.run_now(soon.pop())

    def cancel(self, context: Context) -> None:
        """Cancels the handler of an RPC, if this is still serving it."""
        if self.context is context:
            self.task.cancel()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        server, future = self._server, self.future
        once = Once((future,))
        # What a task that nobody has touched looks like, from this very place.
        variables, references, weak_references = copy_context(), getrefcount(task), getweakrefcount(task)
        name, losing, max_send = self._name, server.losing, server.max_send
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
                            connection, stream = context._connection, context._stream
                            context._status_sent = True
                            if connection.endpoint.open:
                                connection.wire.transmit(
                                    FRAME + HEADERS + len(data),
                                    on_reply,
                                    (stream, data, connection.env._now, name),
                                    REPLY,
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
            self.context = None
            if context._callbacks is not None:
                server.run_callbacks(context)
            if server.attentive or not context._connection.endpoint.open:
                server.served(context)
                if server.stopping:
                    return
            self.below = server.idle
            server.idle = self
            if (
                getrefcount(task) != references
                or getweakrefcount(task) != weak_references
                or task.cancelling()
                or task._callbacks is not None
                or task.get_name() is not name
                or copy_context() != variables
            ):
                return
            context = handler = connection = stream = raw = response = data = None  # they may be large
            future._asyncio_future_blocking = True
            await once
