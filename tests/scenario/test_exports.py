import subprocess
import sys

import pytest

import sim


def test_exports_keep_their_names_whatever_was_imported_before() -> None:
    code = (
        "import sim.simulate, sim.scenario.run, sim.scenario\n"
        "from sim import InvalidInput, Summary, World, run, scenario, simulate\n"
        "assert callable(scenario) and callable(simulate) and callable(run)\n"
        "assert sim.simulate is simulate and sim.scenario is scenario\n"
        "from sim.scenario import run as module\n"
        "assert module.run is run"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_that_is_exported_exists_and_nothing_else() -> None:
    for name in sim.__all__:
        assert callable(getattr(sim, name))
    with pytest.raises(AttributeError, match="module 'sim' has no attribute 'simulation'"):
        sim.simulation  # noqa: B018


def test_importing_the_package_imports_none_of_it() -> None:
    code = "import sim, sys; assert not [m for m in sys.modules if m.startswith('sim.')], sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
