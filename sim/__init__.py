"""The lab: the simulated world, scenarios, faults, checks, traces and pictures.

What a scenario or a test needs is exported here; the rest has its own modules.

    from sim import World, run, scenario
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Bound at once: the subpackage of the same name would hide it otherwise.
from sim.scenario.definition import scenario

if TYPE_CHECKING:
    from sim.scenario.api import World
    from sim.scenario.errors import InvalidInput
    from sim.scenario.run import run
    from sim.scenario.summary import Summary
    from sim.simulate import simulate

__all__ = ["InvalidInput", "Summary", "World", "run", "scenario", "simulate"]

_HOME = {
    "InvalidInput": "sim.scenario.errors",
    "Summary": "sim.scenario.summary",
    "World": "sim.scenario.api",
    "run": "sim.scenario.run",
    "simulate": "sim.simulate",
}


def __getattr__(name: str) -> Any:
    """Imports what is exported when it is first asked for: `dsim --help` needs none of it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
