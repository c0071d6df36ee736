"""What every story about coordination begins with: an ensemble of servers, and clients that are recorded.

The same in both worlds. Servers are zk1, zk2, ...; the first ones vote, observers come after them. What
clients record is in `clients.py`, in the words of `sim/check/README.md`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from scenarios.coordination.clients import RecordedClient
from services.coordination import server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenarios.coordination.workload import Workload
    from sim import World
    from sim.scenario.api import Program

TICK = 0.2  # seconds: short, so that stories are; ZooKeeper's own is 2
SERVING = ("leader", "follower", "observer")
PATIENCE = 0.5  # seconds for a server to say what it is
STARTING = 30.0  # seconds for a whole ensemble, on a busy machine too


class Ensemble:
    """An ensemble.

    Args:
        world: where.
        participants: how many vote.
        observers: how many only learn.
        settings: what `services.coordination.server.serve` takes, for all of them.

    Attributes:
        names: of the servers.
        voters: of those that vote.
        members: their lines of a configuration.
        program: what a server runs.
    """

    program: Program = staticmethod(server.serve)

    def __init__(self, world: World, participants: int = 3, observers: int = 0, **settings: Any) -> None:
        self.world = world
        self.names = [f"zk{number}" for number in range(1, participants + observers + 1)]
        self.voters = self.names[:participants]
        self.members = [
            f"server.{number}={name}:2888:3888:{'participant' if name in self.voters else 'observer'}"
            for number, name in enumerate(self.names, 1)
        ]
        self.settings = {"tick": TICK, **settings}
        self._operator = world.client("operator")
        self._stubs: dict[str, rpc.CoordinationAsyncStub] = {}
        self._clients: list[RecordedClient] = []

    async def start(self) -> None:
        """Starts them all, and returns when all serve clients."""
        for number, name in enumerate(self.names, 1):
            await self.start_one(name, number, self.members)
        await self.serving(*self.names)

    async def start_one(self, name: str, number: int, members: list[str], **settings: Any) -> None:
        """Starts a server, and does not wait for it."""
        await self.world.start(
            name, self.program, server=number, members=members, **{**self.settings, **settings}
        )

    async def report(self, name: str) -> dict[str, Any]:
        """Returns a server's figures, by the names of `mntr`; {} when it does not answer."""
        if name not in self._stubs:
            self._stubs[name] = rpc.CoordinationStub(self._operator.connect(name))
        try:
            answer = await self._stubs[name].Report(pb.Inquiry(), timeout=PATIENCE)
        except grpc.aio.AioRpcError:
            return {}
        figures: dict[str, Any] = json.loads(answer.json)
        return figures

    async def reports(self) -> dict[str, dict[str, Any]]:
        """Returns the figures of all servers."""
        return dict(
            zip(self.names, await asyncio.gather(*(self.report(name) for name in self.names)), strict=True)
        )

    async def serving(self, *names: str, within: float = STARTING) -> None:
        """Returns when these servers serve clients, with a quorum.

        Raises:
            TimeoutError: naming those that do not.
        """
        waiting = list(names)
        deadline = self.world.now() + within
        while waiting:
            states = await asyncio.gather(*(self.report(name) for name in waiting))
            waiting = [
                name
                for name, figures in zip(waiting, states, strict=True)
                if figures.get("zk_server_state") not in SERVING
            ]
            if waiting:
                if self.world.now() > deadline:
                    raise TimeoutError(f"{', '.join(waiting)} do not serve within {within:g} s")
                await asyncio.sleep(TICK / 4)

    async def leader(self, within: float = STARTING, other_than: str = "") -> str:
        """Returns the server that leads the newest epoch.

        Args:
            within: seconds to find it.
            other_than: a server that is not meant: it led before, and may still believe that it does.

        Raises:
            TimeoutError: nobody leads.
        """
        deadline = self.world.now() + within
        while True:
            leading = {
                name: figures["zk_epoch"]
                for name, figures in (await self.reports()).items()
                if figures.get("zk_server_state") == "leader" and name != other_than
            }
            if leading:
                return max(leading, key=lambda name: leading[name])
            if self.world.now() > deadline:
                raise TimeoutError(f"no server leads within {within:g} s")
            await asyncio.sleep(TICK / 4)

    async def client(
        self, name: str, servers: list[str] | None = None, *, timeout: float = 10 * TICK, within: float = 30.0
    ) -> RecordedClient:
        """Returns a client with an open session, whose requests and answers go into the history.

        Args:
            name: of the client, and of the host on which it is.
            servers: that it may connect to; None for all.
            timeout: of the session, in seconds.
            within: seconds for the session to open.
        """
        client = RecordedClient(self.world, name, servers or self.names, timeout)
        await client.open(within)
        return client

    async def agree(self, within: float = 30.0) -> bool:
        """Waits until all servers have delivered the same, and says whether their trees are equal.

        Each is recorded (`digest`). Nobody may write meanwhile, and sessions must not expire.
        """
        deadline = self.world.now() + within
        while True:
            figures = await self.reports()
            zxids = {one.get("zk_last_zxid") for one in figures.values()}
            if len(zxids) == 1 and None not in zxids:
                break
            if self.world.now() > deadline:
                return False
            await asyncio.sleep(TICK / 2)
        for name, one in figures.items():
            async with self.world.operation("operator", "digest", key=name) as op:
                op.ok({"zxid": one["zk_last_zxid"], "digest": one["zk_tree_digest"]})
        return len({one["zk_tree_digest"] for one in figures.values()}) == 1

    async def settle(self, workload: Workload, clients: Sequence[RecordedClient]) -> None:
        """Ends a story: every client writes once more and reads all, then every server tells all it has."""
        await asyncio.gather(*(workload.once(client) for client in clients))
        await asyncio.gather(*(workload.read_all(client) for client in clients))
        for client in clients:
            await client.close()
        for name in self.names:
            await self.dump(name, workload)
        await self.agree()

    async def dump(self, name: str, workload: Workload | None = None) -> None:
        """Reads the whole tree of one server, and records it (`dump`), after a look at what clients share."""
        client = RecordedClient(self.world, f"reader-{name}", [name], 60 * TICK)
        await client.open()
        if workload is not None:
            await workload.read_all(client)
        await client.dump(name)
        await client.close()
