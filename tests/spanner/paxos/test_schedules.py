"""Paxos's and the leases' properties under random schedules; what they have found before."""

from __future__ import annotations

import pytest

from services.spanner.paxos import InvariantBroken
from services.spanner.paxos.acceptor import Acceptor
from services.spanner.paxos.leader import Leader
from services.spanner.paxos.lease import Lease
from tests.spanner.paxos.schedules import run, seeded
from tests.spanner.paxos.witness import Violation

FOUND = {
    152: "a ballot given up before its round was reserved was released, and used again after a crash",
    2169: "after many attempts nobody stood for who asked then",
    1943: "two replicas each named the other as leader, and a third went to and fro between them",
    2573: "an entry that was accepted, and never chosen, was measured by a promise for what is chosen",
}


@pytest.mark.parametrize("part", range(6))
def test_every_property_holds_under_every_schedule(part: int) -> None:
    for seed in range(part * 12, (part + 1) * 12):
        try:
            run(seeded(seed))
        except AssertionError as error:
            error.add_note(f"seed {seed}: python -m tests.spanner.paxos.schedules {seed} 1")
            raise


@pytest.mark.parametrize("seed", FOUND)
def test_what_schedules_have_found(seed: int) -> None:
    run(seeded(seed))


def caught(seeds: range) -> bool:
    for seed in seeds:
        try:
            run(seeded(seed))
        except (Violation, InvariantBroken):
            return True
    return False


def test_a_vote_forgotten_in_a_restart_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Acceptor.__init__

    def forgetful(self: Acceptor, *args: object) -> None:
        init(self, *args)  # type: ignore[arg-type]
        self.vote = self.until = 0

    monkeypatch.setattr(Acceptor, "__init__", forgetful)
    assert caught(range(20))


def test_votes_released_before_s_max_has_passed_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(self: Leader, now: object) -> None:
        self.over = self._all_done()

    monkeypatch.setattr(Leader, "_yield", hasty)
    assert caught(range(20))


def test_a_lease_believed_in_after_its_end_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Lease.__init__
    monkeypatch.setattr(Lease, "__init__", lambda self, quorum, lease: init(self, quorum, lease + 3 * 10**9))
    assert caught(range(20))


def test_telling_before_it_is_durable_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acceptor, "tell", lambda self, to, message: self.send(message, to))
    assert caught(range(5))
