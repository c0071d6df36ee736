"""Runs each case in both worlds."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.conformance import door, real, simulated

WORLDS = {"real": real.run, "door": door.run, "sim": simulated.run}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "differs(world=reason): a world is known to differ here, and why")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        worlds = [world for world in WORLDS if world != "door" or "EchoStub" in metafunc.module.__dict__]
        metafunc.parametrize("rig", worlds)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        differs = item.get_closest_marker("differs")
        if differs is not None and isinstance(item, pytest.Function):
            reason = differs.kwargs.get(item.callspec.params["rig"])
            if reason is not None:
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run = WORLDS[arguments.pop("rig")]
    run(lambda rig: pyfuncitem.obj(rig, **arguments))
    return True
