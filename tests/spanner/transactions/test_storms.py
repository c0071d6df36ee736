"""Random transactions under crashes, depositions and lost messages: strictly serializable, and whole in
the end.

And that this is no empty promise: what a careless implementation leaves out is found out by the same storms.
"""

from __future__ import annotations

from typing import Any

import pytest

from services.spanner.entries import Prepare
from services.spanner.transactions import TransactionSettings, coordinator, participant
from tests.spanner.transactions.storms import storm

ROUGH: dict[str, Any] = {"faults": 12, "keys": 1, "loss": 0.03}


@pytest.mark.parametrize("seed", range(12))
def test_transactions_are_strictly_serializable_and_all_are_decided(seed: int) -> None:
    rough = seed % 2 == 1
    wrong, world, history = storm(seed, **(ROUGH if rough else {}))
    assert not wrong
    assert history.committed() >= 20
    roles = {span["role"] for span in world.spans if span["outcome"] == "committed"}
    assert roles == {"alone", "coordinator", "participant"}


def test_the_same_seed_makes_the_same_history() -> None:
    assert storm(3)[2].events == storm(3)[2].events


def found(seeds: range, **how: Any) -> bool:
    """Says whether a storm shows that something is wrong."""
    for seed in seeds:
        try:
            if storm(seed, **how)[0]:
                return True
        except TimeoutError:
            return True  # it never comes to an end
    return False


def test_without_commit_wait_external_consistency_breaks() -> None:
    settings = TransactionSettings(prepare_s=2.0, undecided_s=0.3, ask_again_s=0.3, commit_wait=False)
    assert found(range(10), settings=settings, epsilon_ns=10_000_000)


def test_locks_freed_before_the_outcome_is_applied_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = coordinator.log

    async def early(reign: Any, one: Any, work: Any, at_least: int, entry: Any) -> int:
        def place(at: int) -> Any:
            reign.loop.call_soon(reign.table.release, one)
            return entry(at)

        return await sound(reign, one, work, at_least, place)

    monkeypatch.setattr(coordinator, "log", early)
    assert found(range(10))


def test_a_prepare_without_its_read_locks_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*fields: Any) -> Prepare:
        return Prepare(*fields[:4], (), *fields[5:])

    monkeypatch.setattr(participant, "Prepare", careless)
    assert found(range(74, 82), **ROUGH)


def test_an_abort_that_is_told_and_neither_logged_nor_remembered_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def presume(self: Any, id: str, tally: Any) -> None:
        self._reign.tallies.pop(id, None)
        self._reign._ended.pop(id, None)
        tally.settle(0)

    monkeypatch.setattr(coordinator.Coordinator, "_log_abort", presume)
    assert found(range(5, 30), **ROUGH)
