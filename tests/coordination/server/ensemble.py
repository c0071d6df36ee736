"""Servers on a broadcast that a test holds in its hands: all is delivered in order, when it says so."""

from __future__ import annotations

import asyncio
from collections import deque

from services.coordination.api import Event, Reply
from services.coordination.broadcast import NotLeading
from services.coordination.configuration import Configuration, Member
from services.coordination.front import Hello
from services.coordination.server.frontend import Frontend
from services.coordination.server.server import Server
from services.coordination.server.settings import Settings
from services.coordination.state.prepare import Limits
from sim.world.simulation import Simulation


class FakeBroadcast:
    """One server's end. What others send it waits in `inbox`, and is taken when the ensemble moves."""

    def __init__(self, ensemble, server):
        self.ensemble, self.server = ensemble, server
        self.phase, self.epoch, self.leader = "looking", 0, None
        self.inbox = deque()
        self.held = False

    @property
    def configuration(self):
        return self.ensemble.configuration

    @property
    def next_zxid(self):
        return self.ensemble.zxid + 1

    @property
    def synchronized(self):
        return [one.server for one in self.ensemble.ends.values() if one.leader == self.leader]

    def propose(self, transaction, reconfigure=None):
        if self.phase != "leading":
            raise NotLeading
        self.ensemble.zxid += 1
        if reconfigure is not None:
            self.ensemble.configuration = reconfigure
        self.ensemble.log.append((self.ensemble.zxid, transaction))
        for one in self.ensemble.ends.values():
            if one.leader == self.server:
                one.put("deliver", self.ensemble.zxid, transaction)
        return self.ensemble.zxid

    def send(self, to, message):
        receiver = self.ensemble.ends[to]
        if self.leader is not None and receiver.leader == self.leader:
            # Bytes on the way, as in reality.
            receiver.put("heard", self.server, type(message).FromString(message.SerializeToString()))

    def put(self, *what):
        if not self.inbox:
            asyncio.get_running_loop().call_soon(self.move)
        self.inbox.append(what)

    def move(self):
        """Hands over what waits, in order, unless it is held up."""
        while self.inbox and not self.held:
            name, *arguments = self.inbox.popleft()
            getattr(self.ensemble.servers[self.server], name)(*arguments)

    def let_go(self):
        self.held = False
        self.move()


class Ensemble:
    """Servers 1 to `count` in one process, on one simulated host."""

    def __init__(self, host, count=1, **settings):
        self.configuration = Configuration.of(Member(n, f"zk{n}") for n in range(1, count + 1))
        self.zxid = 1 << 32
        self.log = []
        settings = Settings(**settings)
        limits = Limits(reconfigure=settings.reconfigure)
        self.ends = {n: FakeBroadcast(self, n) for n in range(1, count + 1)}
        self.servers = {n: Server(host, self.configuration, settings, limits) for n in self.ends}
        self.fronts = {n: Frontend(server) for n, server in self.servers.items()}
        for n, server in self.servers.items():
            server.attach(self.ends[n])

    def lead(self, leader=1, epoch=1):
        """Has all follow one."""
        self.look()
        self.zxid = epoch << 32
        for n, end in self.ends.items():
            end.leader, end.epoch = leader, epoch
            end.phase = "leading" if n == leader else "following"
        self.servers[leader].ready(epoch)
        for n, server in self.servers.items():
            if n != leader:
                server.following(leader)

    def look(self):
        """Has the leader lost."""
        for n, end in self.ends.items():
            end.inbox.clear()
            end.leader, end.phase = None, "looking"
            self.servers[n].looking("the test says so")

    async def client(
        self, server=1, session=0, password=b"", last_zxid=0, timeout=10_000, address="", read_only=False
    ):
        client = Client()
        client.connection = await self.fronts[server].connect(
            Hello(timeout, session, password, last_zxid, read_only),
            address,
            client.said.append,
            client.ended.append,
        )
        return client


class Client:
    """A client at a door: what it was told, in order."""

    def __init__(self):
        self.said = []
        self.ended = []
        self.xid = 0
        self.since = 0  # what was asked up to here was asked on an earlier connection

    def submit(self, request):
        self.xid += 1
        self.connection.submit(self.xid, request)
        return self.xid

    async def ask(self, request):
        """Returns the reply."""
        xid = self.submit(request)
        for _ in range(100):
            for said in self.said:
                if isinstance(said, Reply) and said.xid == xid:
                    return said
            await asyncio.sleep(0)
        raise AssertionError(f"no reply to {request}")

    @property
    def replies(self):
        return [said for said in self.said if isinstance(said, Reply)]

    @property
    def events(self):
        return [said for said in self.said if isinstance(said, Event)]


def run(test, count=1, seed=0, lead=True, limit_s=3600, **settings):
    """Runs `test(ensemble)` on a simulated host, with its servers' own work going on."""
    simulation = Simulation(seed, limit_s=limit_s)
    host = simulation.boot("here")

    async def main():
        ensemble = Ensemble(host, count, **settings)
        work = [asyncio.ensure_future(server.run()) for server in ensemble.servers.values()]
        if lead:
            ensemble.lead()
        await test(ensemble)
        for task in work:
            task.cancel()

    simulation.run(main(), name="here")
