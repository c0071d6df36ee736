"""What the real world adds: processes that must go, whatever happens, and logs that tell."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services import echo
from services.host import Host
from sim import World, run, scenario


async def broken(host: Host) -> None:
    await asyncio.sleep(0.1)
    raise LookupError("the program's own")


@scenario(checks=("fine",))
async def ends(world: World, *, how: str = "well") -> None:
    """Ends in the way that it is told."""
    if how == "well":
        await world.start("a", echo.serve)
        await world.serving("a")
        await world.stop("a")
        world.check("fine", world.hosts() == ["a"])
    elif how == "program":
        await world.start("a", broken)
        await asyncio.sleep(1)
        await world.serving("a", within=1)
    elif how == "limit":
        await world.start("a", echo.serve)
        await asyncio.sleep(100)
    elif how == "spin":
        await world.start("a", echo.serve)
        while True:
            pass
    elif how == "block":
        await world.start("a", echo.serve)
        time.sleep(100)
    elif how == "raise":
        await world.start("a", echo.serve)
        raise LookupError("the story's own")


def nodes(folder: Path) -> list[int]:
    """Returns the processes of the cluster in a run folder."""
    listed = subprocess.run(
        ["ps", "-ww", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in lines if "services.node" in command and str(folder) in command]


@pytest.mark.parametrize(
    ("how", "verdict", "said"),
    [
        ("well", "pass", ""),
        ("program", "error", "The program on a had failed: "),
        ("limit", "error", "the limit of 4 s of real time is reached\n  -: "),
        ("spin", "error", "(GrpcWorld._perform) runs at tests/scenario/test_real_world.py:"),
        ("block", "error", "(GrpcWorld._perform) runs at tests/scenario/test_real_world.py:"),
        ("raise", "error", "LookupError: the story's own"),
    ],
)
def test_no_process_is_left_however_the_story_ends(how: str, verdict: str, said: str, tmp_path: Path) -> None:
    summary = run(ends, {"how": how}, world="grpc", out=tmp_path / "run", limit_s=4)
    assert summary.verdict == verdict, summary
    assert said in summary.error
    assert "sim/scenario" not in summary.error
    assert nodes(tmp_path) == []


def test_time_in_a_debugger_does_not_count() -> None:
    @scenario(checks=("fine",))
    async def debugged(world: World) -> None:
        """Stands at a prompt for a while, and goes on."""
        exec(compile("import time; time.sleep(2.5)", "/usr/lib/python3/pdb.py", "exec"))
        await asyncio.sleep(0.3)
        world.check("fine", True)

    assert run(debugged, world="grpc", limit_s=2).passed


STORY = """
import asyncio
from services import echo
from sim import World, scenario

@scenario(checks=("fine",), plots=())
async def spin(world: World, *, spawned: bool = False):
    "Never lets go of the loop."
    await world.start("a", echo.serve)
    async def forever():
        while True:
            pass
    if spawned:
        world.spawn(forever())
        await asyncio.sleep(100)
    await forever()
"""


@pytest.mark.parametrize("spawned", ["false", "true"])
def test_one_ctrl_c_ends_a_story_that_never_lets_go_of_the_loop(spawned: str, tmp_path: Path) -> None:
    (tmp_path / "spin.py").write_text(STORY)
    command = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command += "from sim.cli import main; main()"
    arguments = ["run", "spin.py", "--world", "grpc", "--set", f"spawned={spawned}", "--out", "run"]
    running = subprocess.Popen([sys.executable, "-c", command, *arguments], cwd=tmp_path)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and not (tmp_path / "run/cluster/nodes/a/control").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(30) == 130
    finally:
        running.kill()
    assert nodes(tmp_path) == []
    assert (tmp_path / "run" / "incomplete").read_text() == "interrupted by Ctrl-C\n"
    assert '"boot"' in (tmp_path / "run" / "trace.jsonl").read_text()


def test_ctrl_c_takes_the_cluster_down_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    command = "from sim.cli import main; main()"
    arguments = ["run", "basics/ping", "--world", "grpc", "--set", "pings=10000", "--out", "run"]
    running = subprocess.Popen([sys.executable, "-c", command, *arguments], cwd=tmp_path)
    history = tmp_path / "run" / "history.jsonl"
    until = time.monotonic() + 30
    while time.monotonic() < until and not (len(nodes(tmp_path)) >= 2 and history.exists()):
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(30) == 130
    assert nodes(tmp_path) == []
    assert (tmp_path / "run" / "incomplete").read_text() == "interrupted by Ctrl-C\n"
    assert '"boot"' in (tmp_path / "run" / "trace.jsonl").read_text()
