"""The core stories: each holds, and fails where what protects is taken away."""

from __future__ import annotations

import pytest

from sim import run
from sim.scenario.summary import Summary


def story(name: str, seed: int = 1, **parameters: object) -> Summary:
    return run(f"spanner/{name}", parameters, seed=seed, plots=False)


def broken(told: Summary) -> set[str]:
    return {check.name for check in told.checks if not check.ok}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("leader-handover", {"before": 0.5, "lease": 1.5}),
        ("lease-disjoint", {"rounds": 1, "lease": 1.0}),
        ("2pc-coordinator-crash", {"step": "asked"}),
        ("2pc-coordinator-crash", {"step": "prepared"}),
        ("2pc-coordinator-crash", {"step": "decided"}),
        ("2pc-participant-crash", {"step": "asked"}),
        ("2pc-participant-crash", {"step": "prepared"}),
        ("2pc-participant-crash", {"step": "decided"}),
        ("lost-commit-reply", {"count": 20}),
        ("zone-failure", {"downtime": 2.0, "lease": 1.0}),
        ("deadlock", {"rounds": 5}),
        ("hot-key", {"clients": 8, "seconds": 0.5}),
    ],
)
def test_they_hold(name: str, parameters: dict[str, object]) -> None:
    told = story(name, **parameters)
    assert told.passed, told.checks


@pytest.mark.parametrize(
    ("name", "parameters", "breaks"),
    [
        ("leader-handover", {"before": 0.5, "lease": 1.5, "notice": False}, {"commits go on"}),
        ("lease-disjoint", {"rounds": 1, "drift": 0.6}, {"TrueTime containment"}),
        ("zone-failure", {"zones": 2, "lease": 1.0}, {"commits go on when the leases are over"}),
        (
            "partition",
            {"age": 0.0, "seconds": 1.0, "clients": 2},
            {"the past can be read on the minority's side"},
        ),
        (
            "deadlock",
            {"rounds": 1, "wounds": False},
            {"only younger ones are wounded", "nobody waits in a circle"},
        ),
        (
            "lost-commit-reply",
            {"count": 20, "outcomes": False},
            {
                "strict-serializable",
                "replay by timestamp",
                "who asks again is told of the first commit",
            },
        ),
    ],
)
def test_without_what_protects_them_they_do_not(
    name: str, parameters: dict[str, object], breaks: set[str]
) -> None:
    assert broken(story(name, 0, **parameters)) == breaks


def test_with_a_new_age_for_each_attempt_a_sweep_finds_who_starves() -> None:
    seeds = range(8, 20)  # of 20 seeds five starve somebody: it is chance
    assert any(
        broken(story("hot-key", seed, clients=12, seconds=1.5, ages=False)) == {"nobody starves"}
        for seed in seeds
    )


def test_two_lead_at_once_where_a_crystal_leaves_its_bound_and_nobody_looks() -> None:
    told = story("lease-disjoint", 0, drift=0.6, evict=False, rounds=1)
    assert {"no two lead at once", "strict-serializable", "external consistency"} <= broken(told)


def test_a_minority_is_heard_again_soon_after_a_partition() -> None:
    """Connections that were cut are left: TCP would try them again only after many seconds."""
    told = story("partition", 0, seconds=2.0, lease=1.0)
    assert told.passed, told.checks
    (after,) = [one.value for one in told.measures if one.name == "the minority commits again after"]
    assert after < 5.0
