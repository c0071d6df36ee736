"""Bugs that random schedules do not come upon soon: each is planted, and a schedule made for it finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from services.spanner.paxos import InvariantBroken, Position, Settings
from services.spanner.paxos import messages as m
from services.spanner.paxos import outputs as out
from services.spanner.paxos.acceptor import Acceptor
from services.spanner.paxos.leader import Leader
from tests.spanner.paxos.cluster import SECOND, Cluster
from tests.spanner.paxos.witness import Violation
from tests.spanner.planted import plant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RW = "read-write"


def one(below: int) -> int:
    """Chooses 1 where it can."""
    return min(1, below - 1)


class Directed(Cluster):
    """A cluster in which a test says who hears whom."""

    def __init__(self, size: int, settings: Settings | None = None) -> None:
        super().__init__([RW] * size, one, settings=settings or Settings())

    def go_on(
        self, names: Iterable[str], unless: Callable[[str, Any], bool] = lambda sender, message: False
    ) -> None:
        """Has everything arrive among these, and be durable, but messages that are kept back; others wait."""
        among = set(names)
        while True:
            for server in self.up():
                while server.name in among and server.disk.queue:
                    self.durable(server)
            for place, (sender, to, message) in enumerate(self.network):
                if {sender, to} <= among and not unless(sender, message):
                    self.arrive(place)
                    break
            else:
                if not any(server.disk.queue for server in self.up() if server.name in among):
                    return

    def elect(self, name: str, *others: str, unless: Any = lambda sender, message: False) -> None:
        """Has a server stand with the votes of these, until it has them."""
        self.network.clear()
        self.now += 11 * SECOND
        for _ in range(20):
            if self.leads(name):
                return
            self.lead(self.servers[name])
            self.go_on((name, *others), unless)
            if not self.leads(name):
                self.advance(SECOND // 10)
        raise AssertionError(f"{name} was not elected")

    def leads(self, name: str) -> bool:
        paxos = self.servers[name].paxos
        return paxos is not None and isinstance(paxos._role, Leader)


def earlier_reigns_entry() -> None:
    """Figure 8 of Raft's paper: an entry of an earlier reign is with a quorum, and yet may go."""
    cluster = Directed(5, Settings(batch=1))
    cluster.elect("s1", "s2", "s3", "s4", "s5")
    cluster.go_on(cluster.servers)
    s1, s5 = cluster.servers["s1"], cluster.servers["s5"]
    assert s1.paxos is not None
    first = s1.paxos._role.ballot  # type: ignore[union-attr]
    cluster.network.clear()
    cluster.propose(s1)
    cluster.carry(s1)
    cluster.go_on(("s1", "s2"))
    cluster.crash(s1)
    cluster.elect("s5", "s3", "s4", unless=lambda sender, message: isinstance(message, m.Accept))
    cluster.crash(s5)  # its opening entry is with itself only
    cluster.start(s1)

    def opens(sender: str, message: Any) -> bool:
        return isinstance(message, m.Accept) and any(entry.origin != first for entry in message.entries)

    cluster.elect("s1", "s2", "s3", unless=opens)
    for _ in range(5):  # it learns what the others lack
        cluster.go_on(("s1", "s2", "s3"), opens)
        cluster.advance(SECOND // 4)
    assert all(cluster.servers[name].disk.last == 2 for name in ("s2", "s3"))
    cluster.crash(s1)
    cluster.start(s5)
    cluster.elect("s5", "s3", "s4")
    cluster.go_on(("s5", "s3", "s4"))
    assert len(cluster.witness.chosen) >= 2


def test_an_entry_of_an_earlier_reign_is_not_chosen_before_the_own_opening_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier_reigns_entry()
    plant(monkeypatch, Leader, "_agree", "index >= self._opening and ", "")
    with pytest.raises(Violation, match=r"position|two values"):
        earlier_reigns_entry()


def accepted_while_a_checkpoint_came() -> None:
    """Entries were accepted while a checkpoint of less was fetched: they stay."""
    cluster = Directed(3)
    cluster.elect("s1", "s2", "s3")
    cluster.go_on(cluster.servers)
    s1, s3 = cluster.servers["s1"], cluster.servers["s3"]
    assert s1.paxos is not None
    assert s3.paxos is not None
    for _ in range(4):
        cluster.propose(s1)
        cluster.carry(s1)
    cluster.go_on(cluster.servers, lambda sender, message: not isinstance(message, m.Accept))
    entry = s3.paxos._own.log.position(3)
    assert (s3.paxos.applied.index, s3.paxos.last) == (1, 5)
    cluster.input(s3, "fetched", Position(3, entry.timestamp, entry.origin))
    while s3.disk.queue:
        cluster.durable(s3)
    assert s3.paxos.applied.index == 3
    cluster.witness.hold(s3.disk.last == 5, "what was accepted is gone")


def test_what_was_accepted_behind_a_checkpoint_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted_while_a_checkpoint_came()
    old, new = "keep = self.log.rebase(position)", "keep = self.log.rebase(position) and False"
    plant(monkeypatch, Acceptor, "install", old, new)
    with pytest.raises((Violation, InvariantBroken)):
        accepted_while_a_checkpoint_came()


def asked_after_its_lease() -> None:
    """A leader is asked for a timestamp when its lease is over, and there is room in it."""
    cluster = Directed(3)
    cluster.elect("s1", "s2", "s3")
    cluster.go_on(cluster.servers)
    s1 = cluster.servers["s1"]
    assert s1.paxos is not None
    cluster.now = s1.paxos.lease[1] + 1
    cluster.propose(s1)


def test_no_timestamp_is_assigned_after_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_after_its_lease()
    plant(monkeypatch, Leader, "assign", " or not self.lease.holds(now)", "")
    with pytest.raises(Violation, match="after the end of the lease"):
        asked_after_its_lease()


def accepts_without_a_vote() -> None:
    """A replica whose vote is another's accepts nothing new of a greater ballot: it must not forget that."""
    cluster = Directed(3)
    cluster.elect("s1", "s2", "s3")
    cluster.go_on(cluster.servers)
    s3 = cluster.servers["s3"]
    assert s3.paxos is not None
    before = s3.disk.state.promised
    entry = s3.paxos._own.log.position(1)
    greater = m.Accept(before + 1025, 0, 1, entry.origin, (), 1, 1)  # of s2, a round later
    assert s3.paxos._own.proposer(greater.ballot) == "s2"
    s3.paxos.receive("s2", greater, cluster.tt(s3))
    outputs = s3.paxos.take()
    told = [each for each in outputs if isinstance(each, out.Send) and isinstance(each.message, m.Accepted)]
    cluster.witness.hold(not told, "it is told before it is durable")
    written = [each for each in outputs if isinstance(each, out.Write)]
    cluster.witness.hold(any(each.state.promised == greater.ballot for each in written), "not written")


def test_a_promise_without_a_vote_is_durable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    accepts_without_a_vote()
    plant(monkeypatch, Acceptor, "promise", "self._dirty = True", "pass")
    with pytest.raises(Violation):
        accepts_without_a_vote()
