"""Four-letter words, `/commands/...` and metrics: Apache's form, the server's figures."""

from __future__ import annotations

import asyncio
import json

import pytest

from services.coordination.configuration import Configuration
from services.coordination.wire import admin
from services.coordination.wire.report import Report
from services.pages import serve
from tests.coordination.wire.fakes import FakeFront
from tests.coordination.wire.test_connection import Rig, told

ANSWERS = {
    b"ruok": "imok",
    b"isro": "rw",
    b"conf": "clientPort=2181\n",
    b"wchs": "2 connections watching 2 paths\nTotal watches:3\n",
    b"wchp": "/a\n\t0x1000\n/b\n\t0x1000\n\t0x1001\n\n",
    b"wchc": "0x1000\n\t/a\n\t/b\n0x1001\n\t/b\n\n",
    b"hash": "1: 12\nff: 34\n",
    b"dirs": "datadir_size: 0\nlogdir_size: 0\n",
    b"srvr": "Zookeeper version: 3.8.0-fake\nLatency min/avg/max: 0/0.5/0\nReceived: 0\nSent: 0\n"
    "Connections: 1\nOutstanding: 0\nZxid: 0x0\nMode: standalone\nNode count: 2\n",
}


@pytest.mark.parametrize("word", ANSWERS)
def test_words_are_answered_as_apache_does(word: bytes) -> None:
    async def story(rig: Rig) -> None:
        await rig.client()
        assert (await rig.word(word)).decode() == ANSWERS[word]

    told(story)


def test_who_asks_may_end_its_side_at_once() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client(greet=False)
        client.send(b"ruok")
        client.writer.write_eof()
        assert await client.rest() == b"imok"
        half = await rig.client(greet=False)
        half.send(b"ru")
        half.writer.write_eof()
        assert await half.rest() == b""

    told(story)


def test_words_about_connections_say_where_from() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        host, port = client.writer.get_extra_info("sockname")
        where = f"/{host}:{port}"
        assert f"Clients:\n {where}[1](queued=0,recved=1,sent=2)\n\n" in (await rig.word(b"stat")).decode()
        assert (
            f" {where}[1](queued=0,recved=1,sent=2,sid=0x1000,lop=GETD,est=1000,to=10000,lcxid=0x0,"
            in (await rig.word(b"cons")).decode()
        )
        dump = (await rig.word(b"dump")).decode()
        assert "Sessions with Ephemerals (1):\n0x1000:\n\t/e\n" in dump
        assert f"\tip: {where} sessionId: 0x1000\n" in dump

    told(story)


def test_figures_are_told_by_name() -> None:
    async def story(rig: Rig) -> None:
        lines = (await rig.word(b"mntr")).decode().splitlines()
        figures = dict(line.split("\t") for line in lines)
        assert figures["zk_server_state"] == "standalone" and figures["zk_znode_count"] == "2"
        assert "zookeeper.version=3.8.0-fake" in (await rig.word(b"envi")).decode().splitlines()

    told(story)


def test_a_word_that_is_not_allowed_is_told_so() -> None:
    async def story(rig: Rig) -> None:
        rig.door.words = frozenset(("srvr",))
        assert await rig.word(b"stat") == b"stat is not executed because it is not in the whitelist.\n"
        assert (await rig.word(b"srvr")).startswith(b"Zookeeper version")

    told(story)


def test_without_a_quorum_words_say_so() -> None:
    async def story(rig: Rig) -> None:
        rig.front.state = "looking"
        assert await rig.word(b"ruok") == b"imok"
        assert await rig.word(b"isro") == b"null"
        for word in (b"stat", b"srvr", b"mntr", b"cons", b"dump", b"wchs", b"wchc", b"wchp", b"hash"):
            assert await rig.word(word) == b"This ZooKeeper instance is not currently serving requests\n"
        rig.front.state = "read-only"
        assert await rig.word(b"isro") == b"ro"
        assert b"READ-ONLY mode; serving only read-only clients" in await rig.word(b"srvr")

    told(story)


def test_words_are_for_who_has_not_greeted() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        client.send(b"ruok")
        assert await client.rest() == b""  # to one who has, it is a very large frame

    told(story)


async def fetch(port: int, path: str) -> tuple[str, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode().split("\r\n")[0], body


ENSEMBLE = Configuration.parse(
    "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:observer\nserver.3=c:1:2:participant"
)


def ask(path: str, *, state: str = "leader", metrics: bool = False, alone: bool = False) -> tuple[str, bytes]:
    async def main() -> tuple[str, bytes]:
        front = FakeFront()
        front.state = state
        front.figures = lambda: {  # type: ignore[method-assign]
            "zk_version": "3.8.0-fake",
            "zk_server_state": state,
            "zk_leader": 3,
            "zk_avg_latency": 0.25,
            "zk_znode_count": 5,
            "zk_last_zxid": 77,
        }
        report = Report(
            front,
            {"clientPort": 2181, "dataDir": "/d", "serverId": 1},
            initial="text",
            ensemble=None if alone else lambda: ENSEMBLE,
        )
        respond = admin.metrics(report) if metrics else admin.commands(report)
        server = await serve(respond, "127.0.0.1", 0)
        async with server:
            return await fetch(server.sockets[0].getsockname()[1], path)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("configuration", "conf", {"client_port": 2181, "data_dir": "/d", "server_id": 1}),
        ("dirs", "dirs", {"datadir_size": 0, "logdir_size": 0}),
        ("is_read_only", "isro", {"read_only": False}),
        ("initial_configuration", "icfg", {"initial_configuration": "text"}),
        ("leader", "lead", {"is_leader": True, "leader_id": 3, "leader_ip": "c"}),
        ("ruok", "ruok", {}),
        ("watch_summary", "wchs", {"num_connections": 2, "num_paths": 2, "num_total_watches": 3}),
        ("watches_by_path", "wchp", {"path_to_session_ids": {"/a": [4096], "/b": [4096, 4097]}}),
        ("watches", "wchc", {"session_id_to_watched_paths": {"4096": ["/a", "/b"], "4097": ["/b"]}}),
        ("hash", "hash", {"digests": [{"zxid": 1, "digest": "12"}, {"zxid": 255, "digest": "34"}]}),
        (
            "voting_view",
            "voting_view",
            {"current_config": {"1": "a:1:2:participant;0.0.0.0:3", "3": "c:1:2:participant"}},
        ),
        ("connections", "cons", {"connections": [], "secure_connections": []}),
    ],
)
def test_commands_answer_as_apaches(name: str, other: str, expected: dict[str, object]) -> None:
    for path in (name, other):
        status, body = ask(f"/commands/{path}")
        assert status == "HTTP/1.1 200 OK"
        assert json.loads(body) == {**expected, "command": name, "error": None}


def test_commands_about_figures() -> None:
    monitor = json.loads(ask("/commands/mntr")[1])
    assert monitor["znode_count"] == 5 and monitor["server_state"] == "leader"
    stats = json.loads(ask("/commands/srvr", alone=True)[1])
    assert stats["server_stats"]["server_state"] == "standalone"
    assert stats["server_stats"]["last_processed_zxid"] == 77 and stats["node_count"] == 5
    assert json.loads(ask("/commands/stat")[1])["connections"] == []
    assert "zookeeper.version" in json.loads(ask("/commands/envi")[1])
    assert json.loads(ask("/commands/dump")[1])["session_id_to_ephemeral_paths"] == {}


def test_commands_that_cannot_be() -> None:
    assert json.loads(ask("/commands/nope")[1]) == {"command": "nope", "error": "Unknown command: nope"}
    looking = json.loads(ask("/commands/stat", state="looking")[1])
    assert looking["error"] == "This ZooKeeper instance is not currently serving requests"
    assert json.loads(ask("/commands/ruok", state="looking")[1])["error"] is None
    assert b'<a href="/commands/monitor">monitor</a>' in ask("/commands")[1]
    for path in ("/", "/commands/a/b", "/other"):
        assert ask(path)[0] == "HTTP/1.1 404 Not Found"


def test_figures_for_prometheus() -> None:
    status, body = ask("/metrics", metrics=True)
    assert status == "HTTP/1.1 200 OK"
    lines = body.decode().splitlines()
    assert "# TYPE znode_count gauge" in lines and "znode_count 5.0" in lines and "avg_latency 0.25" in lines
    assert not any("version" in line for line in lines)
    assert ask("/", metrics=True)[0] == "HTTP/1.1 404 Not Found"
