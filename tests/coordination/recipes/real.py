"""The rig of the client's tests, with the real service in the place of the fake one."""

from __future__ import annotations

import asyncio

from services.coordination.client import Client
from services.coordination.server import serve
from sim.world.faults import Faults
from sim.world.simulation import Simulation

TICK = 0.3
TIMEOUT = 10 * TICK


class RealRig:
    """An ensemble on hosts zk1, zk2, ..., and hosts of clients."""

    def __init__(self, servers=3, *, seed=0, interleave=False, limit_s=600.0, recorder=None, **settings):
        self.simulation = Simulation(seed, interleave=interleave, limit_s=limit_s, recorder=recorder)
        self.faults = Faults(self.simulation)
        self.names = [f"zk{number + 1}" for number in range(servers)]
        self.seconds, self.intensity = 8.0, 2.0  # of bad weather
        self.may_be_down = (servers - 1) // 2
        members = [f"server.{n}={name}:2888:3888:participant" for n, name in enumerate(self.names, 1)]
        for number, name in enumerate(self.names, 1):
            parameters = {"server": number, "members": members, "tick": TICK, **settings}
            self.simulation.boot(name, serve, parameters)
        self.main = self.simulation.boot("main")
        self.errors = []

    def servers_at_risk(self):
        """Returns the hosts that faults may strike."""
        return self.names

    def client(self, host=None, **how) -> Client:
        """Returns a client on a host (the test's own when None)."""
        return Client(host or self.main, self.names, **{"timeout": TIMEOUT, **how})

    def run(self, story):
        """Runs `async def story(rig)`; no program may have failed, and no callback."""

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, what: self.errors.append(what))
            async with self.client():
                pass  # there is a leader
            return await story(self)

        result = self.simulation.run(main(), name="main")
        assert self.simulation.failures == []
        assert self.errors == []
        return result
