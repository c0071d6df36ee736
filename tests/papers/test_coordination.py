"""The scenarios of the ZooKeeper and Zab papers, small; and what their machines cost."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from scenarios.papers import zookeeper_throughput
from scenarios.papers.coordination.calibration import ZOOKEEPER
from scenarios.papers.coordination.compare import falls
from scenarios.papers.figures import rows
from sim import run
from sim.scenario.errors import InvalidInput
from sim.scenario.summary import Summary

THROUGHPUT: dict[str, Any] = {
    "servers": [3, 5],
    "reads": [0, 100],
    "sessions": 2,
    "outstanding": 10,
    "operations": 200,
}


@cache
def throughput(leader_only: bool = False) -> Summary:
    return run("papers/zookeeper-throughput", {**THROUGHPUT, "leader_only": leader_only})


@pytest.mark.parametrize("leader_only", [False, True])
def test_more_servers_read_more_and_write_less(leader_only: bool) -> None:
    summary = throughput(leader_only=leader_only)
    assert summary.passed, summary


def test_every_number_stands_beside_the_papers() -> None:
    measures = {measure.name: measure.paper for measure in throughput().measures}
    assert measures["Figure 5, 3 servers, 0 % reads (calibrated)"] == 20_849
    assert measures["Table 1, 5 servers, 0 % reads"] == 18_000


def test_the_same_seed_gives_the_same_trace() -> None:
    assert throughput.__wrapped__().trace_sha256 == throughput().trace_sha256


def test_a_broadcast_keeps_its_trend() -> None:
    summary = run("papers/zookeeper-broadcast", {"servers": [3, 7], "outstanding": 400, "transactions": 500})
    assert summary.passed, summary


def test_zab_keeps_its_trends() -> None:
    summary = run(
        "papers/zab-throughput", {"servers": [3], "outstanding": 500, "operations": 300, "singles": 2}
    )
    assert summary.passed, summary


def test_creates_take_a_millisecond() -> None:
    summary = run("papers/zookeeper-latency", {"servers": [3], "workers": [1, 4], "creates": 40})
    assert summary.passed, summary


def test_barriers_hold() -> None:
    summary = run("papers/zookeeper-barriers", {"clients": [3, 6], "barriers": 2})
    assert summary.passed, summary


def test_servers_answer_while_none_fails() -> None:
    summary = run("papers/zookeeper-failures", {"sessions": 5, "outstanding": 2, "until": 10.0})
    assert summary.passed, summary


def test_the_figures_are_whole() -> None:
    assert len(zookeeper_throughput.FIGURE_5[3]) == 11
    assert 90_000 not in zookeeper_throughput.FIGURE_5[5].values()
    assert len(rows("zab_fig6_throughput")) == 6


def test_curves_that_fall() -> None:
    assert falls([3.0, 2.0, 1.0])
    assert not falls([3.0, 4.0])


def test_slower_machines_are_slower_in_all_that_a_request_does() -> None:
    slow = ZOOKEEPER.slower(10)
    assert slow.client_s == pytest.approx(10 * ZOOKEEPER.client_s)
    assert slow.nic_Bps == pytest.approx(ZOOKEEPER.nic_Bps / 10)
    assert slow.sync_s == pytest.approx(10 * ZOOKEEPER.sync_s)
    assert slow.latency_s == pytest.approx(10 * ZOOKEEPER.latency_s)
    assert slow.cores == ZOOKEEPER.cores


def test_real_machines_are_not_the_papers() -> None:
    with pytest.raises(InvalidInput, match="simulated world"):
        run("papers/zookeeper-broadcast", {"servers": [3]}, world="grpc")
