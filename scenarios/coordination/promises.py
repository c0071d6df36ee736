"""What must hold in every story, whatever happens: ZooKeeper's promises to clients, and its invariants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import Note
from sim.check.coordination.convergence import Converged, Durable, SameDigests
from sim.check.coordination.names import SequentialNames
from sim.check.coordination.order import FifoOrder, WriteOrder
from sim.check.coordination.sessions import Ephemerals, Expiry
from sim.check.coordination.sync import SyncedReads
from sim.check.coordination.tree import PrefixReads
from sim.check.coordination.watches import WatchOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent
    from sim import World


class AnswersInOrder:
    """No client was answered another request than the first one that waits for an answer.

    The client library ends such a connection, so the history shows no more than that; it says why in the
    trace.
    """

    name = "answers in order"

    def begin(self) -> AnswersInOrder:
        """A run begins."""
        self._states = 0
        self._wrong = ""
        return self

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if isinstance(event, Note) and event.name == "session":
                self._states += 1
                why = str(event.fields.get("why", ""))
                if "answers request" in why and not self._wrong:
                    self._wrong = f"{event.host}: {why}"

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        return not self._wrong, self._wrong or f"{self._states:,} changes of state, none for that reason"


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
    AnswersInOrder(),
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
