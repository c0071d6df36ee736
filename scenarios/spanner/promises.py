"""What must hold in every story with transactions, whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.spanner.accounts import OPENING
from sim.check.spanner.containment import Containment
from sim.check.spanner.leases import Leases
from sim.check.transactions import ExternalConsistency, Isolation, TimestampReplay

if TYPE_CHECKING:
    from sim import World

PROMISES: tuple[Any, ...] = (
    Isolation("strict-serializable", own_writes=False),
    TimestampReplay(),
    ExternalConsistency(),
    Containment(),
    Leases(),
)
"""Checked over the history (TrueTime and leases over the trace) of every story about accounts."""

TOTAL = "the total stays the same"
"""Every audit of all accounts adds up to what was there at first."""

INVARIANTS = "invariants"
"""Rules of Paxos, leases and two-phase commit are asserted: a server that finds one broken ends."""


def check_total(world: World, total: int | None, accounts: int) -> None:
    """Reports what an audit has found; None: it could not be made."""
    if total is not None:
        world.check(TOTAL, total == accounts * OPENING, f"{total} in {accounts} accounts")


def check_invariants(world: World) -> None:
    """Reports whether a server found one of its invariants broken, or ended in another way."""
    broken = [f"{failure.host}: {failure.error}" for failure in world.failures()]
    world.check(INVARIANTS, not broken, "; ".join(broken) or "none broken")
