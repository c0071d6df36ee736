"""What is asked of a worker process, and what it answers: one JSON line each."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from sim.faults import Action


class Job(Struct, omit_defaults=True):
    """A run to be made.

    Attributes:
        scenario: what `sim.scenario.discover.find` finds it by.
        params: values of its parameters, as on a command line or from Python.
        out: where a failing run leaves its folder; "" keeps nothing.
        keep: keep the folder of a passing run too.
        limit_s: real seconds that it may take.
    """

    scenario: str
    params: dict[str, Any]
    world: str
    seed: int
    schedule: list[Action] | None = None
    interleave: bool = False
    out: str = ""
    keep: bool = False
    limit_s: float | None = None


class Outcome(Struct, omit_defaults=True):
    """What came of a run.

    Attributes:
        verdict: "pass", "fail", "error", or "invalid" (the arguments cannot be used: `error` says why).
        failed: the checks that were violated, with what they rest on.
        error: why the scenario, or its worker process, failed.
        programs: the programs that ended by raising, though no check noticed.
        folder: what was kept, "" when nothing was.
        replay: the command that runs it again.
        memory_mb: the most that the worker process has used so far.
    """

    seed: int
    verdict: str
    failed: dict[str, str] = {}
    error: str = ""
    programs: list[str] = []
    folder: str = ""
    replay: str = ""
    trace_sha256: str = ""
    virtual_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: int = 0
