"""A simulated world with fake servers in it, for tests of the client and of the recipes."""

from __future__ import annotations

import asyncio
from typing import Any

from services.coordination.client import Client
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.coordination.client.fake import Ensemble
from tests.coordination.client.fake_server import Server, expiry, serve

TIMEOUT = 3.0


class Rig:
    """Servers zk1, zk2, ..., and hosts of clients, which `client` adds.

    Attributes:
        ensemble: what all servers share.
        servers: by name.
        main: the host that the test itself runs on.
    """

    def __init__(self, servers=1, *, seed=0, interleave=False, limit_s=600.0, recorder=None):
        self.simulation = Simulation(seed, interleave=interleave, limit_s=limit_s, recorder=recorder)
        self.faults = Faults(self.simulation)
        self.ensemble = Ensemble()
        self.servers = {f"zk{number + 1}": Server(self.ensemble) for number in range(servers)}
        for name, server in self.servers.items():
            self.simulation.boot(name, serve, {"server": server})
        self.simulation.boot("leader", expiry, {"ensemble": self.ensemble})
        self.main = self.simulation.boot("main")
        self.errors: list[Any] = []
        self.seconds, self.intensity = 8.0, 2.0  # of bad weather
        self.may_be_down = servers

    @property
    def server(self) -> Server:
        """The only server."""
        (server,) = self.servers.values()
        return server

    def servers_at_risk(self) -> list[str]:
        """Returns the hosts that faults may strike."""
        return list(self.servers)

    def client(self, host=None, **how) -> Client:
        """Returns a client on a host (the test's own when None)."""
        return Client(host or self.main, list(self.servers), **{"timeout": TIMEOUT, **how})

    def run(self, story):
        """Runs `async def story(rig)`; no program may have failed, and no callback."""

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, what: self.errors.append(what))
            await asyncio.sleep(0.01)  # the servers serve
            return await story(self)

        result = self.simulation.run(main(), name="main")
        assert self.simulation.failures == []
        assert self.errors == []
        return result
