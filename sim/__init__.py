"""The lab: the simulated world, scenarios, faults, checks, traces and pictures.

What a scenario or a test needs is exported here; the rest has its own modules.

    from sim import World, run, scenario, simulate
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # for type checkers True, as typing's, whose import `dsim` has no time for yet
if TYPE_CHECKING:
    from typing import Any

    from sim.scenario.api import World
    from sim.scenario.definition import scenario
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
    "scenario": "sim.scenario.definition",
    "simulate": "sim.simulate",
}


def __getattr__(name: str) -> Any:
    """Imports what is exported when it is first asked for: `dsim --help` needs none of it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


class _Package(ModuleType):
    """This package, whose exports `scenario` and `simulate` bear the names of modules in it.

    Python binds a submodule in its package when it is imported; here the export keeps the name,
    and the modules are reached as `from sim.scenario.run import ...` all the same.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
