"""Streams that break, stall or are given up: errors in the middle, back-pressure, readers that go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import drain, forever, outcome, plain, until, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.rig import Rig


# Errors in mid-stream


async def test_abort_after_part_of_a_stream(rig: Rig) -> None:
    """What was sent before an abort arrives before its error."""

    async def repeat(request: Any, context: Any) -> Any:
        yield words("one")
        yield words("two")
        await context.abort(grpc.StatusCode.ABORTED, "enough", (("sent", "2"),))

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    assert await drain(call) == ["one", "two", ("ABORTED", "enough")]
    assert tuple(await call.trailing_metadata()) == (("sent", "2"),)


async def test_an_exception_in_mid_stream(rig: Rig) -> None:
    """As in a unary handler, after what was sent."""

    async def repeat(request: Any, context: Any) -> Any:
        yield words("one")
        raise ValueError("no more words")

    served = await rig.serve(repeat=repeat)
    echo = EchoStub(rig.connect(served.target))
    error = ("UNKNOWN", "Unexpected <class 'ValueError'>: no more words")
    assert await drain(echo.Repeat(words())) == ["one", error]
    call = echo.Repeat(words())
    assert [await outcome(call.read()) for _ in range(3)] == ["one", error, error]


async def test_a_code_set_in_mid_stream(rig: Rig) -> None:
    """A code that was set takes effect when the handler returns."""

    async def repeat(request: Any, context: Any) -> Any:
        yield words("one")
        context.set_code(grpc.StatusCode.OUT_OF_RANGE)
        context.set_details("there is no two")
        yield words("still")

    served = await rig.serve(repeat=repeat)
    assert await drain(EchoStub(rig.connect(served.target)).Repeat(words())) == [
        "one",
        "still",
        ("OUT_OF_RANGE", "there is no two"),
    ]


async def test_an_error_before_the_first_message(rig: Rig) -> None:
    """A response of trailers only: no initial metadata, no message, an error."""

    async def chat(requests: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
        yield

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    assert await outcome(call.read()) == ("PERMISSION_DENIED", "not you")
    assert tuple(await call.initial_metadata()) == ()
    assert await call.code() == grpc.StatusCode.PERMISSION_DENIED
    assert await outcome(call.write(words())) == ("InvalidStateError", "RPC already finished.")


async def test_a_stream_that_yields_no_message(rig: Rig) -> None:
    """What cannot be serialized ends the stream."""

    async def repeat(request: Any, context: Any) -> Any:
        yield words("one")
        yield None

    served = await rig.serve(repeat=repeat)
    seen = await drain(EchoStub(rig.connect(served.target)).Repeat(words()))
    assert (seen[0], seen[1][0], seen[1][1][:31]) == ("one", "UNKNOWN", "Unexpected <class 'TypeError'>:")


async def test_an_iterator_of_requests_that_raises(rig: Rig) -> None:
    """The call is cancelled, the exception swallowed. The handler is cancelled too; its requests may seem
    to end before that, which is a matter of chance.
    """
    seen: list[Any] = []

    async def gather(requests: Any, context: Any) -> Any:
        try:
            async for request in requests:
                seen.append(request.text)  # noqa: PERF401 (what came before the cancellation counts)
            seen.append("end")
            await forever()
        except asyncio.CancelledError:
            seen.append("CancelledError")
            raise

    async def failing() -> AsyncIterator[Any]:
        yield words("one")
        await asyncio.sleep(0.05)
        raise ValueError("no more words")

    served = await rig.serve(gather=gather)
    call = EchoStub(rig.connect(served.target)).Gather(failing())
    assert await outcome(call) == "CancelledError"
    assert (await call.code(), await call.details()) == (
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )
    await until(lambda: "CancelledError" in seen)
    assert seen in (["one", "end", "CancelledError"], ["one", "CancelledError"])


async def test_a_stream_of_requests_that_the_server_refuses(rig: Rig) -> None:
    """An error ends the call under the writer; whatever it writes then, fails."""

    async def gather(requests: Any, context: Any) -> Any:
        await anext(aiter(requests))
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "one is enough")

    served = await rig.serve(gather=gather)
    call = EchoStub(rig.connect(served.target)).Gather()
    await call.write(words("one"))
    await until(call.done)
    assert await outcome(call.write(words("two"))) == ("InvalidStateError", "RPC already finished.")
    assert await outcome(call) == ("RESOURCE_EXHAUSTED", "one is enough")


async def test_a_write_after_the_end_that_was_not_read(rig: Rig) -> None:
    """A write fails when the server has ended the call, and spoils what is left to be read."""

    async def chat(requests: Any, context: Any) -> Any:
        yield words("one")
        yield words("two")

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    assert plain(await call.read()) == "one"
    await asyncio.sleep(0.1)
    spoilt = ("INTERNAL", "Internal error from Core")
    assert [await outcome(call.write(words())), await outcome(call.read())] == [spoilt, spoilt]


# What holds a writer back

CHUNK = 100_000  # bytes
MANY = 100  # chunks: 10 MB, far more than any window
FIXED = [("grpc.http2.bdp_probe", 0)]  # windows do not grow


async def test_a_server_waits_for_its_reader(rig: Rig) -> None:
    """A handler that streams faster than its client reads is held back, and loses nothing."""
    sent = 0

    async def repeat(request: Any, context: Any) -> Any:
        nonlocal sent
        for number in range(MANY):
            yield words(number=number, payload=bytes(CHUNK))
            sent += 1

    served = await rig.serve(repeat=repeat, options=FIXED)
    call = EchoStub(rig.connect(served.target, options=FIXED)).Repeat(words())
    first = await call.read()
    await asyncio.sleep(0.3)
    stuck = sent
    await asyncio.sleep(0.1)
    assert 1 <= stuck == sent < MANY
    rest = [(await call.read()).number for _ in range(MANY - 1)]
    assert ([first.number, *rest], await call.read()) == (list(range(MANY)), grpc.aio.EOF)


async def test_two_writes_at_once(rig: Rig) -> None:
    """A handler may have one `write` under way: another fails while that waits for its reader."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> None:
        async def fill() -> None:
            for number in range(MANY):
                await context.write(words(number=number, payload=bytes(CHUNK)))

        filling = asyncio.create_task(fill())
        await asyncio.sleep(0.3)
        assert not filling.done()
        seen.append(await outcome(context.write(words())))
        await filling

    served = await rig.serve(repeat=repeat, options=FIXED)
    call = EchoStub(rig.connect(served.target, options=FIXED)).Repeat(words())
    await until(lambda: seen)
    assert [message.number async for message in call] == list(range(MANY))
    assert seen[0][0] == "ExecuteBatchError"


async def test_a_client_waits_for_its_reader(rig: Rig) -> None:
    """A client that streams faster than the handler reads is held back, and loses nothing."""
    gate = asyncio.Event()
    sent = 0

    async def gather(requests: Any, context: Any) -> Any:
        iterator = aiter(requests)
        await anext(iterator)
        await gate.wait()
        return words(number=1 + len([request async for request in iterator]))

    served = await rig.serve(gather=gather, options=FIXED)
    call = EchoStub(rig.connect(served.target, options=FIXED)).Gather()

    async def write() -> None:
        nonlocal sent
        for number in range(MANY):
            await call.write(words(number=number, payload=bytes(CHUNK)))
            sent += 1
        await call.done_writing()

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.3)
    stuck = sent
    await asyncio.sleep(0.1)
    assert 1 <= stuck == sent < MANY
    gate.set()
    await writing
    assert ((await call).number, sent) == (MANY, MANY)


async def test_a_held_back_stream_holds_back_no_other(rig: Rig) -> None:
    """A stream that nobody reads does not keep other calls of the same channel from going through."""

    async def repeat(request: Any, context: Any) -> Any:
        for _ in range(MANY):
            yield words(payload=bytes(CHUNK))

    served = await rig.serve(**{**ECHO, "repeat": repeat})
    echo = EchoStub(rig.connect(served.target))
    unread = echo.Repeat(words())
    await unread.read()
    await asyncio.sleep(0.1)
    assert await outcome(echo.Say(words("hello", 0, bytes(CHUNK)), timeout=2)) == "hello"
    unread.cancel()


# A reader or writer that gives up


async def test_a_reader_that_breaks_off(rig: Rig) -> None:
    """Leaving the loop does not end the call; cancelling it does, and the handler learns of it."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> Any:
        try:
            yield words("one")
            await forever()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    async for _ in call:
        break
    await asyncio.sleep(0.05)
    assert (seen, call.done()) == ([], False)
    assert (call.cancel(), call.cancel()) == (True, False)
    await until(lambda: seen)
    assert (seen, call.cancelled(), await call.code()) == (
        ["CancelledError"],
        True,
        grpc.StatusCode.CANCELLED,
    )


async def test_cancelling_a_pending_read(rig: Rig) -> None:
    """Cancelling the task that reads cancels the call."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> Any:
        try:
            yield words("one")
            await forever()
        except asyncio.CancelledError:
            seen.append("CancelledError")
            raise

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    assert plain(await call.read()) == "one"
    reading = asyncio.create_task(call.read())  # type: ignore[arg-type]
    await asyncio.sleep(0.02)
    reading.cancel()
    assert await outcome(reading) == "CancelledError"
    await until(lambda: seen)
    assert (await call.code(), call.cancelled()) == (grpc.StatusCode.CANCELLED, True)
    assert await outcome(call.read()) == "CancelledError"
