"""Runs that take too much real time: ended from outside, with the culprit named."""

import asyncio
import importlib
import sys
import time

import pytest

from services.host import Host
from sim import World, run, scenario


async def computes_forever(host: Host) -> None:
    await asyncio.sleep(1)
    while True:
        pass


async def yields_forever(host: Host) -> None:
    while True:
        await asyncio.sleep(0.001)


@scenario(checks=("fine",), limit_s=1e9)
async def endless(world: World, *, how: str = "compute") -> None:
    """Never ends."""
    programs = {"compute": computes_forever, "yield": yields_forever}
    await world.start("worker", programs[how])
    await asyncio.sleep(1e9)


def test_a_step_that_never_returns_is_ended_and_its_task_and_line_named() -> None:
    summary = run(endless, limit_s=0.4)
    assert summary.verdict == "error"
    culprit = summary.error.splitlines()[1]
    assert culprit.startswith("  worker: worker (")
    assert "tests/scenario/test_watchdog.py:1" in culprit
    assert culprit.endswith(" in computes_forever")


def test_a_run_that_goes_on_for_too_long_is_ended_and_says_who_waits_where() -> None:
    started = time.monotonic()
    summary = run(endless, {"how": "yield"}, limit_s=0.4)
    assert time.monotonic() - started < 10
    assert summary.error.startswith("the limit of 0.4 s of real time is reached")
    assert "scenario: scenario (endless) waits at" in summary.error


@scenario(checks=("fine",), limit_s=1e9, real_limit_s=0.4)
async def impatient(world: World) -> None:
    """Never ends, and says itself how long it may take."""
    await world.start("worker", yields_forever)
    await asyncio.sleep(1e9)


def test_a_scenario_may_have_a_limit_of_real_time_of_its_own() -> None:
    assert run(impatient).error.startswith("the limit of 0.4 s of real time is reached")
    assert run(impatient, limit_s=0.6).error.startswith("the limit of 0.6 s of real time is reached")


def test_time_in_a_debugger_does_not_count() -> None:
    @scenario(checks=("fine",))
    async def debugged(world: World) -> None:
        """Stands at a prompt for a while."""
        exec(compile("for _ in range(500): sum(range(200_000))", "/usr/lib/python3/pdb.py", "exec"))
        world.check("fine", True)

    assert run(debugged, limit_s=0.8).passed


def test_watching_a_run_does_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog = importlib.import_module("sim.scenario.watchdog")
    unwatched = run("basics/lost-write", seed=11)
    monkeypatch.setattr(watchdog, "_TICK_S", 2e-5)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        watched = [run("basics/lost-write", seed=11) for _ in range(4)]
    finally:
        sys.setswitchinterval(interval)
    assert [summary.trace_sha256 for summary in watched] == [unwatched.trace_sha256] * 4
