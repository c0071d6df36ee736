"""An ensemble that has work to do: what most stories of trouble begin and end with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scenarios.coordination.probe import Probe
from scenarios.coordination.promises import check_invariants
from scenarios.coordination.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenarios.coordination.clients import RecordedClient
    from scenarios.coordination.cluster import Ensemble

CALM = 0.5  # seconds of undisturbed work before the trouble begins


class AtWork:
    """An ensemble, and clients that do a little of everything until the story ends. Made by `begin`.

    Attributes:
        ensemble: it.
        people: the clients.
    """

    def __init__(self, ensemble: Ensemble, workload: Workload, people: list[RecordedClient]) -> None:
        self.ensemble = ensemble
        self.people = people
        self._workload = workload
        self._over = asyncio.Event()
        self._probes: list[Probe] = []
        spawn = ensemble.world.spawn
        self._tasks = [spawn(workload.work(client, self._over)) for client in people]

    @classmethod
    async def begin(
        cls,
        ensemble: Ensemble,
        clients: int = 2,
        *,
        servers: Sequence[str] | None = None,
        pause: float = 0.1,
        calm: float = CALM,
    ) -> AtWork:
        """Starts the servers, if nobody has yet, and the clients; returns after a while of calm.

        Args:
            ensemble: the servers.
            clients: how many.
            servers: that they may connect to; None for all.
            pause: seconds that a client thinks, on average; see `Workload`.
            calm: seconds.
        """
        if not ensemble.world.hosts():
            await ensemble.start()
        workload = Workload(pause=pause)
        reach = None if servers is None else list(servers)
        people = [await ensemble.client(f"c{number}", reach) for number in range(1, clients + 1)]
        await workload.prepare(people[0])
        work = cls(ensemble, workload, people)
        await asyncio.sleep(calm)
        return work

    async def probe(
        self, servers: Sequence[str] | None = None, name: str = "probe", every: float = 0.02
    ) -> Probe:
        """Adds a client that measures how long writes take; returns when one is acknowledged.

        Args:
            servers: that it may connect to; None for all.
            name: of it.
            every: seconds from an answer to the next write.
        """
        probe = Probe(await self.ensemble.client(name, None if servers is None else list(servers)), every)
        self._probes.append(probe)
        self._tasks.append(self.ensemble.world.spawn(probe.work(self._over)))
        await probe.acknowledged()
        return probe

    async def end(self) -> None:
        """Ends the work, has all clients and all servers tell what they have, and looks at the invariants."""
        self._over.set()
        await asyncio.gather(*self._tasks)
        for probe in self._probes:
            await probe.client.close()
        await self.ensemble.settle(self._workload, self.people)
        check_invariants(self.ensemble.world)


async def in_step(ensemble: Ensemble, name: str, within: float = 30.0) -> float:
    """Waits until a server has delivered what some other had when this was called; returns how long it took.

    Raises:
        TimeoutError: it does not.
    """
    now = ensemble.world.now
    began = now()
    goal = max(int(one.get("zk_last_zxid", 0)) for one in (await ensemble.reports()).values())
    while int((await ensemble.report(name)).get("zk_last_zxid", 0)) < goal:
        if now() > began + within:
            raise TimeoutError(f"{name} is not in step within {within:g} s")
        await asyncio.sleep(0.02)
    return now() - began
