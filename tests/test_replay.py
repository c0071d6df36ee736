"""Same scenario, parameters and seed: the same trace, byte for byte, wherever it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

from sim.scenario.discover import names
from tests.pythons import environments

ROOT = Path(__file__).parent.parent
SEED = 7
SMALL = {
    "mapreduce/network-cut": {
        "workers": 10,
        "cut": 3,
        "seconds": 20.0,
        "reduces": 10,
        "split_bytes": 1500,
        "cost_per_byte": 0.01,
    },
    "papers/mapreduce-grep": {"machines": 30, "maps": 60},
    "papers/mapreduce-sort": {"machines": 30, "maps": 60, "reduces": 20},
    "papers/spanner-2pc": {"participants": [1, 2, 50], "transactions": 6, "groups": 60, "servers": 5},
    "papers/spanner-availability": {
        "kinds": ["leader-soft"],
        "groups": 5,
        "clients": 5,
        "reads": 50,
        "until": 8,
    },
    "papers/spanner-microbenchmarks": {
        "replicas": [1, 3],
        "groups": 3,
        "directories": 6,
        "operations": 3,
        "clients": 5,
        "seconds": 0.02,
    },
    "papers/truetime-epsilon": {"hosts": 4, "polls": 2},
    "papers/zab-throughput": {"servers": [3], "operations": 200, "outstanding": 500, "singles": 2},
    "papers/zookeeper-barriers": {"clients": [3], "barriers": 1},
    "papers/zookeeper-broadcast": {"servers": [3], "transactions": 300, "outstanding": 400},
    "papers/zookeeper-failures": {"sessions": 5, "outstanding": 1, "until": 10.0},
    "papers/zookeeper-latency": {"servers": [3], "workers": [1], "creates": 20},
    "papers/zookeeper-throughput": {
        "servers": [3],
        "reads": [0, 100],
        "sessions": 2,
        "outstanding": 5,
        "operations": 100,
    },
    "spanner/2pc-coordinator-crash": {"clients": 1, "seconds": 2.0},
    "spanner/bank": {"clients": 2, "seconds": 2.0},
    "spanner/deadlock": {"rounds": 5},
    "spanner/hot-key": {"clients": 4, "seconds": 0.5},
    "spanner/lease-disjoint": {"clients": 1, "rounds": 1},
    "spanner/leader-crash": {"clients": 2},
    "spanner/leader-handover": {"clients": 2, "before": 0.5, "lease": 1.5},
    "spanner/liar-outvoted": {"polls": 2, "poll_s": 1.0},
    "spanner/lost-commit-reply": {"clients": 2, "count": 5},
    "spanner/movedir-under-load": {"clients": 1, "moves": 1},
    "spanner/partition": {"clients": 1, "seconds": 2.0},
    "spanner/schema-change": {"clients": 1, "changes": 1},
    "spanner/swarm": {"clients": 2, "seconds": 3.0},
    "spanner/time-masters-down": {"poll_s": 1.0, "down_s": 4.0},
    "spanner/zone-failure": {"clients": 1},
}
"""What takes a second or more at its own size."""
OWN_INPUT = "mapreduce/standard-library"
"""Its input is the standard library of the Python that runs it: another one is another story."""

DIGESTS = f"""
import json, sys
from sim import run
small = {SMALL!r}
found = {{name: run(name, small.get(name, {{}}), seed={SEED}, plots=False) for name in sys.argv[1:]}}
print(json.dumps({{name: [r.verdict, r.trace_sha256] for name, r in found.items()}}))
"""


def digests(python: Path, hash_seed: str, scenarios: list[str]) -> dict[str, list[str]]:
    """Runs scenarios once in a process of its own."""
    done = subprocess.run(
        [python, "-c", DIGESTS, *scenarios],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


FOLDERS = sorted({name.partition("/")[0] for name in names()})
RUNS = list(zip_longest(environments().values(), ("0", "1", "31337"), fillvalue=Path(sys.executable)))
"""Each Python that is installed, each with another hash seed; without others, this one with all of them."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("folder", FOLDERS)
def test_neither_the_hash_seed_nor_the_python_changes_a_trace(folder: str) -> None:
    scenarios = [name for name in names() if name.startswith(f"{folder}/") and name != OWN_INPUT]
    first, *others = (digests(python, hash_seed, scenarios) for python, hash_seed in RUNS)
    assert list(first) == scenarios
    for found in others:
        assert found == first
