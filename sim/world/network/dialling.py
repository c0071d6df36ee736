"""Opening a connection, as TCP does it: a SYN, an answer or none, and another try."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from sim.world.network.connection import established
from sim.world.timers import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.network.connection import Endpoint
    from sim.world.network.network import Network
    from sim.world.network.path import Path
    from sim.world.process import Process

SYN_TIMEOUT = SECOND  # of the first try to connect; each try doubles it (Linux)
SYN_RETRIES = 6


class Dialling:
    """An attempt to open a connection."""

    def __init__(
        self,
        network: Network,
        process: Process,
        host: str,
        port: int,
        done: Callable[[Endpoint | None, str], None],
    ) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._port = port
        self._done = done
        self._tries = 0
        self._over = False

    def cancel(self) -> None:
        """Gives up; `done` is not called."""
        self._over = True

    def fail(self, why: str) -> None:
        """It cannot be done."""
        if not self._over and not self._process.dead:
            self._over = True
            self._done(None, why)

    def attempt(self) -> None:
        """Sends a SYN."""
        if self._over or self._process.dead:
            return
        network, here = self._network, self._process.name
        try:
            there, back = network.path(here, self._host), network.path(self._host, here)
        except nx.NetworkXNoPath:
            network.after(0, self.fail, f"no route to host {self._host}")
            return
        if there.blocked or back.blocked:
            self._again()
        else:
            network.after(there.delay(0, network.env._now), self._arrive, there, back)

    def _again(self) -> None:
        what = self.attempt if self._tries < SYN_RETRIES else self._time_out
        self._network.after(SYN_TIMEOUT << self._tries, what)
        self._tries += 1

    def _time_out(self) -> None:
        self.fail("connection timed out")

    def _arrive(self, there: Path, back: Path) -> None:
        """The SYN is at the host."""
        network = self._network
        if self._over or self._process.dead:
            return
        if there.blocked or back.blocked:
            self._again()
            return
        found = network._listeners.get((self._host, self._port))
        if found is None:
            network.after(back.delay(0, network.env._now), self.fail, "connection refused")
            return
        owner, accept = found
        near, far = network.join(self._process, owner, there, back)
        far.send(0, established, self._established, near)
        accept(far)

    def _established(self, endpoint: Endpoint | None, why: str) -> None:
        assert endpoint is not None
        if self._over:
            endpoint.abort()
        else:
            self._over = True
            self._done(endpoint, why)
