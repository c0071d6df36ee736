"""ZooKeeper's protocol in the simulated world: a leader dies under a client, and a minority is cut off."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

from services.coordination.server import serve
from sim.faults import Crash, Isolate
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.coordination.wire.raw import create, request, text
from tests.coordination.wire.test_connection import Client

TICK = 0.2
NAMES = ("zk1", "zk2", "zk3")
INT = struct.Struct(">i").pack


class World:
    """Three servers, and a client's host, on which the story runs."""

    def __init__(self, seed: int = 0) -> None:
        self.simulation = Simulation(seed, limit_s=600)
        self.faults = Faults(self.simulation)
        members = [f"server.{n}={name}:2888:3888" for n, name in enumerate(NAMES, 1)]
        for number, name in enumerate(NAMES, 1):
            own = {"server": number, "members": members, "tick": TICK}
            self.simulation.boot(name, serve, {**own, "wire_address": "0.0.0.0", "wire_port": 2181})
        self.simulation.boot("client")

    async def connect(self, *among: str, session: int = 0, password: bytes = bytes(16)) -> Client:
        """Returns a client of the first server that takes it."""
        while True:
            for name in among or NAMES:
                try:
                    client = Client(*await asyncio.open_connection(name, 2181))
                    await client.greet(session=session, password=password, timeout=4000)
                except (OSError, asyncio.IncompleteReadError):
                    continue
                return client
            await asyncio.sleep(TICK / 2)

    async def mode(self, name: str) -> str:
        """Returns what a server says that it is."""
        try:
            client = Client(*await asyncio.open_connection(name, 2181))
        except OSError:
            return ""
        client.send(b"srvr")
        lines = (await client.rest()).decode().splitlines()
        return next((line.removeprefix("Mode: ") for line in lines if line.startswith("Mode: ")), "")

    async def leader(self) -> str:
        """Returns the leader's name."""
        while True:
            for name in NAMES:
                if await self.mode(name) == "leader":
                    return name
            await asyncio.sleep(TICK)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Runs a story."""

        async def main() -> None:
            await story()

        self.simulation.run(main(), name="client")


def test_a_session_survives_the_death_of_its_leader() -> None:
    world = World()

    async def story() -> None:
        leader = await world.leader()
        client = await world.connect(leader)
        client.send(request(1, 1, create("/a", b"kept")) + request(2, 1, create("/mine", b"", 1)))
        assert [(await client.reply())[2] for _ in range(2)] == [0, 0]
        world.faults.inject(Crash(host=leader))
        assert await client.rest() == b""
        others = [name for name in NAMES if name != leader]
        again = await world.connect(*others, session=client.session, password=client.password)
        assert again.session == client.session
        again.send(request(3, 4, text("/a") + b"\0") + request(4, 3, text("/mine") + b"\0"))
        assert (await again.reply())[3].startswith(text("kept"))
        assert struct.unpack_from(">q", (await again.reply())[3], 44) == (client.session,)

    world.run(story)


def test_a_minority_closes_its_clients_connections_and_their_sessions_expire_or_move() -> None:
    world = World(1)

    async def story() -> None:
        leader = await world.leader()
        first, second = (name for name in NAMES if name != leader)
        stays, moves = await world.connect(first), await world.connect(first)
        for client, path in ((stays, "/stays"), (moves, "/moves")):
            client.send(request(1, 1, create(path, b"", 1)))
            assert (await client.reply())[2] == 0
        world.faults.inject(Isolate(host=first))
        moved = await world.connect(second, session=moves.session, password=moves.password)
        xid = 1
        gone = False
        while not gone:  # pinging, as clients do, until the one that is cut off has expired
            await asyncio.sleep(0.5)
            xid += 1
            moved.send(request(xid, 3, text("/stays") + b"\0"))
            gone = (await moved.reply())[2] == -101
        moved.send(request(xid + 1, 3, text("/moves") + b"\0"))
        assert (await moved.reply())[2] == 0
        world.faults.heal()
        told = await world.connect(first, session=stays.session, password=stays.password)
        assert told.session == 0  # it is over, and the client is told so

    world.run(story)
