"""asyncio's streams between simulated hosts behave as TCP does."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from protos.trace import Lost, Message
from services.recorder import Recorder
from sim.faults import Partition
from sim.simulate import simulate
from sim.world.faults import Faults
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PORT = 2181
Handler = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"


def serving(handler: Any) -> Callable[[], Awaitable[None]]:
    """Returns a program that serves streams for ever."""

    async def program() -> None:
        async with await asyncio.start_server(handler, port=PORT) as server:
            await server.serve_forever()

    return program


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(1000)


class World:
    """A host `server` that runs a handler, and a client that tells the story."""

    def __init__(self, handler: Any = echo) -> None:
        self.records: list[Any] = []
        self.recorder = Recorder(keep=self.records.extend)
        self.simulation = Simulation(recorder=self.recorder)
        self.simulation.boot("server", serving(handler), adopt=True)
        self.faults = Faults(self.simulation)

    def run(self, story: Awaitable[Any]) -> Any:
        try:
            return self.simulation.run(story, name="client", adopt=True)  # type: ignore[arg-type]
        finally:
            self.recorder.close()


async def connect(port: int = PORT) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    await asyncio.sleep(0.01)
    return await asyncio.open_connection("server", port)


def test_bytes_arrive_in_order_and_whole() -> None:
    sent = bytes(range(256)) * 4000

    async def story() -> bytes:
        reader, writer = await connect()
        for start in range(0, len(sent), 1000):
            writer.write(sent[start : start + 1000])
        writer.write_eof()
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
        return received

    assert World().run(story()) == sent


def test_each_end_of_a_half_closed_connection_can_still_be_read() -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async def story() -> bytes:
        reader, writer = await connect()
        assert writer.can_write_eof()
        writer.write(b"x" * 777)
        writer.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            writer.write(b"more")
        return await reader.read()

    assert World(count).run(story()) == b"777"


def test_a_writer_waits_for_a_reader_that_does_not_read() -> None:
    async def story() -> int:
        _, writer = await connect()
        written = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                while True:
                    writer.write(bytes(16384))
                    written += 16384
                    await writer.drain()
        assert writer.transport.get_write_buffer_size() > 64 * 1024
        return written

    assert 256 * 1024 < World(never_read).run(story()) < 512 * 1024


def test_addresses_tell_who_is_who() -> None:
    seen: dict[str, Any] = {}

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen["peer"] = writer.get_extra_info("peername")
        seen["here"] = writer.get_extra_info("sockname")
        writer.close()

    async def story() -> None:
        reader, writer = await connect()
        await reader.read()
        assert writer.get_extra_info("peername") == seen["here"] == ("10.0.0.1", PORT)
        assert writer.get_extra_info("sockname") == seen["peer"]
        assert seen["peer"][0] == "10.0.0.2"
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.close()
        again = await asyncio.open_connection("10.0.0.1", PORT)
        assert again[1].get_extra_info("sockname") != seen["here"]
        loop = asyncio.get_running_loop()
        assert (await loop.getaddrinfo("server", PORT))[0][-1] == ("10.0.0.1", PORT)
        assert await loop.getnameinfo(("10.0.0.2", 80)) == ("client", "80")

    World(look).run(story())


def test_a_crash_resets_the_connection() -> None:
    world = World()

    async def story() -> None:
        reader, writer = await connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        world.simulation.machines["server"].crash()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionResetError):
            writer.write(b"anybody?")
            await writer.drain()

    world.run(story())


def test_nobody_there_nobody_listening_and_no_such_name_differ() -> None:
    async def story() -> None:
        with pytest.raises(ConnectionRefusedError, match=r"10\.0\.0\.1"):
            await connect(1)
        with pytest.raises(socket.gaierror, match="elsewhere"):
            await asyncio.open_connection("elsewhere", PORT)

    World().run(story())


def test_a_cut_connection_hangs_and_goes_on_when_healed() -> None:
    world = World()

    async def story() -> tuple[bytes, float]:
        reader, writer = await connect()
        number = world.faults.inject(Partition(groups=[["client"], ["server"]]))
        writer.write(b"are you there?")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await reader.read(100)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await connect()
        world.faults.lift(number)
        return await reader.read(100), asyncio.get_running_loop().time()

    heard, when = world.run(story())
    assert heard == b"are you there?"
    assert when > 40


def test_writing_to_a_peer_that_has_closed_is_answered_by_a_reset() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def story() -> None:
        reader, writer = await connect()
        assert await reader.read() == b""
        with pytest.raises(ConnectionResetError):
            while True:
                writer.write(b"still talking")
                await writer.drain()
                await asyncio.sleep(0.1)

    World(hang_up).run(story())


def test_a_server_that_is_closed_refuses_and_lets_connections_be() -> None:
    async def main() -> bytes:
        server = await asyncio.start_server(echo, "localhost", 0)
        (listening,) = server.sockets
        port = listening.getsockname()[1]
        assert server.is_serving()
        assert port >= 32768
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"still here")
        heard = await reader.readexactly(10)
        writer.close()
        await server.wait_closed()
        assert server.sockets == ()
        return heard

    assert simulate(main) == b"still here"


def test_a_port_is_taken_once() -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, "0.0.0.0", PORT):
            with pytest.raises(OSError, match="already in use") as taken:
                await asyncio.start_server(echo, "localhost", PORT)
        assert taken.value.errno == errno.EADDRINUSE
        async with await asyncio.start_server(echo, "localhost", PORT):
            pass
        with pytest.raises(OSError) as foreign:
            await asyncio.start_server(echo, "10.0.0.99", PORT)
        assert isinstance(foreign.value, socket.gaierror)

    simulate(main)


def test_protocols_and_buffered_protocols_are_served_too() -> None:
    class Upper(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())  # type: ignore[attr-defined]

    class Keep(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(4)
            self.got = b""
            self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.got += bytes(self.buffer[:nbytes])

        def connection_lost(self, exc: BaseException | None) -> None:
            self.lost.set_result(exc)

    async def main() -> tuple[bytes, BaseException | None]:
        loop = asyncio.get_running_loop()
        await loop.create_server(Upper, "localhost", PORT)
        transport, protocol = await loop.create_connection(Keep, "localhost", PORT)
        transport.write(b"buffered protocols")
        await asyncio.sleep(1)
        transport.abort()
        return protocol.got, await protocol.lost

    assert simulate(main) == (b"BUFFERED PROTOCOLS", None)


def test_delivered_and_lost_data_are_in_the_trace() -> None:
    world = World()

    async def story() -> None:
        reader, writer = await connect()
        writer.write(b"x" * 100)
        await reader.readexactly(100)
        world.simulation.machines["server"].crash()
        writer.write(b"y" * 50)
        await asyncio.sleep(1)

    world.run(story())
    arrived = [record for record in world.records if isinstance(record, Message) and record.method == "tcp"]
    assert [(m.source, m.host, m.part, m.size) for m in arrived] == [
        ("client", "server", "data", 100),
        ("server", "client", "data", 100),
    ]
    assert arrived[0].call == arrived[1].call
    assert arrived[0].time > arrived[0].sent
    lost = [record for record in world.records if isinstance(record, Lost)]
    assert [(m.source, m.host, m.size) for m in lost] == [("client", "server", 50)]


def test_a_cancelled_attempt_to_connect_leaves_nothing_behind() -> None:
    world = World()

    async def story() -> bytes:
        attempt = asyncio.create_task(asyncio.open_connection("server", PORT))
        await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.sleep(1)
        reader, writer = await connect()
        writer.write(b"next")
        return await reader.read(4)

    assert world.run(story()) == b"next"


@pytest.mark.parametrize(("unread", "seen"), [(False, "end"), (True, "reset")])
def test_who_aborts_resets_the_connection_only_if_something_was_unread(unread: bool, seen: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"last words")
        transport: Any = writer.transport
        transport.pause_reading()
        await asyncio.sleep(1)
        transport.abort()

    async def main() -> str:
        await asyncio.start_server(hang_up, "localhost", PORT)
        reader, writer = await asyncio.open_connection("localhost", PORT)
        writer.write(b".")
        assert await reader.readexactly(10) == b"last words"
        if unread:
            writer.write(b"is anybody there?")
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            return "reset"
        return "end"

    assert simulate(main) == seen


def test_a_library_may_choose_the_address_and_leave_the_connecting_to_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = ModuleType("aiohappyeyeballs")  # what aiohttp connects with; not among what the tests install

    async def start_connection(addr_infos: Any, **options: Any) -> socket.socket:
        made = socket.socket()
        await asyncio.get_running_loop().sock_connect(made, addr_infos[0][-1])
        return made

    vars(library)["start_connection"] = start_connection
    monkeypatch.setitem(sys.modules, "aiohappyeyeballs", library)
    monkeypatch.delitem(sys.modules, "sim.world.reality.aiohttp_calls", raising=False)

    async def main() -> bytes:
        loop = asyncio.get_running_loop()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        await asyncio.start_server(greet, "localhost", PORT)
        infos = await loop.getaddrinfo("localhost", PORT)
        reader = asyncio.StreamReader()
        chosen = await vars(library)["start_connection"](infos)
        await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader), sock=chosen)
        return await reader.read()

    assert simulate(main) == b"hello"
    assert vars(library)["start_connection"] is start_connection
