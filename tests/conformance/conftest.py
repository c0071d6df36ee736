"""Runs each case in both worlds."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.conformance import door, real, simulated

WORLDS = {"real": real.run, "door": door.run, "sim": simulated.run_often, "adopted": simulated.run_adopted}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "differs(world=reason): a world is known to differ here, and why")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        speaks_grpc = "EchoStub" in metafunc.module.__dict__
        metafunc.parametrize("rig", list(WORLDS) if speaks_grpc else ["real", "sim"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        differs = item.get_closest_marker("differs")
        if differs is not None and isinstance(item, pytest.Function):
            world = item.callspec.params["rig"]
            reason = differs.kwargs.get("sim" if world == "adopted" else world)
            if reason is not None:
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


def pytest_sessionfinish() -> None:
    real.RUNNER.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run = WORLDS[arguments.pop("rig")]
    run(lambda rig: pyfuncitem.obj(rig, **arguments))
    return True
