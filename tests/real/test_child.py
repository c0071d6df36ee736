"""Children of a real host: what only a real machine can show."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from protos import control_pb2
from services.child import Child, ChildDied
from services.cluster import Cluster
from services.real.host import RealHost
from services.real.names import Names
from tests.real import calls
from tests.real.outside import ask, left_over, soon

PROGRAMS = str(Path(__file__).with_name("programs.py"))

MEGABYTE = 1 << 20


def on_a_host(folder: Path, case: Callable[[RealHost], Awaitable[None]]) -> None:
    """Runs a case with a host in this process."""

    async def main() -> None:
        for name in ("names", "host"):
            (folder / name).mkdir(exist_ok=True)
        host = RealHost("host", folder / "host", Names(folder / "names"), "token", record=False)
        try:
            async with asyncio.timeout(30):
                await case(host)
        finally:
            host.close()

    asyncio.run(main())


def disk_rules(**what: Any) -> control_pb2.Rules:
    return control_pb2.Rules(disk=control_pb2.Disk(**what))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def begun(child: Child, heard: list[Any], fn: Any, *args: Any) -> asyncio.Future[Any]:
    """Starts a call, and returns it once it has told something."""
    call = asyncio.ensure_future(child.run(fn, *args))
    while not heard:
        await asyncio.sleep(0.005)
    return call


def test_a_crash_in_c_says_where_and_how_far(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        with pytest.raises(ChildDied, match="killed by SIGSEGV") as caught:
            await host.child(log="log").run(calls.crash)
        assert caught.value.mark == 7

    on_a_host(tmp_path, case)
    said = (tmp_path / "host" / "data" / "log").read_text()
    assert "Segmentation fault" in said and "calls.py" in said and "in crash" in said


def test_memory_is_limited_in_the_child_and_nowhere_else(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        child = host.child(memory=64 * MEGABYTE)
        assert await child.run(calls.allocate, 40 * MEGABYTE) == 40 * MEGABYTE
        with pytest.raises(MemoryError):
            await child.run(calls.allocate, 100 * MEGABYTE)
        assert await child.run(calls.allocate, 40 * MEGABYTE) == 40 * MEGABYTE
        assert await host.child().run(calls.allocate, 100 * MEGABYTE) == 100 * MEGABYTE

    on_a_host(tmp_path, case)


def test_a_mark_outlives_sigkill(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        heard: list[Any] = []
        child = host.child(heard=heard.append)
        call = await begun(child, heard, calls.hang)
        while child.mark != 5:
            await asyncio.sleep(0.005)
        os.kill(heard[0], signal.SIGKILL)  # by somebody else
        with pytest.raises(ChildDied, match="killed by SIGKILL") as caught:
            await call
        assert caught.value.mark == 5

    on_a_host(tmp_path, case)


def test_what_a_killed_child_has_started_ends_too(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        heard: list[Any] = []
        child = host.child(heard=heard.append)
        call = await begun(child, heard, calls.hang_beside_another)
        assert lives(heard[0])
        child.kill("enough")
        with pytest.raises(ChildDied, match="enough"):
            await call
        assert soon(lambda: not lives(heard[0]))

    on_a_host(tmp_path, case)


def test_closing_ends_the_process(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        child = host.child()
        pid = await child.run(calls.pid)
        await child.close()
        assert not lives(pid)

    on_a_host(tmp_path, case)


def test_all_that_is_written_to_stdout_is_in_the_log(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        await host.child(log="log").run(calls.speak)

    on_a_host(tmp_path, case)
    assert (tmp_path / "host" / "data" / "log").read_text() == "Python\nC\na program\nits stderr\n"


def test_a_fault_of_the_disk_holds_in_the_middle_of_a_call(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        heard: list[Any] = []
        call = await begun(host.child(heard=heard.append), heard, calls.write_until_full)
        await asyncio.sleep(0.05)
        host.set_rules(disk_rules(full=True))
        assert await call > 0

    on_a_host(tmp_path, case)


def test_a_slow_disk_is_slow_for_children(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        child, data = host.child(), bytes(MEGABYTE)
        await child.run(calls.write, "a", data)
        as_it_is = min([await child.run(calls.write, "a", data) for _ in range(3)])
        host.set_rules(disk_rules(slow=100.0))
        assert await child.run(calls.write, "a", data) > 5 * as_it_is

    on_a_host(tmp_path, case)


def test_a_failed_sync_loses_what_a_child_has_written(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        await host.child().run(calls.write, "a", b"x" * 100)
        host.set_rules(disk_rules(sync_fails=True))
        file = await host.disk.open("a", "a")
        with pytest.raises(OSError, match="Input/output error"):
            await file.sync()
        assert await file.size() == 100

    async def afterwards(host: RealHost) -> None:
        assert await (await host.disk.open("a")).size() == 0

    on_a_host(tmp_path, case)
    on_a_host(tmp_path, afterwards)


def test_a_torn_append_of_a_child_is_half_there(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        heard: list[Any] = []
        host.set_rules(disk_rules(tear=True))
        child = host.child(heard=heard.append)
        call = await begun(child, heard, calls.write_and_hang)
        child.kill()
        with pytest.raises(ChildDied):
            await call
        await child.run(calls.write, "whole", b"0123456789")

    on_a_host(tmp_path, case)
    data = tmp_path / "host" / "data"
    assert ((data / "torn").read_bytes(), (data / "whole").read_bytes()) == (b"01234", b"0123456789")


def test_a_slow_host_has_slow_children(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        child = host.child()
        as_it_is = min([await child.run(calls.spin, 0.05) for _ in range(3)])
        host.set_rules(control_pb2.Rules(slow=20.0))
        await asyncio.sleep(0.05)
        slow = asyncio.ensure_future(child.run(calls.spin, 0.05))
        assert await slow > 4 * as_it_is

    on_a_host(tmp_path, case)


@pytest.mark.parametrize("end", ["kill", "stop", "down", "by its number", "paused, then killed"])
def test_children_die_with_their_node(tmp_path: Path, end: str) -> None:
    """However it ends, its children and the template that they come from end with it."""

    async def main() -> None:
        async with Cluster.create(tmp_path / "c") as cluster:
            await cluster.start("a", f"{PROGRAMS}:parent")
            await cluster.serving()
            child = await ask(cluster.client("me"), "a", "start_child")
            assert lives(child)
            if end in ("kill", "stop"):
                await getattr(cluster, end)("a")
            elif end == "by its number":
                os.kill((await cluster.status())[0].pid, signal.SIGKILL)
            elif end != "down":
                await cluster.pause("a")
                assert soon(lambda: Path(f"/proc/{child}/stat").read_text().split()[2] == "T")
                os.kill((await cluster.status())[0].pid, signal.SIGKILL)
            if end != "down":
                assert soon(lambda: not lives(child)) and soon(lambda: not left_over(tmp_path))
            children.append(child)

    children: list[int] = []
    asyncio.run(main())
    assert soon(lambda: not lives(children[0])) and soon(lambda: not left_over(tmp_path))


def test_a_child_of_a_killed_template_has_died_and_the_next_one_runs(tmp_path: Path) -> None:
    async def case(host: RealHost) -> None:
        heard: list[Any] = []
        child = host.child(heard=heard.append)
        call = await begun(child, heard, calls.hang)
        stat = Path(f"/proc/{heard[0]}/stat").read_text().rpartition(")")[2].split()
        os.kill(int(stat[1]), signal.SIGKILL)
        with pytest.raises(ChildDied):
            await call
        assert await child.run(calls.pid) > 0

    on_a_host(tmp_path, case)
