"""A simulated world put together: one seed, one loop, one network, some hosts, one trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.world.chance import Chance
from sim.world.loop import SECOND, Loop
from sim.world.network import Network

if TYPE_CHECKING:
    from services.recorder import Recorder
    from sim.world.host import SimHost

EPOCH = 946_684_800 * SECOND
"""True wall-clock time at the start of every run: 2000-01-01T00:00:00Z, in ns."""


class Simulation:
    """The simulated world.

    Args:
        seed: decides everything.
        recorder: where the trace goes; None writes none.
        interleave: the seed also decides which ready task runs first.
        limit_s: virtual seconds after which the run is ended.

    Attributes:
        loop, network, chance, hosts, trace: its parts; `trace` is None when tracing is off.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        recorder: Recorder | None = None,
        interleave: bool = False,
        limit_s: float | None = None,
    ) -> None:
        self.chance = Chance(seed)
        self.trace = recorder
        self.loop = Loop(
            interleave=self.chance.stream("interleave") if interleave else None,
            limit=round(limit_s * SECOND) if limit_s is not None else None,
        )
        self.network = Network(self.loop.env)
        self.hosts: dict[str, SimHost] = {}

    def now(self) -> int:
        """Returns virtual time in ns."""
        return self.loop.env._now
