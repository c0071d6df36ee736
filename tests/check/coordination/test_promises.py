"""An ensemble that keeps its promises passes all checks."""

from __future__ import annotations

import pytest

from sim.check.coordination import (
    Converged,
    Durable,
    Ephemerals,
    Expiry,
    FifoOrder,
    PrefixReads,
    SequentialNames,
    SyncedReads,
    WatchOrder,
    WriteOrder,
)
from tests.check.coordination.story import Story, holds
from tests.check.ensemble import Ensemble


@pytest.mark.parametrize("seed", range(40))
def test_an_ensemble_that_keeps_its_promises_passes_all_checks(seed: int) -> None:
    story = Ensemble(seed).events
    for check in (
        WriteOrder(),
        FifoOrder(),
        SyncedReads(),
        PrefixReads(),
        WatchOrder(),
        SequentialNames(),
        Ephemerals(),
        Durable(),
        Converged(),
        Expiry(),
    ):
        ok, detail = check(story)
        assert ok, f"{check.name}: {detail}"


@pytest.mark.parametrize("seed", [5, 7])
def test_a_long_history_in_which_many_requests_time_out_is_decided(seed: int) -> None:
    story = Ensemble(seed, clients=11, servers=5, steps=4000).events
    assert sum(event.type == "info" for event in story) > 200
    ok, detail = PrefixReads()(story)
    assert ok, detail
    assert "not known" not in detail


def test_where_nothing_was_asked_no_promise_is_broken() -> None:
    for check in (WriteOrder(), PrefixReads(), Durable(), Ephemerals(), WatchOrder(), SyncedReads()):
        holds(check, Story())
