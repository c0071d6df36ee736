"""Servers of the fake ensemble: the gRPC door before the state in `fake`."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from tests.coordination.client.fake import Connection, Ensemble, decode


class Server(rpc.CoordinationServicer):
    """One server of the fake ensemble.

    Attributes:
        refuses: it closes connections without an answer.
        read_only: it has no quorum.
        mute: it executes but does not answer.
        messages: the number of requests in each message that came.
        hellos: of each connection.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.refuses = self.read_only = self.mute = False
        self.messages: list[int] = []
        self.hellos: list[pb.Connect] = []
        self.connections: dict[Connection, None] = {}
        self.spoil: Any = None  # makes another answer of an answer

    async def Session(self, _: Any, context: Any) -> None:
        hello = (await context.read()).connect
        self.hellos.append(hello)
        if self.refuses or (self.read_only and not hello.read_only):
            return
        if hello.last_zxid > self.ensemble.zxid:
            return
        session = self.ensemble.open(hello)
        if session is None:
            await context.write(pb.ServerMessage(connected=pb.Connected()))
            return
        if session.connection is not None:
            session.connection.over.set()
        connection = session.connection = Connection(session)
        session.heard = asyncio.get_running_loop().time()
        self.connections[connection] = None
        await context.write(
            pb.ServerMessage(
                connected=pb.Connected(
                    session=session.number,
                    password=session.password,
                    timeout_ms=round(1000 * session.timeout),
                    read_only=self.read_only,
                )
            )
        )
        tasks = [
            asyncio.create_task(self._read(connection, context)),
            asyncio.create_task(self._write(connection, context)),
            asyncio.create_task(connection.over.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if session.connection is connection:
                session.connection = None
            self.connections.pop(connection, None)
            for task in tasks:
                task.cancel()
        if connection.outbox and not self.mute:
            await context.write(pb.ServerMessage(replies=pb.Replies(messages=connection.outbox)))

    async def _read(self, connection: Connection, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            connection.session.heard = asyncio.get_running_loop().time()
            self.messages.append(len(message.requests.xids))
            for xid, data in zip(message.requests.xids, message.requests.requests, strict=True):
                if connection.session.connection is not connection:
                    return  # it has moved
                self.ensemble.taken += 1
                breaks = self.ensemble.taken == self.ensemble.breaks_at
                if breaks and not self.ensemble.breaks_after:
                    connection.over.set()
                    return
                self.ensemble.execute(connection, xid, decode(data))
                if breaks:
                    connection.outbox.clear()
                    connection.over.set()
                    return
                if connection.over.is_set() and connection.session.number in self.ensemble.sessions:
                    return
        connection.over.set()

    async def _write(self, connection: Connection, context: Any) -> None:
        while True:
            await connection.wake.wait()
            connection.wake.clear()
            if self.mute:
                continue
            messages, connection.outbox = connection.outbox, []
            if self.spoil is not None:
                messages = [self.spoil(message) for message in messages]
            await context.write(pb.ServerMessage(replies=pb.Replies(messages=messages)))


async def serve(host: Any, server: Server) -> None:
    """The program of one server."""
    grpc_server = host.serve()
    rpc.add_CoordinationServicer_to_server(server, grpc_server)
    await grpc_server.start()
    await grpc_server.wait_for_termination()


async def expiry(host: Any, ensemble: Ensemble) -> None:
    """The program that ends silent sessions."""
    while True:
        await asyncio.sleep(0.05)
        ensemble.tick(asyncio.get_running_loop().time())
