"""The papers' scenarios, with fifty machines: the same code, in a second or two."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from sim import run
from sim.scenario.errors import InvalidInput
from sim.scenario.summary import Summary

SMALL: dict[str, Any] = {"machines": 50, "maps": 300, "reduces": 80}


@cache
def sort(seed: int = 0, **params: Any) -> Summary:
    return run("papers/mapreduce-sort", {**SMALL, **params}, seed=seed)


@pytest.mark.parametrize("params", [{}, {"backup": False}, {"kill": 6}], ids=["a", "b", "c"])
def test_a_sort_keeps_the_invariants(params: dict[str, Any]) -> None:
    summary = sort(**params)
    assert summary.passed, summary
    assert [measure.name for measure in summary.measures] == ["total, start-up included"]


def test_a_grep_keeps_the_invariants() -> None:
    summary = run("papers/mapreduce-grep", {"machines": 50, "maps": 300})
    assert summary.passed, summary


def test_killed_workers_cost_time() -> None:
    assert sort(kill=6).virtual_s > sort().virtual_s


def test_the_same_seed_gives_the_same_trace() -> None:
    again = sort.__wrapped__(kill=6)
    assert again.trace_sha256 == sort(kill=6).trace_sha256
    assert again.trace_sha256 != sort(1, kill=6).trace_sha256


def test_messages_are_left_out_of_the_trace(tmp_path: Any) -> None:
    run("papers/mapreduce-grep", {"machines": 20, "maps": 60}, out=tmp_path / "run")
    assert b'"kind":"message"' not in (tmp_path / "run" / "trace.jsonl").read_bytes()


def test_one_worker_must_be_left() -> None:
    summary_or_error = pytest.raises(InvalidInput, match="one must be left")
    with summary_or_error:
        sort(kill=50)


def test_real_machines_are_not_the_papers() -> None:
    with pytest.raises(InvalidInput, match="simulated world"):
        run("papers/mapreduce-grep", SMALL_GREP, world="grpc")


SMALL_GREP: dict[str, Any] = {"machines": 4, "maps": 15}
