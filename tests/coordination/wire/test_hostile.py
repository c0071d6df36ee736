"""Hostile clients against a running server: never a failure inside, never a loss, never unbounded memory."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from services.coordination.api import Code
from tests.coordination.wire.alone import Threaded, threaded
from tests.coordination.wire.hunt import hunt
from tests.coordination.wire.raw import Raw, create, greeting, request, text

INT = struct.Struct(">i").pack


@pytest.fixture
def server() -> Iterator[Threaded]:
    with threaded(max_buffer=100_000) as made:
        yield made


def test_random_bytes_and_mutated_sessions() -> None:
    ended = asyncio.run(hunt(7, 2000))
    assert ended["closed"] > 100 and ended["open"] > 100
    assert {"OK", "MARSHALLING_ERROR", "UNIMPLEMENTED", "BAD_ARGUMENTS", "NO_AUTH", "NO_NODE"} <= set(ended)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "a/b",
        "/a/",
        "//",
        "/a//b",
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a\0b",
        "/a\x1f",
        "/a\x7f",
        "/\ufff0",
    ],
)
def test_a_path_that_cannot_be_is_refused(server: Threaded, path: str) -> None:
    refusals = (Code.BAD_ARGUMENTS, Code.NO_NODE)  # the parent is looked for first, as Apache does
    with Raw(server.port) as client:
        client.ask(1, create("/a"))
        count = server.call(lambda: len(server.server.tree))
        assert client.ask(1, create(path)).code in refusals
        several = struct.pack(">i?i", 1, False, -1) + create(path) + struct.pack(">i?i", -1, True, -1)
        assert client.ask(14, several).body[5:9] in (INT(refusals[0]), INT(refusals[1]))
        for kind in (3, 4, 8):
            assert client.ask(kind, text(path) + b"\0").code in refusals
        assert server.call(lambda: len(server.server.tree)) == count


@pytest.mark.parametrize("path", [b"/\xff", b"/\xed\xa0\x80", b"/\xc0\xaf"])
def test_a_path_that_is_no_text_is_refused(server: Threaded, path: bytes) -> None:
    with Raw(server.port) as client:
        assert client.ask(1, create(path)).code == Code.BAD_ARGUMENTS


def test_a_very_deep_or_long_path_is_refused(server: Threaded) -> None:
    with Raw(server.port) as client:
        for path in ("/a" * 5000, "/" + "x" * 20_000):
            assert client.ask(1, create(path)).code == Code.BAD_ARGUMENTS
            assert client.ask(4, text(path) + b"\0").code in (Code.BAD_ARGUMENTS, Code.NO_NODE)


def test_data_over_the_limit_closes_the_connection_and_nothing_else(server: Threaded) -> None:
    with Raw(server.port) as other, Raw(server.port) as client:
        assert client.ask(1, create("/large", b"x" * 90_000)).code == 0
        client.send(request(2, 5, text("/large") + text(b"y" * 100_000) + INT(-1)))
        assert client.rest() == b""
        assert other.ask(4, text("/large") + b"\0").body[4:5] == b"x"


def test_a_stolen_session_needs_its_password(server: Threaded) -> None:
    with Raw(server.port) as owner:
        owner.ask(1, create("/mine", b"", 1))
        for password in (bytes(16), b"", owner.password[:-1] + b"\0", b"x" * 1000):
            with Raw(server.port, greet=False) as thief:
                thief.send(greeting(session=owner.session, password=password))
                answer = thief.frame()
                assert struct.unpack_from(">iiq", answer) == (0, 0, 0) and answer[20:36] == bytes(16)
                assert thief.rest() == b""
        assert owner.ask(3, text("/mine") + b"\0").code == 0


def test_a_watch_on_every_node_fires_once(server: Threaded) -> None:
    count = 3000
    with Raw(server.port) as watcher, Raw(server.port) as other:
        other.send(b"".join(request(n, 1, create(f"/n{n}")) for n in range(count)))
        assert {other.reply().code for _ in range(count)} == {0}
        watcher.send(b"".join(request(n, 4, text(f"/n{n}") + b"\1") for n in range(count)))
        assert {watcher.reply().code for _ in range(count)} == {0}
        other.send(b"".join(request(n, 5, text(f"/n{n}") + text(b"x") + INT(-1)) for n in range(count)))
        paths = [watcher.reply() for _ in range(count)]
        assert {reply.xid for reply in paths} == {-1}
        assert len({reply.body for reply in paths}) == count
        assert server.call(lambda: len(server.server.watches)) == 0


def test_what_a_closed_connection_had_is_forgotten(server: Threaded) -> None:
    def counts() -> tuple[Any, ...]:
        return len(server.server.watches), len(server.door._connections), server.server.throttle.outstanding

    for _ in range(20):
        with Raw(server.port) as client:
            client.ask(4, text("/") + b"\1")
            client.send(request(1, 1, create("/s-", b"", 2)) * 100)  # and goes without an answer
    with Raw(server.port) as last:
        last.ask(11)
        assert server.call(counts) == (0, 1, 0)
