"""A server as a process in the foreground: signals, exit statuses, its data folder, and one clear line."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoAuthError, NotReadOnlyCallError
from kazoo.protocol.states import KeeperState

from services.coordination.__main__ import main
from services.real.names import free_port
from tests.coordination.wire.raw import Raw, greeting
from tests.coordination.wire.servers import OURS, ROOT, Servers, until, word


def connected(hosts: str) -> KazooClient:
    client = KazooClient(hosts, timeout=10)
    client.start(30)
    return client


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Returns the exit status and what is said of a start that does not get as far as serving."""
    return main(list(arguments)), capsys.readouterr().err


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([*OURS, *arguments], capture_output=True, text=True, timeout=30, cwd=ROOT)
    return done.returncode, done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda how: how.name)
def test_a_signal_ends_it_as_it_ends_a_jvm(tmp_path: Path, how: signal.Signals) -> None:
    with Servers(tmp_path, 1) as servers:
        servers.start()
        servers.serving()
        with Raw(servers.ports[1]) as client:
            assert servers.end(1, how) == 128 + how
            assert client.rest() == b""
        assert servers.log(1).splitlines()[-1].endswith(f"{how.name}: stopping")
        assert "Traceback" not in servers.log(1)


def test_members_that_are_stopped_say_no_more_than_that(tmp_path: Path) -> None:
    with Servers(tmp_path) as servers:
        servers.start()
        servers.serving()
        for number in servers.ports:
            assert servers.end(number) == 128 + signal.SIGTERM
        for number in servers.ports:
            assert servers.log(number).splitlines()[-1].endswith("SIGTERM: stopping")
            assert "Traceback" not in servers.log(number) and "goaway" not in servers.log(number)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_its_data_folder_is_used_again(tmp_path: Path, how: signal.Signals) -> None:
    with Servers(tmp_path, 1, extra=f"dataLogDir={tmp_path}/logs\nsnapCount=50") as servers:
        servers.start()
        client = connected(servers.hosts)
        for number in range(200):
            client.create(f"/{number}", b"%d" % number)
        session = client.client_id[0]
        servers.end(1, how)
        servers.start()
        assert client.retry(client.get, "/199")[0] == b"199"  # the session is as durable as the data
        assert client.client_id[0] == session and len(client.get_children("/")) == 201
        client.stop()
        client.close()
        assert list((tmp_path / "logs" / "log").glob("segment-*"))
        assert list((servers.home(1) / "data" / "data").glob("snapshot-*"))
        sizes = word(servers.ports[1], "dirs").decode().split()
        assert int(sizes[1]) > 0 and int(sizes[3]) > 0


def test_a_folder_that_another_server_uses_is_refused(tmp_path: Path) -> None:
    with Servers(tmp_path, 1) as servers:
        servers.start()
        servers.serving()
        other = tmp_path / "other.cfg"
        port = free_port("127.0.0.1")
        text = servers.configuration(1).read_text()
        other.write_text(text.replace(f"clientPort={servers.ports[1]}", f"clientPort={port}"))
        code, said = run(str(other))
        assert (code, said.splitlines()[-1]) == (
            3,
            f"dataDir {servers.home(1)}/data is in use by another server",
        )
        assert servers.state(1) == "standalone"


def test_a_folder_of_apaches_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "version-2").mkdir(parents=True)
    (tmp_path / "zoo.cfg").write_text(f"dataDir={tmp_path}/data\nclientPort={free_port('127.0.0.1')}\n")
    code, said = refused(capsys, str(tmp_path / "zoo.cfg"))
    assert code == 3 and "holds data of Apache ZooKeeper (version-2)" in said.splitlines()[-1]


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "zoo.cfg").write_text(f"dataDir={tmp_path}/file\nclientPort={free_port('127.0.0.1')}\n")
    code, said = refused(capsys, str(tmp_path / "zoo.cfg"))
    assert (code, said.splitlines()[-1]) == (
        3,
        f"dataDir {tmp_path}/file cannot be used: {tmp_path}/file: File exists",
    )


def test_a_folder_in_the_place_of_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with Servers(tmp_path, 1) as servers:
        servers.start()
        client = connected(servers.hosts)
        client.create("/one", b"")
        client.stop()
        client.close()
        servers.end(1)
        home = servers.home(1) / "data"
        segment = next((home / "log").glob("segment-*")).name
        for name in ("data/identity", "data/acceptedEpoch", f"log/{segment}"):
            (home / name).rename(tmp_path / "aside")
            (home / name).mkdir()
            code, said = run(str(servers.configuration(1)))
            last = said.splitlines()[-1]
            assert (
                code == 3 and f"{name} is a folder where a file belongs" in last and "Traceback" not in said
            )
            (home / name).rmdir()
            (tmp_path / "aside").rename(home / name)


def test_damaged_data_is_refused_in_one_line(tmp_path: Path) -> None:
    with Servers(tmp_path, 1) as servers:
        servers.start()
        client = connected(servers.hosts)
        for number in range(20):
            client.create(f"/{number}", b"x" * 100)
        client.stop()
        client.close()
        servers.end(1)
        (segment,) = (servers.home(1) / "data" / "log").glob("segment-*")
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 0xFF
        segment.write_bytes(data)
        code, said = run(str(servers.configuration(1)))
        assert code == 3 and "segment" in said.splitlines()[-1] and "Traceback" not in said


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with Servers(tmp_path, 1) as servers:
        servers.start()
        servers.serving()
        text = servers.configuration(1).read_text().replace(f"{tmp_path}/server-1/data", f"{tmp_path}/more")
        (tmp_path / "zoo.cfg").write_text(text)
        code, said = run(str(tmp_path / "zoo.cfg"))
        assert code == 1 and "address already in use" in said.splitlines()[-1] and "Traceback" not in said


def test_an_address_that_is_not_here_is_named(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    text = f"dataDir={tmp_path}/d\nclientPort={port}\nclientPortAddress=192.0.2.1\nadmin.enableServer=false\n"
    (tmp_path / "zoo.cfg").write_text(text)
    code, said = run(str(tmp_path / "zoo.cfg"))
    assert code == 1 and "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"clients cannot be served at 192.0.2.1:{port}: ")


def test_what_is_no_path_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "zoo.cfg").write_text(f"dataDir={tmp_path}/d\0\nclientPort=2181\n")
    code, said = refused(capsys, str(tmp_path / "zoo.cfg"))
    assert code == 3 and said.splitlines()[-1].endswith("cannot be used: embedded null byte")


def test_an_id_that_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "myid").write_bytes(b"\xff")
    lines = "initLimit=5\nsyncLimit=5\nserver.1=a:1:2\nserver.2=b:1:2\n"
    (tmp_path / "zoo.cfg").write_text(f"dataDir={tmp_path}/d\nclientPort=1\n{lines}")
    code, said = refused(capsys, str(tmp_path / "zoo.cfg"))
    assert code == 2 and f"{tmp_path}/d/myid, which says who this server is, cannot be read" in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("dataDir={0}/d\n", "{0}/zoo.cfg: clientPort is not set"),
        (
            "dataDir={0}/d\nclientPort=1\ninitLimit=5\nsyncLimit=5\nserver.1=a:1:2\nserver.2=b:1:2\n",
            "{0}/zoo.cfg: {0}/d/myid, which says who this server is: No such file or directory",
        ),
        (None, "{0}/zoo.cfg cannot be read: {0}/zoo.cfg: No such file or directory"),
    ],
)
def test_a_configuration_that_cannot_be_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, line: str
) -> None:
    if text is not None:
        (tmp_path / "zoo.cfg").write_text(text.format(tmp_path))
    assert refused(capsys, str(tmp_path / "zoo.cfg")) == (2, line.format(tmp_path) + "\n")


def test_arguments_that_cannot_be_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    usage = "usage: python -m services.coordination [-Dname=value]... zoo.cfg\n"
    for arguments in ((), ("a", "b"), ("--help",)):
        assert refused(capsys, *arguments) == (2, usage)
    assert run("a", "b") == (2, usage)


def test_settings_on_the_command_line_and_pages(tmp_path: Path) -> None:
    pages, figures = free_port("127.0.0.1"), free_port("127.0.0.1")
    options = (
        "-Dzookeeper.admin.enableServer=true",
        f"-Dadmin.serverPort={pages}",
        "-DmetricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
        f"-DmetricsProvider.httpPort={figures}",
        "-Dwhat.is.this=1",
    )
    with Servers(tmp_path, 1, (*OURS, *options)) as servers:
        servers.start()
        servers.serving()
        with urllib.request.urlopen(f"http://127.0.0.1:{pages}/commands/srvr") as page:
            assert json.load(page)["server_stats"]["server_state"] == "standalone"
        with urllib.request.urlopen(f"http://127.0.0.1:{figures}/metrics") as page:
            assert b"\nznode_count " in page.read()
        assert "unknown setting what.is.this is ignored" in servers.log(1)


def test_an_ensemble_serves_as_long_as_a_majority_does(tmp_path: Path) -> None:
    with Servers(tmp_path) as servers:
        servers.start()
        servers.serving()
        states = sorted(servers.state(number) for number in servers.ports)
        assert states == ["follower", "follower", "leader"]
        client = connected(servers.hosts)
        client.create("/a", b"0")
        leader = servers.leader()
        servers.kill(leader)
        client.retry(client.set, "/a", b"1")
        servers.kill(servers.leader())
        (last,) = set(servers.ports) - {leader} - {n for n in servers.ports if not servers.running(n)}
        until(lambda: word(servers.ports[last], "srvr").startswith(b"This ZooKeeper instance"), 20)
        with Raw(servers.ports[last], greet=False) as refused:
            refused.send(b"isro")
            assert refused.rest() == b"null"
        servers.start(leader)
        assert client.retry(client.get, "/a")[0] == b"1"
        client.stop()
        client.close()


def test_read_only_mode_serves_reads_without_a_majority(tmp_path: Path) -> None:
    with Servers(tmp_path, extra="readonlymode.enabled=true") as servers:
        servers.start()
        servers.serving()
        client = KazooClient(servers.hosts, timeout=10, read_only=True)
        client.start(30)
        client.create("/a", b"0")
        for number in (1, 2):
            servers.kill(number)
        until(lambda: client.client_state == KeeperState.CONNECTED_RO, 30)
        assert client.get("/a")[0] == b"0" and client.get_children("/") == ["a", "zookeeper"]
        with pytest.raises(NotReadOnlyCallError):
            client.set("/a", b"1")
        assert word(servers.ports[3], "isro") == b"ro"
        with Raw(servers.ports[3], greet=False) as demanding:  # one that would write
            demanding.send(greeting())
            assert demanding.rest() == b""
        servers.start(1)
        until(lambda: client.client_state == KeeperState.CONNECTED, 30)
        assert client.retry(client.set, "/a", b"1").version == 1
        client.stop()
        client.close()


def test_an_observer_serves_and_does_not_vote(tmp_path: Path) -> None:
    with Servers(tmp_path, observers=(3,)) as servers:
        servers.start()
        servers.serving()
        assert servers.state(3) == "observer"
        client = connected(f"127.0.0.1:{servers.ports[3]}")
        client.create("/a", b"0")
        servers.kill(3)
        other = connected(f"127.0.0.1:{servers.ports[1]}")
        assert other.set("/a", b"1").version == 1
        servers.start(3)
        client.retry(client.sync, "/a")
        assert client.retry(client.get, "/a")[0] == b"1"
        for each in (client, other):
            each.stop()
            each.close()


def test_the_ensemble_is_changed_by_kazoo_and_stays_so(tmp_path: Path) -> None:
    with Servers(tmp_path, 4, extra="reconfigEnabled=true") as servers:
        (joiner,) = (
            line for line in servers.configuration(4).read_text().splitlines() if line.startswith("server.4=")
        )
        for number in (1, 2, 3):  # which do not know of the fourth
            path = servers.configuration(number)
            path.write_text(path.read_text().replace(f"{joiner}\n", ""))
        servers.start(1, 2, 3)
        servers.serving(1, 2, 3)
        client = connected(servers.hosts)
        joiner = f"{joiner};127.0.0.1:{servers.ports[4]}"
        with pytest.raises(NoAuthError):
            client.reconfig(joining=joiner, leaving=None, new_members=None)
        client.add_auth("digest", "super:test")
        servers.start(4)
        servers.serving(4)
        told, _ = client.reconfig(joining=joiner, leaving=None, new_members=None)
        assert joiner in told.decode().splitlines()
        told, _ = client.reconfig(joining=None, leaving="1", new_members=None)
        assert "server.1=" not in told.decode()
        with pytest.raises(BadVersionError):
            client.reconfig(joining=None, leaving="2", new_members=None, from_config=5)
        servers.kill(1)
        for number in (2, 3, 4):
            servers.end(number)
        servers.start(2, 4)  # a majority of the new ensemble, by files that do not know of it
        servers.serving(2, 4)
        kept = client.retry(client.get, "/zookeeper/config")[0].decode().splitlines()
        assert joiner in kept and len(kept) == 4
        client.stop()
        client.close()
