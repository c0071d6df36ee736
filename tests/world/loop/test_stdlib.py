"""CPython's own asyncio tests pass on the simulated loop, but for those that `stdlib_suite` names."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "stdlib_suite.py"
ROOT = SUITE.parents[3]
MODULES = (
    "test_base_events",
    "test_context",
    "test_eager_task_factory",
    "test_futures2",
    "test_locks",
    "test_pep492",
    "test_protocols",
    "test_queues",
    "test_runners",
    "test_server",
    "test_staggered",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_transports",
    "test_waitfor",
)
SHIPPED = importlib.util.find_spec("test.test_asyncio") is not None


@pytest.mark.skipif(not SHIPPED, reason="this Python does not ship its own test suite (package `test`)")
def test_asyncio_s_own_tests_pass_on_the_simulated_loop() -> None:
    shipped = [name for name in MODULES if importlib.util.find_spec(f"test.test_asyncio.{name}")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SUITE), *shipped],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["module"] for result in results] == shipped, done.stderr[-2000:]
    assert {name: last for result in results for name, last in result["bad"].items()} == {}
    assert sum(result["ran"] for result in results) > 1200
