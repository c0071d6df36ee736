"""Time masters and hosts in a simulated world, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import ClockSample, Note
from scenarios.spanner.timekeepers import keep_time
from services.recorder import Recorder
from services.spanner.truetime.master import serve
from sim.check.spanner.containment import Containment
from sim.world.faults import Faults
from sim.world.network.topology import lan
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sim.faults import AnyFault

MS = 1_000_000  # ns
SECOND = 1_000 * MS


class Rig:
    """Three or more masters (all but the last with GPS) and some hosts, on one LAN.

    Args:
        masters: how many.
        hosts: that keep time: h1, ...
        seed: of the run.
        latency_s, jitter_s: of the network, one way.
        settings: of the hosts' timeslaves.

    Attributes:
        names: of the masters: m1, ...
        records: the trace.
    """

    def __init__(
        self,
        masters: int = 3,
        hosts: int = 1,
        *,
        seed: int = 0,
        latency_s: float = 0.001,
        jitter_s: float = 0.0,
        compare_s: float = 10.0,
        **settings: Any,
    ) -> None:
        self.records: list[Any] = []
        self.simulation = Simulation(
            seed=seed, topology=lan(latency_s, jitter_s=jitter_s), recorder=Recorder(keep=self.records.extend)
        )
        self.faults = Faults(self.simulation)
        self.names = [f"m{number}" for number in range(1, masters + 1)]
        self.hosts = [f"h{number}" for number in range(1, hosts + 1)]
        for name in self.names:
            kind = "armageddon" if name == self.names[-1] and masters > 1 else "gps"
            parameters = {"kind": kind, "masters": self.names, "settings": {"compare_s": compare_s}}
            self.simulation.boot(name, serve, parameters)
        for name in self.hosts:
            self.simulation.boot(name, keep_time, {"masters": self.names, "settings": settings})

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs a story to its end; programs that failed fail the test."""
        self.simulation.run(main)
        assert not self.simulation.failures, self.simulation.failures

    def inject(self, *faults: AnyFault) -> list[int]:
        """Makes faults happen; returns their numbers."""
        return [self.faults.inject(fault) for fault in faults]

    def trace(self) -> list[Any]:
        """Returns what the trace holds."""
        assert self.simulation.trace is not None
        self.simulation.trace.flush()
        return self.records

    def notes(self, name: str, host: str = "") -> list[Note]:
        """Returns notes by their name, of one host or of all."""
        return [
            one
            for one in self.trace()
            if isinstance(one, Note) and one.name == name and host in ("", one.host)
        ]

    def polls(self, host: str = "h1") -> list[Note]:
        """Returns the polls of a host that gave a time."""
        return [one for one in self.notes("truetime-poll", host) if one.fields["agreed"]]

    def samples(self, host: str = "h1") -> list[ClockSample]:
        """Returns what a host claimed before and after polls."""
        return [
            one
            for one in self.trace()
            if isinstance(one, ClockSample) and one.host == host and one.bound >= 0
        ]

    def contained(self) -> tuple[bool, str]:
        """Returns the verdict of the check over the trace."""
        watcher = Containment().begin()
        watcher.see(self.trace())
        return watcher.verdict()
