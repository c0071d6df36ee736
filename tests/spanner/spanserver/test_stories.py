"""The first stories, as tests: a whole universe, simulated."""

from __future__ import annotations

import pytest

from scenarios.spanner.bank import bank
from scenarios.spanner.leader_crash import leader_crash
from sim import run


@pytest.mark.parametrize("interleave", [False, True])
def test_the_bank_keeps_its_money(interleave):
    summary = run(bank, {"seconds": 1.0, "accounts": 6}, seed=4, interleave=interleave)
    assert summary.verdict == "pass", summary.checks


def test_a_leader_that_dies_is_followed_by_another():
    summary = run(leader_crash, {"before": 0.5, "downtime": 1.0, "lease": 1.0}, seed=5)
    assert summary.verdict == "pass", summary.checks


def test_a_universe_replays():
    one, other = (run(bank, {"seconds": 0.5}, seed=6) for _ in range(2))
    assert one.trace_sha256 == other.trace_sha256
