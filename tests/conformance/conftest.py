"""Runs each case in both worlds."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.conformance import real, simulated

WORLDS = {"real": real.run, "sim": simulated.run}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "differs(reason): the simulation is known to differ here, and why")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        metafunc.parametrize("rig", list(WORLDS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        differs = item.get_closest_marker("differs")
        if differs is not None and "[sim" in item.name:
            item.add_marker(pytest.mark.xfail(strict=True, reason=differs.args[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run = WORLDS[arguments.pop("rig")]
    run(lambda rig: pyfuncitem.obj(rig, **arguments))
    return True
