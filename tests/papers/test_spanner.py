"""The scenarios of the Spanner paper, small."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest

from scenarios.papers import f1_latencies, spanner_availability, truetime_epsilon
from scenarios.papers.spanner import leaders
from sim import run
from sim.scenario.errors import InvalidInput
from sim.scenario.summary import Summary

MICRO: dict[str, Any] = {
    "groups": 3,
    "directories": 6,
    "operations": 3,
    "clients": 5,
    "seconds": 0.02,
    "runs": 2,
}


def value(summary: Summary, name: str) -> float:
    return next(one.value for one in summary.measures if one.name.startswith(name))


def test_the_points_of_calibration_are_met() -> None:
    summary = run("papers/spanner-microbenchmarks", {**MICRO, "replicas": [1]})
    assert summary.passed, summary
    assert value(summary, "Table 3, latency, write, 1 replicas") == pytest.approx(14.4, rel=0.03)
    assert value(summary, "Table 3, latency, write, 1D replicas") == pytest.approx(9.4, rel=0.05)
    assert value(summary, "Table 3, latency, snapshot read, 1 replicas") == pytest.approx(1.3, rel=0.02)


def test_with_the_papers_mean_uncertainty_paxos_hides_the_commit_wait() -> None:
    summary = run("papers/spanner-microbenchmarks", {**MICRO, "replicas": [1], "epsilon_ms": 4.0})
    assert value(summary, "Table 3, latency, write, 1 replicas") < 11


def test_leaders_are_handed_over_from_run_to_run() -> None:
    few = {**MICRO, "replicas": [3], "without_wait": False, "groups": 6, "clients": 30, "pace": 9000}
    summary = run("papers/spanner-microbenchmarks", few)
    assert summary.passed, summary
    assert value(summary, "3 replicas, write: sd of throughput") > 0


def test_the_urn_has_leaders_in_clumps_and_strata_keep_its_mean() -> None:
    chance = random.Random(1)
    shares = {
        clumping: statistics.mean(map(leaders.most, leaders.draws(chance, 50, 3, clumping, 20))) / 50
        for clumping in (0.01, 0.5, 1e9)
    }
    assert shares[0.01] > 0.9
    assert 0.6 < shares[0.5] < 0.8  # arcsine law
    assert shares[1e9] < 0.45


def test_two_groups_commit_in_two_phases() -> None:
    few = {"participants": [1, 2], "transactions": 6, "groups": 10, "servers": 2, "stalls": False}
    summary = run("papers/spanner-2pc", few)
    assert summary.passed, summary
    assert value(summary, "Table 4, mean, 2") > 1.3 * value(summary, "Table 4, mean, 1")


def test_a_zone_that_leads_nothing_is_not_missed_and_one_that_leads_is() -> None:
    summary = run("papers/spanner-availability", {"groups": 5, "clients": 5, "reads": 50, "until": 8})
    assert summary.passed, summary


def test_f1_waits_for_locks_and_for_other_sites() -> None:
    few = {"commits": 40, "reads": 12, "large": 1, "large_bytes": 240_000, "workers": 4}
    summary = run("papers/f1-latencies", few)
    assert summary.passed, summary
    assert value(summary, "a large read at east 2") > 1.0  # 59 blocks at 18 ms
    assert value(summary, "a large read at east 1") < 0.1


def test_a_share_of_a_mixture_counts_as_much_as_it_has() -> None:
    assert f1_latencies.mixture([1.0, 1.0], [101.0], 0.01) == (
        pytest.approx(2.0),
        pytest.approx(9.95, rel=1e-3),
    )


def test_epsilon_has_the_shape_of_the_figure() -> None:
    summary = run("papers/truetime-epsilon", {"hosts": 5, "polls": 2})
    assert summary.passed, summary


def test_the_figures_are_whole() -> None:
    assert spanner_availability.PAPER["leader-hard"][-1] == (20.0, pytest.approx(1045.8, abs=0.1))
    assert truetime_epsilon.PAPER["April 13, two masters shut"]["90"] == pytest.approx(3.98, abs=0.05)


def test_real_machines_are_not_the_papers() -> None:
    with pytest.raises(InvalidInput, match="simulated world"):
        run("papers/spanner-2pc", {"participants": [1]}, world="grpc")
