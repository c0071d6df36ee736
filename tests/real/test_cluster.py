"""The life of a cluster, and that nothing of it is left behind in any case."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.cluster import Cluster, ClusterError
from services.real.folder import read_struct, write_struct
from services.real.processes import Process
from services.systems import SYSTEMS, NodeSpec, System, bring_up, find_system, take_down
from sim.faults import Isolate
from sim.scenario.cluster_faults import ClusterFaults
from tests.real import programs
from tests.real.outside import EACH, PROBE, ask, left_over, soon

PROGRAMS = PROBE.rpartition(":")[0]


def listening(folder: Path) -> list[str]:
    """Returns those addresses of a cluster on which somebody listens."""
    found = []
    for entry in (folder / "names").iterdir():
        address, _, port = entry.read_text().rpartition(":")
        with socket.socket() as probe:
            if probe.connect_ex((address, int(port))) == 0:
                found.append(entry.read_text())
    return found


def starter(folder: Path, then: str) -> subprocess.Popen[str]:
    """Starts a process that owns a cluster of two nodes, says "up", and does `then`."""
    code = f"""
import asyncio, sys, time
from services.cluster import Cluster
async def main():
    async with Cluster.create({str(folder)!r}) as cluster:
        for name in ("a", "b"):
            await cluster.start(name, {PROBE!r})
        await cluster.serving()
        print("up", flush=True)
        {then}
asyncio.run(main())
"""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_up(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"


def gone(folder: Path) -> bool:
    """Says whether nothing of a cluster is left."""
    assert soon(lambda: not left_over(folder)), left_over(folder)
    assert soon(lambda: listening(folder) == []), listening(folder)
    return True


# Living


def test_start_status_stop(tmp_path: Path) -> None:
    async def main() -> None:
        async with Cluster.create(tmp_path / "c", system="mine") as cluster:
            await cluster.start("a", PROBE)
            await cluster.start("b", programs.adopted, {"answer": "hi"}, adopt=True)
            await cluster.serving(["a", "b"])
            client = cluster.client("me")
            assert await ask(client, "a", "count") == 0
            async with client.connect("b:50051") as channel:
                reply = await echo_pb2_grpc.EchoStub(channel).Say(Words(text="you"))
            assert reply.text == "hi you"
            a, b = await cluster.status()
            assert (a.name, a.state, a.incarnation, a.program) == ("a", "running", 0, PROBE)
            assert b.program.endswith(":adopted")
            assert a.pid != b.pid and a.uptime_s > 0 and a.resident_bytes > 1e6
            assert [port for port, _ in a.ports] == [50051]
            assert a.ports[0][1].startswith("127.0.0.1:") and (a.sent, a.received) == (1, 1)
            await cluster.stop("a")
            assert [status.state for status in await cluster.status()] == ["dead", "running"]
            await cluster.stop("a")  # once more does no harm
            for name in ("a", "me"):
                with pytest.raises(ClusterError, match=f"there is a host {name} already"):
                    await cluster.start(name, PROBE)
            with pytest.raises(ClusterError, match="b is a node; a client needs another name"):
                cluster.client("b")
            with pytest.raises(ClusterError, match="a is dead"):
                await cluster.pause("a")
            with pytest.raises(ClusterError, match="a is dead: "):
                await cluster.serving(["a"])

    asyncio.run(main())
    assert gone(tmp_path / "c")


def test_what_is_secret_is_only_the_owners(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    Cluster.create(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    first = (folder / "token").read_text()
    Cluster.create(folder)  # the remains of one that is down are replaced
    assert (folder / "token").read_text() != first and len(first) >= 32


def test_a_cluster_whose_token_is_gone_is_seen_and_taken_down(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    asyncio.run(bring_up(folder, find_system("echo"), 1))
    try:
        for spoil in (lambda token: token.write_bytes(b"\xff" * 64), Path.unlink):
            spoil(folder / "token")
            assert [status.state for status in asyncio.run(Cluster.open(folder).status())] == ["hung"]
            with pytest.raises(ClusterError, match=r"token, .* is missing or damaged"):
                asyncio.run(ClusterFaults(Cluster.open(folder)).inject(Isolate(host="echo1")))
    finally:
        assert asyncio.run(take_down(folder)) == ["echo1"]
    assert gone(folder)


@pytest.mark.parametrize("file", ["cluster.json", "nodes/echo1/node.json", "nodes/echo1/process.json"])
def test_a_cluster_with_a_damaged_file_is_taken_down_and_the_file_named(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    asyncio.run(bring_up(folder, SYSTEMS["echo"], 2))
    whole = (folder / file).read_bytes()
    try:
        (folder / file).write_text("{")
        with pytest.raises(ClusterError) as told:
            asyncio.run(take_down(folder))
        assert str(told.value).startswith(f"down: echo1, echo2; but {(folder / file).resolve()} is damaged: ")
        assert gone(folder)
    finally:
        (folder / file).write_bytes(whole)
        asyncio.run(take_down(folder))


def test_a_node_that_cannot_be_identified_does_not_keep_the_others_up(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    asyncio.run(bring_up(folder, SYSTEMS["echo"], 2))
    process = folder / "nodes" / "echo1" / "process.json"
    whole = process.read_bytes()
    try:
        process.write_text("{")
        (folder / "token").unlink()
        with pytest.raises(ClusterError, match=r"process\.json is damaged.*echo1 .*it may still run"):
            asyncio.run(take_down(folder))
        assert [" echo1 " in command for command in left_over(folder)] == [True] * EACH
    finally:
        process.write_bytes(whole)
        assert asyncio.run(take_down(folder)) == ["echo1"]
    assert gone(folder)


def test_nodes_listen_on_loopback_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with Cluster.create(tmp_path / "c") as cluster:
            await cluster.start("a", PROBE)
            await cluster.serving()
            pid = (await cluster.status())[0].pid
            inodes = {
                os.readlink(entry)[8:-1]
                for entry in Path(f"/proc/{pid}/fd").iterdir()
                if os.readlink(entry).startswith("socket:")
            }
            listens = [
                fields[1]
                for table in ("tcp", "tcp6")
                for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
                if (fields := line.split())[3] == "0A" and fields[9] in inodes
            ]
            assert len(listens) == 2  # the program's port, and the control service's
            assert all(address.partition(":")[0].endswith("0100007F") for address in listens)

    asyncio.run(main())


def test_work_of_compute_is_done_elsewhere_and_dies_with_the_node(tmp_path: Path) -> None:
    async def main() -> None:
        async with Cluster.create(tmp_path / "c") as cluster:
            await cluster.start("a", PROBE)
            client = cluster.client("me")
            squared, worker = await ask(client, "a", "compute", number=12)
            node = (await cluster.status())[0].pid
            assert squared == 144 and worker not in (node, os.getpid())
            assert (
                await ask(client, "a", "compute_fails")
                == "invalid literal for int() with base 10: 'no number'"
            )
            assert await ask(client, "a", "compute_dies") == "BrokenProcessPool"
            squared, worker = await ask(client, "a", "compute", number=9)
            assert squared == 81
            os.kill(node, signal.SIGKILL)  # the node alone: nobody tells its workers
            assert soon(lambda: not _alive(worker))

    asyncio.run(main())


def _alive(pid: int) -> bool:
    try:
        return Process.of(pid).alive()
    except ProcessLookupError:
        return False


def test_a_process_number_that_is_somebody_elses_is_not_signalled(tmp_path: Path) -> None:
    async def main() -> None:
        async with Cluster.create(tmp_path / "c") as cluster:
            await cluster.start("a", PROBE)
            file = cluster.folder.node("a").process
            mine = read_struct(file, Process)
            assert mine is not None
            await cluster.stop("a")
            write_struct(file, Process(os.getpid(), mine.started))  # as if this one had got its number
            assert cluster.state("a") == "dead"
            await cluster.kill("a")
            await cluster.stop("a")

    asyncio.run(main())  # had it been signalled, this would not have come so far


def test_a_program_that_does_not_end_when_cancelled_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.real.ending.STOPS_WITHIN", 0.3)

    async def main() -> None:
        cluster = Cluster.create(tmp_path / "c")
        await cluster.start("a", programs.stubborn)
        await cluster.down()
        assert cluster.state("a") == "dead"

    asyncio.run(main())
    assert gone(tmp_path / "c")


def test_a_paused_node_is_taken_down(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster.create(tmp_path / "c")
        await cluster.start("a", PROBE)
        await cluster.pause("a")
        await cluster.down()

    asyncio.run(main())
    assert gone(tmp_path / "c")


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[2] / "services" / "README.md").read_text()
    example = readme.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"Cluster": Cluster}
    exec("async def main():\n" + textwrap.indent(example, "    "), space)
    asyncio.run(space["main"]())
    assert gone(tmp_path / "somewhere")


# Dying


def test_ctrl_c_takes_the_cluster_down(tmp_path: Path) -> None:
    child = starter(tmp_path / "c", "await asyncio.sleep(60)")
    wait_until_up(child)
    assert len(left_over(tmp_path)) == 2 * EACH
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=10)
    assert gone(tmp_path / "c")


@pytest.mark.parametrize(
    "then",
    ["await asyncio.sleep(60)", "await cluster.pause('a'); print('paused', flush=True); time.sleep(60)"],
)
def test_nodes_die_with_an_owner_that_is_killed_even_while_paused(tmp_path: Path, then: str) -> None:
    child = starter(tmp_path / "c", then)
    wait_until_up(child)
    if "pause" in then:
        assert child.stdout is not None and child.stdout.readline() == "paused\n"
    child.kill()
    child.communicate()
    assert gone(tmp_path / "c")


def test_what_another_shell_restarted_dies_with_the_owner_too(tmp_path: Path) -> None:
    child = starter(tmp_path / "c", "await asyncio.sleep(60)")
    wait_until_up(child)
    asyncio.run(Cluster.open(tmp_path / "c").restart("a"))
    assert len(left_over(tmp_path)) == 2 * EACH
    child.kill()
    child.communicate()
    assert gone(tmp_path / "c")


def test_a_start_that_fails_half_way_takes_down_what_it_started(tmp_path: Path) -> None:
    system = System(
        "broken",
        "",
        lambda _: [
            NodeSpec("good", PROBE),
            NodeSpec("bad", f"{PROGRAMS}:fails", {"why": "no such luck"}),
        ],
    )
    with pytest.raises(ClusterError, match=r"bad did not start: .*no such luck") as failure:
        asyncio.run(bring_up(tmp_path / "c", system))
    assert "\n" not in str(failure.value)
    assert gone(tmp_path / "c")


def test_a_system_that_does_not_come_to_serve_is_taken_down(tmp_path: Path) -> None:
    system = System("mute", "", lambda _: [NodeSpec("mute", f"{PROGRAMS}:mute")])
    with pytest.raises(ClusterError, match=r"mute is not up: not serving on port 50051 within 0.2 s: mute"):
        asyncio.run(bring_up(tmp_path / "c", system, within=0.2))
    assert gone(tmp_path / "c")


# In the background


def test_a_detached_cluster_outlives_its_starter_and_is_taken_down_from_another_shell(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    code = f"""
import asyncio
from pathlib import Path
from services.systems import bring_up, find_system
asyncio.run(bring_up(Path({str(folder)!r}), find_system("echo"), 2))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert len(left_over(folder)) == 2 * EACH
    cluster = Cluster.open(folder)
    assert [status.state for status in asyncio.run(cluster.status())] == ["running", "running"]
    assert cluster.about.system == "echo"
    with pytest.raises(ClusterError, match="a cluster is running in"):
        Cluster.create(folder)
    asyncio.run(cluster.kill("echo1"))
    asyncio.run(cluster.restart("echo1"))
    assert asyncio.run(take_down(folder)) == ["echo1", "echo2"]
    assert gone(folder)
    assert asyncio.run(take_down(folder)) == []


def test_a_detached_cluster_ends_when_its_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    asyncio.run(bring_up(folder, find_system("echo"), 2))
    assert len(left_over(folder)) >= 2
    shutil.rmtree(folder, ignore_errors=True)  # a node may write there meanwhile
    assert soon(lambda: not left_over(folder))


def test_a_starter_killed_while_it_detaches_leaves_nothing(tmp_path: Path) -> None:
    then = """async with cluster._control("a") as control:
            from protos.control_pb2 import DisownRequest
            await control.Disown(DisownRequest())
        print("half", flush=True); time.sleep(60)"""
    child = starter(tmp_path / "c", then)
    wait_until_up(child)
    assert child.stdout is not None and child.stdout.readline() == "half\n"
    child.kill()
    child.communicate()
    assert gone(tmp_path / "c")


def test_what_another_shell_restarted_lives_on_when_the_cluster_was_detached_since(tmp_path: Path) -> None:
    child = starter(tmp_path / "c", "sys.stdin.readline(); await cluster.detach(); import os; os._exit(0)")
    wait_until_up(child)
    asyncio.run(Cluster.open(tmp_path / "c").restart("a"))
    child.communicate("go\n")
    time.sleep(0.6)  # longer than it takes a node to notice that its owner is gone
    assert len(left_over(tmp_path)) == 2 * EACH
    assert asyncio.run(take_down(tmp_path / "c")) == ["a", "b"]
    assert gone(tmp_path / "c")


def test_a_starter_killed_half_way_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    code = f"""
import asyncio
from pathlib import Path
from services.systems import NodeSpec, System, bring_up
nodes = [NodeSpec("good", {PROBE!r}), NodeSpec("mute", {PROGRAMS + ":mute"!r})]
asyncio.run(bring_up(Path({str(folder)!r}), System("half", "", lambda _: nodes)))
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    assert soon(lambda: (folder / "nodes" / "mute" / "control").exists(), within=20)
    assert len(left_over(folder)) == 2 * EACH
    child.kill()
    child.wait()
    assert gone(folder)


def test_a_starter_killed_before_its_template_is_ready_leaves_nothing(tmp_path: Path) -> None:
    """The template forks a node when it comes to hear of it, though nobody is there any more to be told."""
    folder = tmp_path / "c"
    code = f"""
import asyncio, os, signal
from services.cluster import Cluster
from services.real.launch import template
async def main():
    async with Cluster.create({str(folder)!r}) as cluster:
        os.kill(template().pid, signal.SIGSTOP)
        start = asyncio.create_task(cluster.start("a", {PROBE!r}))
        await asyncio.sleep(0.1)
        print(template().pid, flush=True)
        await start
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    template = Process.of(int(child.stdout.readline()))
    child.kill()
    child.wait()
    os.kill(template.pid, signal.SIGCONT)
    assert soon(lambda: not template.alive(), within=20)
    time.sleep(0.5)  # what it forked has said its name by now
    assert gone(folder)


# What is refused


@pytest.mark.parametrize(
    ("program", "parameters", "message"),
    [
        ("nowhere:serve", {}, 'program "nowhere:serve": there is no module "nowhere"'),
        ("services.echo:swerve", {}, 'services.echo has no "swerve"'),
        ("services.echo", {}, 'neither "package.module:function" nor'),
        ("/no/such/file.py:main", {}, 'program file "/no/such/file.py" does not exist'),
        ("services.echo:serve", {"prot": 1}, "unexpected keyword argument 'prot'"),
        ("services.echo:serve", {"port": {1, 2}}, "a cannot be started: the parameters are no JSON values"),
        ("services.echo:serve", {"port": (1, 2)}, "a cannot be started: the parameters are no JSON values"),
        (lambda host: None, {}, "a cannot be started: .*not a module-level function"),
    ],
)
def test_a_program_that_cannot_be_started_is_named(
    tmp_path: Path, program: object, parameters: dict[str, object], message: str
) -> None:
    cluster = Cluster.create(tmp_path / "c")
    with pytest.raises(ClusterError, match=message) as failure:
        asyncio.run(cluster.start("a", program, parameters))  # type: ignore[arg-type]
    assert "\n" not in str(failure.value)
    assert left_over(tmp_path) == []


def test_an_error_in_the_file_of_a_program_is_told_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('"""Mine."""\nPORT = int("many")\n')
    cluster = Cluster.create(tmp_path / "c")
    with pytest.raises(ClusterError, match=r"ValueError: invalid literal for int\(\) .*'many'"):
        asyncio.run(cluster.start("a", f"{tmp_path}/mine.py:serve"))
    assert 'mine.py", line 2' in (tmp_path / "c" / "nodes" / "a" / "log.txt").read_text()
    (tmp_path / "short.py").write_text("async def serve(host): pass\n")
    with pytest.raises(ClusterError, match=r"did not start: .*short\.py:serve returned at once"):
        asyncio.run(cluster.start("b", f"{tmp_path}/short.py:serve"))


def test_what_is_no_cluster_and_no_node_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no cluster in"):
        Cluster.open(tmp_path)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ClusterError, match="holds something that is not a cluster"):
        Cluster.create(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    with pytest.raises(ClusterError, match="cannot make a cluster in"):
        Cluster.create(tmp_path / "mine.txt" / "c")
    with pytest.raises(
        ClusterError, match=re.escape(f'there is no system "ech" (there are: {", ".join(SYSTEMS)})')
    ):
        find_system("ech")
    with pytest.raises(ClusterError, match=r'cannot listen on "1\.2\.3\.4": '):
        Cluster.create(tmp_path / "c", "1.2.3.4")
    with pytest.raises(ClusterError, match="echo needs at least 1 nodes, not 0"):
        asyncio.run(bring_up(tmp_path / "c", find_system("echo"), 0))
    cluster = Cluster.create(tmp_path / "c")
    for call in (cluster.kill("x"), cluster.restart("../x"), cluster.serving(["x"])):
        with pytest.raises(ClusterError, match=r"there is no node .* \(there are: none yet\)"):
            asyncio.run(call)
    with pytest.raises(ClusterError, match="cannot name a host"):
        asyncio.run(cluster.start("../up", PROBE))
    (tmp_path / "c" / "cluster.json").write_text("{")
    with pytest.raises(
        ClusterError, match=r"cluster\.json is damaged: .*; take the cluster down, and remove"
    ):
        Cluster.open(tmp_path / "c")


def test_the_folder_of_a_cluster_that_is_down_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    Cluster.create(folder)
    asyncio.run(ClusterFaults(Cluster.open(folder)).heal())  # takes the lock of the faults
    (folder / "nodes" / "a" / "data").mkdir(parents=True)
    Cluster.create(folder)
    assert list((folder / "nodes").iterdir()) == []
    (folder / "cluster.json").rename(folder / ".cluster.json.17.0a1b2c3d")  # its start was killed right there
    Cluster.create(folder)
    (folder / "mine.txt").write_text("precious")
    (folder / "nodes" / "a").mkdir()
    with pytest.raises(ClusterError, match=r'holds something that is not a cluster\'s, "mine\.txt"'):
        Cluster.create(folder)
    assert (folder / "nodes" / "a").is_dir(), "nothing was removed"
    (folder / "mine.txt").unlink()
    (folder / "cluster.json").unlink()
    with pytest.raises(ClusterError, match='"nodes"'):
        Cluster.create(folder)


def test_a_cluster_that_somebody_else_is_starting_is_let_alone(tmp_path: Path) -> None:
    code = f"""
import time
from services.cluster import Cluster
Cluster.create({str(tmp_path / "c")!r})
print("up", flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    wait_until_up(child)
    with pytest.raises(ClusterError, match="a cluster is running in"):
        Cluster.create(tmp_path / "c")
    child.kill()
    child.communicate()
    Cluster.create(tmp_path / "c")


def test_a_program_that_fails_later_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with Cluster.create(tmp_path / "c") as cluster:
            await cluster.start("a", programs.fails_later)
            with pytest.raises(ClusterError, match="a is dead: RuntimeError: not for long"):
                await cluster.serving(["a"])

    asyncio.run(main())


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_comes_up(tmp_path: Path, name: str) -> None:
    start = time.monotonic()
    status = asyncio.run(bring_up(tmp_path / "c", SYSTEMS[name], SYSTEMS[name].least_nodes))
    try:
        assert all(node.state == "running" and node.ports for node in status)
    finally:
        asyncio.run(take_down(tmp_path / "c"))
    assert time.monotonic() - start < 30
    assert gone(tmp_path / "c")
