"""Zab's invariants that one server can see broken (VI), asserted as it runs.

Each costs a comparison, and they are always on. What they find is a bug here or in a driver, or a disk that
has forgotten what it confirmed, or a data folder of another ensemble: going on would lose committed
transactions, so the server has to stop. What only an observer of all servers can see (total order, one
leader an epoch) is checked in the tests and in scenarios.
"""

from __future__ import annotations

from services.coordination.zab.zxid import epoch_of, follows, text


class InvariantBroken(AssertionError):
    """A rule that must hold does not: the server must not go on."""


def promises_grow(promised: int, epoch: int) -> None:
    """f.p never decreases (IV, phase 1)."""
    if epoch <= promised:
        raise InvariantBroken(f"f.p would go from {promised} to {epoch}")


def enters_what_it_promised(promised: int, current: int, epoch: int) -> None:
    """f.a becomes e' only if f.p is e', and never decreases (IV, phase 2)."""
    if epoch != promised or epoch < current:
        raise InvariantBroken(f"f.a would go from {current} to {epoch} where f.p is {promised}")


def accepts_only_in_its_epoch(current: int, promised: int, zxid: int) -> None:
    """Invariants 1 and 3: ⟨e, ·⟩ is accepted only if f.a = e, and none of e' < e after e was promised."""
    if not epoch_of(zxid) == current == promised:
        raise InvariantBroken(f"{text(zxid)} would be accepted where f.a is {current} and f.p is {promised}")


def accepts_in_order(last: int, zxid: int) -> None:
    """Invariant 2, and local primary order: accepted in zxid order, without gaps in an epoch."""
    if not follows(zxid, last):
        raise InvariantBroken(f"{text(zxid)} would be accepted right after {text(last)}")


def delivers_what_it_accepted(last: int, zxid: int) -> None:
    """Only what is in the own history is delivered (IV, phase 3)."""
    if zxid > last:
        raise InvariantBroken(f"{text(zxid)} would be delivered, and {text(last)} is the last accepted")


def delivered_stays(committed: int, zxid: int) -> None:
    """What was delivered is never taken out of the history."""
    if zxid < committed:
        raise InvariantBroken(
            f"the history would end at {text(zxid)}, and {text(committed)} was delivered: this server's "
            "data, or the leader's, is of another ensemble, or a disk has lost what it had confirmed"
        )


def truncates_to_what_it_has(common: int | None, zxid: int) -> None:
    """What stays of a history is in it (IV end: a common prefix)."""
    if common != zxid:
        raise InvariantBroken(f"the history would be cut at {text(zxid)}, which is not in it")


def initial_history_unaltered(last: int, told: int) -> None:
    """Invariant 4: the initial history of an epoch is taken over whole."""
    if last != told:
        raise InvariantBroken(f"the leader's history ends at {text(told)}, what arrived ends at {text(last)}")


def epoch_is_new(epoch: int, promised: int, last: int) -> None:
    """e' is above all epochs before it (IV, phase 1)."""
    if epoch <= promised or epoch <= epoch_of(last):
        raise InvariantBroken(f"epoch {epoch} is not new: f.p is {promised}, the last zxid {text(last)}")
