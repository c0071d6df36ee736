"""What waits to be sent on one stream: in order, at once where the stream can, else by whoever reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Stream:
    """Takes what is sent, and can stand still."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ready = True

    def now(self, data: bytes) -> bool:
        if self.ready:
            self.sent.append(data)
        return self.ready


def with_both(story: Callable[[Outbox, Stream, Callable[[], object]], object]) -> Stream:
    """Runs a story in which `batches` is read all the time; returns what was sent."""
    stream = Stream()

    async def main() -> None:
        outbox = Outbox()
        outbox.now = stream.now

        async def read() -> None:
            async for data in outbox.batches():
                stream.sent.append(b"<" + data + b">")

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        await story(outbox, stream, lambda: asyncio.sleep(0))  # type: ignore[misc]
        outbox.finish()
        await reading

    asyncio.run(main())
    return stream


async def source() -> AsyncIterator[bytes]:
    yield b"s1"
    await asyncio.sleep(0)
    yield b"s2"


def test_what_was_put_is_flushed_together_and_nobody_is_woken() -> None:
    async def story(outbox: Outbox, stream: Stream, turn: Callable[[], object]) -> None:
        outbox.put(b"1")
        outbox.put(b"2")
        await turn()  # type: ignore[misc]
        assert stream.sent == []
        outbox.flush()
        assert stream.sent == [b"12"]
        outbox.flush()

    assert with_both(story).sent == [b"12"]


def test_order_is_kept_around_a_source() -> None:
    async def story(outbox: Outbox, stream: Stream, turn: Callable[[], object]) -> None:
        outbox.put(b"1")
        outbox.put_source(source())
        outbox.put(b"2")
        outbox.flush()
        assert stream.sent == [b"1"]
        await turn()  # type: ignore[misc]
        outbox.put(b"3")
        outbox.flush()  # the source is being sent
        for _ in range(5):
            await turn()  # type: ignore[misc]
        outbox.put(b"4")
        outbox.flush()

    assert b"".join(with_both(story).sent) == b"1<s1s2><23>4"


def test_a_stream_that_stands_still_is_written_to_by_who_can_wait() -> None:
    async def story(outbox: Outbox, stream: Stream, turn: Callable[[], object]) -> None:
        stream.ready = False
        outbox.put(b"1")
        outbox.flush()
        outbox.put(b"2")
        outbox.flush()
        stream.ready = True
        for _ in range(3):
            await turn()  # type: ignore[misc]
        outbox.put(b"3")
        outbox.flush()

    assert with_both(story).sent == [b"<12>", b"3"]


def test_what_nobody_flushed_is_sent_in_the_end() -> None:
    async def story(outbox: Outbox, stream: Stream, turn: Callable[[], object]) -> None:
        outbox.put(b"1")

    assert with_both(story).sent == [b"<1>"]
