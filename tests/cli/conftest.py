import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sim.cli import command


class Result(NamedTuple):
    status: int
    out: str
    err: str


Dsim = Callable[..., Result]


@pytest.fixture
def dsim(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dsim:
    """Runs `dsim` as a shell would, in a folder of its own, but within this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        status = command([str(argument) for argument in arguments])
        return Result(status, *capsys.readouterr())

    return run


STORY = '''
"""A story for the tests of the command line."""

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

from sim import World, scenario
from sim.faults import Action, Crash


async def ticker(host):
    while True:
        host.trace("tick")
        await asyncio.sleep(1)


@scenario(checks=("counted",), plots=())
async def story(world: World, *, ticks: Annotated[int, Meta(ge=1)] = 3, how: Literal["well", "ill"] = "well"):
    """Counts the ticks of a clock."""
    await world.start("clock", ticker)
    await world.play([Action(1.0, Crash(host="clock"), 0.5)])
    await asyncio.sleep(ticks)
    if how == "ill":
        raise LookupError("it ends ill")
    world.check("counted", ticks < 5, f"{ticks} ticks")
'''


@pytest.fixture
def story(tmp_path: Path) -> Path:
    file = tmp_path / "story.py"
    file.write_text(STORY)
    return file
