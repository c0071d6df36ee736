"""Streams over plain TCP: what `grpc.aio` promises of a call holds of theirs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import grpc
import pytest
import uvloop

from protos.echo_pb2 import Words
from services.real import plain
from services.real.names import free_port

METHOD = "/test/Talk"


class Handlers(grpc.GenericRpcHandler):
    def __init__(self, talk):
        self._handler = grpc.stream_stream_rpc_method_handler(talk, Words.FromString, None)

    def service(self, details):
        return self._handler if details.method == METHOD else None


async def echo(_, context):
    await context.send_initial_metadata(())
    while (message := await context.read()) is not None:
        await context.write(message.text.encode())


def told(story, talk=echo):
    async def main():
        port = free_port("127.0.0.1")
        server = plain.Server("127.0.0.1", port, "token")
        server.add_generic_rpc_handlers((Handlers(talk),))
        await server.start()
        try:
            async with asyncio.timeout(20):
                await story(port, server)
        finally:
            await server.stop()

    asyncio.run(main())
    uvloop.run(main())  # a server from `zoo.cfg` has this loop


def call(port, token="token", method=METHOD, metadata=()):
    channel = plain.Channel(f"127.0.0.1:{port}", "me", token)
    return channel, channel.stream_stream(method, Words.SerializeToString, bytes.decode)(metadata=metadata)


def test_messages_are_read_and_written_in_order_until_the_caller_ends():
    async def story(port, _):
        channel, talk = call(port)
        await talk.wait_for_connection()
        for number in range(100):
            await talk.write(Words(text=f"{number}"))
        await talk.done_writing()
        assert [await talk.read() for _ in range(100)] == [f"{number}" for number in range(100)]
        assert await talk.read() is None
        await channel.close()

    told(story)


def test_a_writer_waits_for_a_reader_and_large_messages_come_through():
    async def story(port, _):
        _, talk = call(port)
        text, sent = "x" * (3 << 20), 0

        async def send():
            nonlocal sent
            for _ in range(20):
                await talk.write(Words(text=text))
                sent += 1

        sending = asyncio.create_task(send())
        await asyncio.sleep(0.5)
        assert sent < 20  # nobody reads the echo, so the other side reads no more either
        for _ in range(20):
            assert await talk.read() == text
        await sending
        talk.cancel()

    told(story)


def test_what_was_written_before_the_end_arrives():
    heard = []

    async def listen(_, context):
        await context.send_initial_metadata(())
        await asyncio.sleep(0.2)  # the caller has gone by now
        while (message := await context.read()) is not None:
            heard.append(len(message.text))

    async def story(port, _):
        channel, talk = call(port)
        await talk.wait_for_connection()
        writing = asyncio.create_task(talk.write(Words(text="x" * (16 << 20))))
        await asyncio.sleep(0)
        await channel.close()
        while not heard:
            await asyncio.sleep(0.01)
        assert heard == [16 << 20]
        await asyncio.gather(writing, return_exceptions=True)

    told(story, listen)


def test_the_other_side_sees_who_calls_with_what():
    seen = {}

    async def look(_, context):
        seen.update(context.invocation_metadata(), peer=context.peer())
        await context.send_initial_metadata(())

    async def story(port, _):
        _, talk = call(port, metadata=(("server", "1"), ("ensemble-bin", b"\xff\x00")))
        assert await talk.read() is None
        assert seen["server"] == "1"
        assert seen["ensemble-bin"] == b"\xff\x00"
        assert seen["peer"].startswith("127.0.0.1:")

    told(story, look)


async def aborting(_, context):
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")


@pytest.mark.parametrize(
    ("talk", "wrong"), [(echo, {"token": "other"}), (echo, {"method": "/test/None"}), (aborting, {})]
)
def test_a_call_that_is_refused_never_begins(talk, wrong):
    async def story(port, _):
        _, refused = call(port, **wrong)
        for ask in (refused.wait_for_connection, refused.read):
            with pytest.raises(ConnectionError):
                await ask()

    told(story, talk)


def test_calls_end_when_the_server_stops():
    async def story(port, server):
        _, talk = call(port)
        await talk.wait_for_connection()
        await server.stop()
        with contextlib.suppress(ConnectionError):
            assert await talk.read() is None
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                await talk.write(Words(text="x" * 1000))
                await asyncio.sleep(0)
        _, late = call(port)
        with pytest.raises(ConnectionError):
            await late.wait_for_connection()

    told(story)


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        (1 << 31).to_bytes(4, "big") + b"x" * 100,
        (0).to_bytes(4, "big"),
        (5).to_bytes(4, "big") + b"\xc1\xc1\xc1\xc1\xc1",
    ],
)
def test_strangers_are_hung_up_on(greeting, caplog):
    async def story(port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(greeting)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert not caplog.records

    told(story)


def test_who_says_nothing_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(plain, "WITHIN", 0.1)

    async def story(port, _):
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""

    told(story)


def test_finishing_what_the_other_side_has_just_reset_ends_the_call_and_nothing_else():
    """A reset that the loop has not seen yet: the end of the stream is refused (ENOTCONN)."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ours = socket.create_connection(listening.getsockname())
            theirs, _ = listening.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection = plain.Connection()
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
        theirs.close()
        connection.finish()
        return connection.lost

    assert "not connected" in asyncio.run(main())


def test_frames_are_fed_as_they_come_until_no_more_are_wanted_and_then_again():
    async def story(port, _):
        channel, talk = call(port)
        await talk.wait_for_connection()
        for number in range(10):
            await talk.write(Words(text=f"{number}"))
        fed = []

        def take(text):
            fed.append(text)
            return len(fed) % 4 != 0

        assert await talk.feed(take)
        assert fed == ["0", "1", "2", "3"]
        assert await talk.feed(take)
        assert await talk.read() == "8"  # what is not fed is read
        await talk.done_writing()
        assert not await talk.feed(take)
        assert fed == [*"01234567", "9"]
        await channel.close()

    told(story)


def test_what_cannot_be_taken_ends_the_feeding_with_the_reason():
    async def story(port, _):
        _, talk = call(port)
        await talk.wait_for_connection()
        await talk.write(Words(text="no number"))
        with pytest.raises(ValueError, match="no number"):
            await talk.feed(lambda text: int(text) > 0)
        talk.cancel()

    told(story)


def test_a_frame_is_sent_now_unless_that_had_to_wait():
    async def ignore(_, context):
        await context.send_initial_metadata(())
        await asyncio.Event().wait()

    async def story(port, _):
        _, talk = call(port)
        await talk.wait_for_connection()
        sent = 0
        while talk.write_now(b"x" * (1 << 20)):
            sent += 1
            await asyncio.sleep(0)
        assert 0 < sent < 100  # until what nobody reads has filled what there is to hold it
        talk.cancel()
        await asyncio.sleep(0)
        assert not talk.write_now(b"x")

    told(story, ignore)
