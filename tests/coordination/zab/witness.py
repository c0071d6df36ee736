"""Sees all servers, and what no single one can: Zab's properties (III-A, VI; 2.C of the paper's list)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.zab.zxid import epoch_of, follows, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.configuration import Configuration


class Violation(AssertionError):
    """A property does not hold."""


class Witness:
    """What was broadcast, delivered, promised and established, anywhere, ever."""

    def __init__(self) -> None:
        self.broadcast: dict[int, bytes] = {}
        self.order: list[int] = []  # of all deliveries
        self.primaries: dict[int, tuple[int, int]] = {}  # of each epoch: server and incarnation
        self.promised: dict[int, int] = {}  # what each server told: f.p
        self.entered: dict[int, int] = {}  # and f.a

    def proposed(self, zxid: int, transaction: bytes) -> None:
        """A primary has broadcast."""
        self._hold(zxid not in self.broadcast, f"{text(zxid)} was proposed twice")
        self.broadcast[zxid] = transaction

    def established(self, epoch: int, server: int, incarnation: int, delivered: int) -> None:
        """A leader is ready: one at most an epoch, and it has delivered all of earlier ones.

        There may be a later one already: then it has slept, and can commit nothing any more.
        """
        here = (server, incarnation)
        self._hold(self.primaries.setdefault(epoch, here) == here, f"two leaders of epoch {epoch}")
        earlier = sum(epoch_of(zxid) < epoch for zxid in self.order)
        self._hold(delivered >= earlier, f"primary integrity: leader {server} has not delivered all")

    def delivered(self, place: int, zxid: int, transaction: bytes) -> None:
        """A server has delivered this as its `place`-th."""
        self._hold(self.broadcast.get(zxid) == transaction, f"integrity: {text(zxid)} was never broadcast")
        if place < len(self.order):
            self._hold(
                self.order[place] == zxid,
                f"total order: {text(zxid)} and {text(self.order[place])} are both delivered at {place}",
            )
            return
        self._hold(place == len(self.order), "a delivery was left out")
        last = self.order[-1] if self.order else 0
        self._hold(follows(zxid, last), f"primary order: {text(zxid)} after {text(last)}")
        self._hold(
            epoch_of(zxid) >= max(self.primaries, default=0),
            f"global primary order: {text(zxid)} is first delivered after a later epoch is established",
        )
        self.order.append(zxid)

    def committed(self, zxid: int, electorate: Configuration, durable: Callable[[int], bool]) -> None:
        """A leader has committed: a quorum has it on stable storage."""
        having = [server for server in electorate.participants if durable(server)]
        self._hold(electorate.is_quorum(having), f"{text(zxid)} is committed, and only {having} have it")

    def told(self, server: int, promised: int, entered: int) -> None:
        """A server says f.p, f.a, or both (0 when not): they never decrease."""
        self._hold(promised >= self.promised.get(server, 0) or not promised, f"f.p of {server} decreased")
        self._hold(entered >= self.entered.get(server, 0) or not entered, f"f.a of {server} decreased")
        self.promised[server] = max(promised, self.promised.get(server, 0))
        self.entered[server] = max(entered, self.entered.get(server, 0))

    def _hold(self, condition: bool, what: str) -> None:
        if not condition:
            raise Violation(what)
