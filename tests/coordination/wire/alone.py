"""The real server on a broadcast of one, in memory: everything but Zab and the disk.

`Threaded` runs it on a loop of its own in a thread, for clients that block.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Collection
from contextlib import contextmanager
from typing import Any, TypeVar

from services.coordination.configuration import Configuration, Member
from services.coordination.server.frontend import Frontend
from services.coordination.server.server import Server
from services.coordination.server.settings import Settings
from services.coordination.state.prepare import Limits
from services.coordination.wire.door import Door
from services.coordination.wire.four_letter import NAMES
from services.coordination.wire.report import Report

T = TypeVar("T")

ALONE = Configuration((Member(1, "127.0.0.1"),))


class Host:
    """What the server needs of a host."""

    name = "zk1"
    incarnation = 0

    def __init__(self) -> None:
        self.rng = random.Random()
        self.clock = self

    def time(self) -> float:
        return time.time()

    def time_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def trace(self, name: str, **fields: Any) -> None:
        pass


class Broadcast:
    """Delivers at the end of the loop's turn what is proposed in it."""

    server = 1
    phase = "leading"
    epoch = 1
    leader = 1
    configuration = ALONE

    def __init__(self, machine: Server) -> None:
        self._machine = machine
        self._proposed: list[tuple[int, bytes]] = []
        self._zxid = 1 << 32

    @property
    def next_zxid(self) -> int:
        return self._zxid + 1

    @property
    def synchronized(self) -> Collection[int]:
        return (1,)

    def propose(self, transaction: bytes, reconfigure: Configuration | None = None) -> int:
        self._zxid += 1
        if not self._proposed:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._proposed.append((self._zxid, transaction))
        return self._zxid

    def _deliver(self) -> None:
        proposed, self._proposed = self._proposed, []
        for zxid, transaction in proposed:
            self._machine.deliver(zxid, transaction)

    def send(self, to: int, message: Any) -> None:
        self._machine.heard(1, message)


async def start(settings: Settings, limits: Limits | None = None) -> tuple[Server, Door, int]:
    """Starts a server; returns it, its door and its port."""
    server = Server(Host(), ALONE, settings, limits or Limits(reconfigure=settings.reconfigure))  # type: ignore[arg-type]
    server.attach(Broadcast(server))  # type: ignore[arg-type]
    server.ready(1)
    front = Frontend(server)
    door = Door(front, settings, Report(front, {}), NAMES)
    port = await door.start("127.0.0.1", 0)
    return server, door, port


class Threaded:
    """A server in a thread.

    Attributes:
        port: where clients are served.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings(tick=0.2, connections_per_address=0)
        self.port = 0
        self.failures: list[dict[str, Any]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self._stop = asyncio.Event()
        self.server, self.door, self.port = await start(self.settings)
        work = asyncio.ensure_future(self.server.run())
        self._started.set()
        await self._stop.wait()
        work.cancel()
        await self.door.stop()

    def call(self, fn: Callable[[], T]) -> T:
        """Runs a function in the server's thread."""

        async def run() -> T:
            return fn()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5)

    def __enter__(self) -> Threaded:
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self.failures, self.failures


@contextmanager
def threaded(**settings: Any) -> Any:
    """Runs a server with such settings."""
    with Threaded(Settings(**{"tick": 0.2, "connections_per_address": 0, **settings})) as server:
        yield server
