"""What a coordination service promises, checked over the histories of its clients.

Each check is named after the promise. What scenarios record for them: `sim/check/README.md`.
"""

from __future__ import annotations

from sim.check.coordination.availability import Progress
from sim.check.coordination.convergence import Converged, Durable
from sim.check.coordination.names import SequentialNames
from sim.check.coordination.order import FifoOrder, WriteOrder
from sim.check.coordination.ready import ReadyPattern
from sim.check.coordination.recipes import DoubleBarrier, LockExclusion, LockFairness, NoHerd
from sim.check.coordination.sessions import Ephemerals, Expiry
from sim.check.coordination.sync import SyncedReads
from sim.check.coordination.tree import PrefixReads
from sim.check.coordination.watches import WatchOrder

__all__ = [
    "Converged",
    "DoubleBarrier",
    "Durable",
    "Ephemerals",
    "Expiry",
    "FifoOrder",
    "LockExclusion",
    "LockFairness",
    "NoHerd",
    "PrefixReads",
    "Progress",
    "ReadyPattern",
    "SequentialNames",
    "SyncedReads",
    "WatchOrder",
    "WriteOrder",
]
