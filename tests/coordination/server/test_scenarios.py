"""The first stories of `scenarios/coordination`, in the simulated world: every promise is kept."""

from __future__ import annotations

import pytest

from sim.explore.sweep import sweep
from sim.scenario.run import run


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("servers", "observers"), [(3, 0), (5, 1)])
def test_a_leader_dies_and_nothing_is_lost(servers, observers):
    parameters = {"servers": servers, "observers": observers, "downtime": 1.0}
    summary = run("coordination/leader-crash", parameters, seed=3)
    assert summary.verdict == "pass", summary
    (written,) = (one for one in summary.measures if one.name == "an acknowledged write after")
    assert written.value < 1.0


@pytest.mark.parametrize("interleave", [False, True])
def test_an_ensemble_survives_its_swarms(interleave):
    result = sweep("coordination/swarm", range(4), {"intensity": 2.0}, interleave=interleave)
    assert result.exit_status == 0, result.failures
