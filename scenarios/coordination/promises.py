"""What must hold in every story, whatever happens: ZooKeeper's promises to clients, and its invariants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.check.coordination.convergence import Converged, Durable, SameDigests
from sim.check.coordination.names import SequentialNames
from sim.check.coordination.order import FifoOrder, WriteOrder
from sim.check.coordination.sessions import Ephemerals, Expiry
from sim.check.coordination.sync import SyncedReads
from sim.check.coordination.tree import PrefixReads
from sim.check.coordination.watches import WatchOrder

if TYPE_CHECKING:
    from sim import World

PROMISES: tuple[Any, ...] = (
    WriteOrder(),
    FifoOrder(),
    PrefixReads(),
    SyncedReads(),
    WatchOrder(),
    SequentialNames(),
    Ephemerals(),
    Expiry(slack=0.1),
    Durable(),
    Converged(),
    SameDigests(),
)
"""Checked over the history and the trace of every story with the whole workload."""

INVARIANTS = "invariants"
"""Zab's rules, and the server's own, are asserted as it runs: a server that finds one broken ends."""


def check_invariants(world: World) -> None:
    """Reports whether a server found one of its invariants broken, or ended in another way."""
    broken = [f"{failure.host}: {failure.error}" for failure in world.failures()]
    world.check(INVARIANTS, not broken, "; ".join(broken) or "none broken")


async def majority(world: World, there: bool) -> None:
    """Records that from now on a majority is up and connected, or that there is none."""
    async with world.operation("nemesis", "quorum", there) as op:
        op.ok()
