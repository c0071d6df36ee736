"""A client's connection: frames however they come in, order, back-pressure, limits, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.coordination import api
from services.coordination.server.settings import Settings
from services.coordination.wire.door import Door
from services.coordination.wire.four_letter import NAMES
from services.coordination.wire.report import Report
from sim.world.simulation import Simulation
from tests.coordination.wire.fakes import FakeFront, Node
from tests.coordination.wire.raw import create, frame, greeting, request, text

INT = struct.Struct(">i").pack
GET = text("/") + b"\0"


class Client:
    """A client on asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.session, self.password = 0, b""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> bytes:
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        return await self.reader.readexactly(size)

    async def reply(self) -> tuple[int, int, int, bytes]:
        data = await self.frame()
        return (*struct.unpack_from(">iqi", data), data[16:])  # type: ignore[return-value]

    async def greet(self, **greeted: Any) -> bytes:
        self.send(greeting(**greeted))
        answer = await self.frame()
        self.session, self.password = struct.unpack_from(">q", answer, 8)[0], answer[20:36]
        return answer

    async def rest(self) -> bytes:
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionResetError:
            return b""


class Rig:
    """A door to a dict, and clients of it."""

    def __init__(self, settings: Settings, address: str) -> None:
        self.front = FakeFront()
        self.front.nodes["/zookeeper"] = Node(b"", 0)
        self.front.nodes["/"].children["zookeeper"] = None
        self.door = Door(self.front, settings, Report(self.front, {"clientPort": 2181}), NAMES)
        self.address = address
        self.port = 0
        self.clients: list[Client] = []

    async def client(self, greet: bool = True, **greeted: Any) -> Client:
        client = Client(*await asyncio.open_connection(self.address, self.port))
        self.clients.append(client)
        if greet:
            await client.greet(**greeted)
        return client

    async def word(self, name: bytes) -> bytes:
        client = await self.client(greet=False)
        client.send(name)
        return await client.rest()


Story = Callable[[Rig], Awaitable[None]]


@asynccontextmanager
async def rig(**settings: Any) -> AsyncIterator[Rig]:
    made = Rig(Settings(**{"connections_per_address": 0, **settings}), "127.0.0.1")
    made.port = await made.door.start("127.0.0.1", 0)
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    try:
        yield made
    finally:
        for client in made.clients:
            client.writer.close()
        await made.door.stop()
        await asyncio.sleep(0)
    assert not failures


def told(story: Story, **settings: Any) -> None:
    """Runs a story on real sockets."""

    async def main() -> None:
        async with rig(**settings) as made, asyncio.timeout(30):
            await story(made)

    asyncio.run(main())


def simulated(story: Story, **settings: Any) -> None:
    """Runs a story in the simulated world."""
    simulation = Simulation(0, limit_s=600)

    async def main() -> None:
        made = Rig(Settings(**{"connections_per_address": 0, **settings}), "zk1")

        async def program(host: Any) -> None:
            made.port = await made.door.start(None, 2181)
            await asyncio.Event().wait()

        simulation.boot("user")
        simulation.boot("zk1", program)
        await asyncio.sleep(1)
        await story(made)

    simulation.run(main())


@pytest.fixture(params=[told, simulated], ids=["real", "simulated"])
def world(request: pytest.FixtureRequest) -> Callable[..., None]:
    return request.param  # type: ignore[no-any-return]


def test_a_session_from_greeting_to_closing(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        client.send(request(1, 1, create("/a", b"x")) + request(2, 4, text("/a") + b"\0"))
        assert await client.reply() == (1, 1, 0, text("/a"))
        xid, zxid, code, body = await client.reply()
        assert (xid, zxid, code, body[:5]) == (2, 1, 0, text(b"x"))
        client.send(request(-2, 11))
        assert await client.reply() == (-2, 1, 0, b"")
        client.send(request(3, -11))
        assert await client.reply() == (3, 1, 0, b"")
        assert await client.rest() == b""

    world(story)


def test_frames_may_come_in_any_pieces(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client(greet=False)
        data = greeting() + b"".join(request(n, 9, text(f"/{n}")) for n in range(20))
        for at in range(0, len(data), 7):
            client.send(data[at : at + 7])
            await asyncio.sleep(0)
        await client.frame()
        assert [(await client.reply())[3] for _ in range(20)] == [text(f"/{n}") for n in range(20)]

    world(story)


def test_requests_may_follow_the_greeting_at_once(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client(greet=False)
        client.send(greeting() + request(1, 4, GET) + request(2, 9, text("/"))[:10])
        assert len(await client.frame()) == 37
        assert (await client.reply())[0] == 1
        client.send(request(2, 9, text("/"))[10:])
        assert (await client.reply())[0] == 2

    world(story)


def test_replies_come_in_order_also_those_the_door_makes_itself() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        rig.front.held = []
        bad = request(2, 4, b"\0\0")  # too short
        client.send(request(1, 4, GET) + bad + request(3, 1, create("/x", b"", 99)) + request(4, 4, GET))
        await asyncio.sleep(0.05)
        rig.front.release()
        replies = [await client.reply() for _ in range(4)]
        assert [(xid, code) for xid, _, code, _ in replies] == [(1, 0), (2, -5), (3, -8), (4, 0)]

    told(story)


def test_many_frames_of_one_read_are_answered_in_one_write() -> None:
    writes = []

    async def story(rig: Rig) -> None:
        client = await rig.client()
        (link,) = rig.door._connections
        write = link._transport.write
        link._transport.write = lambda data: (writes.append(len(data)), write(data))
        client.send(request(1, 9, text("/")) * 500)
        for _ in range(500):
            await client.reply()

    told(story)
    assert len(writes) <= 3


def test_what_is_not_known_is_refused_and_the_connection_closed() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        client.send(request(9, 999) + request(10, 4, GET))
        assert await client.reply() == (9, 0, -6, b"")
        await client.rest()
        assert not rig.front.links

    told(story)


def test_failed_authentication_is_answered_and_the_connection_closed() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        client.send(request(-4, 100, INT(0) + text("digest") + text(b"a:b")))
        assert await client.reply() == (-4, 0, 0, b"")
        client.send(request(-4, 100, INT(0) + text("kerberos") + text(b"")))
        assert await client.reply() == (-4, 0, -115, b"")
        assert await client.rest() == b""

    told(story)


def test_a_client_that_is_old_is_not_told_of_read_only_mode() -> None:
    async def story(rig: Rig) -> None:
        old = await rig.client(greet=False)
        assert len(await old.greet(read_only=b"")) == 36
        new = await rig.client(greet=False)
        assert len(await new.greet(read_only=b"\1")) == 37
        assert [hello.read_only for hello in rig.front.hellos] == [False, True]

    told(story)


def test_a_session_goes_on_with_its_password_only() -> None:
    async def story(rig: Rig) -> None:
        first = await rig.client()
        again = await rig.client(greet=False)
        await again.greet(session=first.session, password=first.password)
        assert again.session == first.session
        thief = await rig.client(greet=False)
        answer = await thief.greet(session=first.session, password=b"\1" * 16)
        assert struct.unpack_from(">iiq", answer) == (0, 0, 0) and answer[20:36] == bytes(16)
        assert await thief.rest() == b""

    told(story)


def test_a_client_that_has_seen_more_is_sent_away_without_an_answer() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client(greet=False)
        client.send(greeting(zxid=1 << 40))
        assert await client.rest() == b""

    told(story)


@pytest.mark.parametrize("length", [0, -1, -(1 << 31), (1 << 31) - 1, 1001])
def test_a_frame_of_no_proper_length_closes_the_connection(length: int) -> None:
    async def story(rig: Rig) -> None:
        for greet in (True, False):
            client = await rig.client(greet=greet)
            client.send(INT(length) + b"abc")
            assert await client.rest() == b""
        assert rig.door.refusals.counts() == {"frames of no proper length": 2}

    told(story, max_buffer=1000)


def test_a_frame_as_large_as_allowed_passes() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        body = text("/a") + text(b"x" * 900)
        client.send(request(1, 1, body + INT(1) + INT(31) + text("world") + text("anyone") + INT(0)))
        assert (await client.reply())[2] == 0

    told(story, max_buffer=8 + 4 + 2 + 4 + 900 + 4 + 4 + 9 + 10 + 4)


def test_a_half_sent_frame_is_dropped_with_its_connection(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        client.send(request(1, 1, create("/half"))[:-1])
        await asyncio.sleep(0.05)
        client.writer.close()
        while rig.front.links:
            await asyncio.sleep(0.01)
        assert "/half" not in rig.front.nodes

    world(story)


def test_a_client_that_says_nothing_is_closed(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        silent = await rig.client(greet=False)
        half = await rig.client(greet=False)
        half.send(greeting()[:20])
        assert await silent.rest() == b"" and await half.rest() == b""
        assert rig.door.idle() == 0

    world(story, handshake=0.2)


def test_connections_of_one_address_are_limited(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        kept = [await rig.client(), await rig.client()]
        more = await rig.client(greet=False)
        more.send(greeting())
        assert await more.rest() == b""
        kept[0].writer.close()
        while len(rig.door._connections) > 1:
            await asyncio.sleep(0.01)
        assert (await rig.client()).session

    world(story, connections_per_address=2)


def test_the_server_has_requests_wait(world: Callable[..., None]) -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        rig.front.limit, rig.front.held = 3, []
        client.send(b"".join(request(n, 9, text("/")) for n in range(50)))
        await asyncio.sleep(0.1)
        assert len(rig.front.held) == 3  # and the fake asserts that none comes beyond
        while rig.front.held:
            held, rig.front.held = rig.front.held, []
            for answer in held:
                answer()
            await asyncio.sleep(0.01)
        assert [(await client.reply())[0] for _ in range(50)] == list(range(50))

    world(story)


def test_a_client_that_does_not_read_is_held_back_and_then_cut_off() -> None:
    async def story(rig: Rig) -> None:
        rig.front.nodes["/"].data = b"x" * 100_000
        client = await rig.client()
        client.writer.transport.pause_reading()
        (link,) = rig.door._connections
        client.send(request(1, 4, GET) * 2000)  # asks for 200 MB
        while not link._held:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert link._transport.get_write_buffer_size() < 2_000_000
        asked = len(rig.front.links) and next(iter(rig.front.links)).seen
        assert asked and len(asked) < 2000
        connection = next(iter(rig.front.links))
        event = api.Event(api.EventType.CREATED, "/" + "y" * 10_000, 1)
        for _ in range(400):  # what it is told without asking
            connection.deliver(event)
            await asyncio.sleep(0)
        assert connection.gone
        assert rig.door.refusals.counts() == {"clients that do not read": 1}

    told(story, unread=1_000_000)


def test_a_slow_reader_gets_everything() -> None:
    async def story(rig: Rig) -> None:
        rig.front.nodes["/"].data = b"x" * 100_000
        client = await rig.client()
        client.send(b"".join(request(n, 4, GET) for n in range(300)))
        for number in range(300):
            assert (await client.reply())[0] == number

    told(story)


def test_events_come_before_the_replies_after_them() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        rig.front.held = []
        client.send(request(1, 9, text("/")))
        await asyncio.sleep(0.05)
        (connection,) = rig.front.links
        connection.deliver(api.Event(api.EventType.DATA_CHANGED, "/a", 5))
        rig.front.release()
        assert (await client.reply())[:3] == (-1, -1, 0)
        assert (await client.reply())[0] == 1

    told(story)


def test_the_server_ends_a_connection_after_what_it_said_last() -> None:
    async def story(rig: Rig) -> None:
        client = await rig.client()
        (connection,) = rig.front.links
        connection.deliver(api.Event(api.EventType.DELETED, "/a", 5))
        connection.closed("expired")
        assert (await client.reply())[0] == -1
        assert await client.rest() == b""
        assert not connection.gone  # it knows

    told(story)


def test_nothing_of_an_error_gets_out(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        rig.front.perform = lambda request: api.Count(1 << 40)  # type: ignore[method-assign]
        client = await rig.client()
        client.send(request(1, 4, GET))
        assert await client.rest() == b""

        async def fail(*arguments: Any) -> Any:
            raise RuntimeError("inside")

        rig.front.connect = fail  # type: ignore[method-assign]
        client = await rig.client(greet=False)
        client.send(greeting())
        assert await client.rest() == b""
        rig.front.figures = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        assert await rig.word(b"stat") == b""

    told(story)
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "an answer could not be written",
        "a session could not be opened",
        "stat could not be answered",
    ]


def test_refusals_of_one_kind_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        for _ in range(50):
            client = await rig.client(greet=False)
            client.send(frame(b"x"))
            assert await client.rest() == b""

    told(story)
    assert len(caplog.records) == 1
    assert "greetings that cannot be read" in caplog.records[0].message


def test_idle_connections_hinder_nobody() -> None:
    async def story(rig: Rig) -> None:
        idle = [await rig.client() for _ in range(400)]
        client = await rig.client()
        client.send(request(1, 9, text("/")) * 100)
        for _ in range(100):
            await client.reply()
        assert len(rig.front.links) == len(idle) + 1

    told(story)
