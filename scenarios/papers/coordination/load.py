"""The clients of ZooKeeper's 5.1: sessions that keep so many requests outstanding, reads and writes of 1 KB.

They speak the gRPC door's protocol themselves, a request a message, and count what is answered: the machines
of clients are no part of the experiment. A session whose connection breaks does as Apache's Java client does
(`ClientCnxn`, `StaticHostProvider`): it goes round the servers in a random order of its own, rests for up to
a second before each attempt, and gives a server up that takes longer to answer than the session's time-out
divided by the number of servers. Then it asks as much again as was not answered.

The rests matter: after an election the leader is ready first, its followers a moment later. Clients that try
again at once all find the leader, and stay there.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from scenarios.papers.coordination.hardware import REQUEST
from services.coordination.api import Create, GetData, Reply, SetData

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from services.host import Host
    from sim import World

MACHINES = 35
REST_S = 1.0  # before an attempt, at most: `Thread.sleep(r.nextInt(1000))`
LAST_XID = 0x7FFFFFFF

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode
_BROKEN = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError, TimeoutError)


class Load:
    """All clients together.

    Args:
        world: a simulated one.
        targets: names of the servers.
        outstanding: requests of a session that are not answered.
        timeout_ms: of a session.
        away_s: what a session rests longer than the client would, before each attempt to connect again.

    Attributes:
        reads: the share of requests that read; it may change at any time.
        done: requests that were answered.
        failed: answers that were errors.
        lost: connections that broke.
    """

    def __init__(
        self,
        world: World,
        targets: Sequence[str],
        outstanding: int,
        timeout_ms: int = 10_000,
        away_s: float = 0.0,
    ) -> None:
        self._world = world
        self._targets = list(targets)
        self._outstanding = outstanding
        self._timeout_ms = timeout_ms
        self._away_s = away_s
        self._tasks: list[asyncio.Task[Any]] = []
        self.reads = 0.0
        self.done = self.failed = self.lost = 0

    def add(self, sessions: int, spread: Sequence[str], name: str = "clients") -> None:
        """Starts sessions.

        Args:
            sessions: how many.
            spread: the servers that they begin with, in turn.
            name: of their machines, before the number.
        """
        chance = self._world.stream("load")
        for number in range(sessions):
            host = self._world.client(f"{name}{number % MACHINES}")
            session = _Session(self, host, chance, f"/{name}{number}")
            first = spread[number % len(spread)]
            self._tasks.append(self._world.spawn(session.run(first), name=f"session {number}"))

    async def stop(self) -> None:
        """Ends them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def rate(self, seconds: float) -> float:
        """Returns the requests a second that are answered within the next seconds."""
        before = self.done
        await asyncio.sleep(seconds)
        return (self.done - before) / seconds


class _Session:
    """One session."""

    def __init__(self, load: Load, host: Host, chance: random.Random, path: str) -> None:
        self._load = load
        self._host = host
        self._chance = chance
        self._xid = 0
        self._id, self._password, self._zxid = 0, b"", 0
        self._create = _encode(Create(path, bytes(REQUEST)))
        self._read = _encode(GetData(path))
        self._write = _encode(SetData(path, bytes(REQUEST)))

    async def run(self, first: str) -> None:
        """Asks until it is cancelled."""
        await self._talk(first)
        targets = list(self._load._targets)
        self._chance.shuffle(targets)
        for target in itertools.cycle(targets):
            await asyncio.sleep(self._load._away_s + self._chance.uniform(0.0, REST_S))
            await self._talk(target)

    async def _talk(self, target: str) -> None:
        """Asks one server until the connection breaks."""
        channel = self._host.connect(target, options=(("grpc.use_local_subchannel_pool", 1),))
        opened = False
        try:
            async with asyncio.timeout(self._load._timeout_ms / 1000 / len(self._load._targets)):
                call: Any = rpc.CoordinationStub(channel).Session()
                await call.write(
                    pb.ClientMessage(
                        connect=pb.Connect(
                            timeout_ms=self._load._timeout_ms,
                            session=self._id,
                            password=self._password,
                            last_zxid=self._zxid,
                        )
                    )
                )
                answer = await call.read()
            if answer is grpc.aio.EOF:
                return
            connected = answer.connected
            new, self._id, self._password = not self._id, connected.session, connected.password
            if not self._id:  # it had expired
                return
            opened = True
            if new:
                await self._ask(call, self._create)
            for _ in range(self._load._outstanding):
                await self._ask_any(call)
            await self._go_on(call)
            self._load.lost += 1  # it has ended
        except _BROKEN:
            self._load.lost += opened
        finally:
            await channel.close()

    async def _go_on(self, call: Any) -> None:
        """Asks another question for each answer."""
        load = self._load
        while (message := await call.read()) is not grpc.aio.EOF:
            for data in message.replies.messages:
                reply = _decode(data)
                self._zxid = reply.zxid
                load.failed += reply.code != 0
                load.done += 1
                await self._ask_any(call)

    async def _ask_any(self, call: Any) -> None:
        await self._ask(call, self._read if self._chance.random() < self._load.reads else self._write)

    async def _ask(self, call: Any, request: bytes) -> None:
        self._xid = self._xid % LAST_XID + 1
        await call.write(pb.ClientMessage(requests=pb.Requests(xids=[self._xid], requests=[request])))
