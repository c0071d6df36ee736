"""The swarm: sound code passes, and bugs that are planted in it are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from scenarios.spanner.swarm import swarm
from services.spanner.paxos.acceptor import Acceptor
from services.spanner.transactions import coordinator
from sim import run


def found(seeds: Sequence[int], **parameters: Any) -> list[str]:
    """Returns the checks that the first of these seeds breaks that breaks any."""
    for seed in seeds:
        summary = run(swarm, parameters, seed=seed, interleave=True)
        if summary.verdict != "pass":
            return [one.name for one in summary.checks if not one.ok]
    return []


def test_a_swarm_of_faults_breaks_no_promise() -> None:
    assert found([3], seconds=4.0) == []


def test_a_commit_wait_that_is_left_out_is_found() -> None:
    broken = found(range(8), commit_wait=False)
    assert {"external consistency", "strict-serializable"} & set(broken)


def test_a_vote_that_is_forgotten_in_a_restart_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Acceptor.__init__

    def forgetful(self: Acceptor, *args: object) -> None:
        init(self, *args)  # type: ignore[arg-type]
        self.vote = self.until = 0

    monkeypatch.setattr(Acceptor, "__init__", forgetful)
    assert found(range(20), intensity=6.0)


def test_locks_that_are_released_early_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = coordinator.log

    async def early(reign: Any, one: Any, work: Any, at_least: int, entry: Any) -> int:
        def place(at: int) -> Any:
            reign.loop.call_soon(reign.table.release, one)
            return entry(at)

        return await sound(reign, one, work, at_least, place)

    monkeypatch.setattr(coordinator, "log", early)
    assert found(range(1, 20))
