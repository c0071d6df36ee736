"""Streams: their four shapes in both styles, half-closed ends, and misuse."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import drain, outcome, plain, until, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conformance.rig import Rig


async def each(*texts: str) -> AsyncIterator[Any]:
    for text in texts:
        yield words(text)


# The shapes, in both styles


async def test_a_stream_of_responses_by_iterator(rig: Rig) -> None:
    """`async for` gives each response in order, then ends."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 3))
    assert await drain(call) == ["w0", "w1", "w2"]
    assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")


async def test_a_stream_of_responses_by_read(rig: Rig) -> None:
    """`read` gives each response, then EOF as often as one asks."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 2))
    seen = [plain(await call.read()) for _ in range(4)]
    assert seen == ["w0", "w1", grpc.aio.EOF, grpc.aio.EOF]


@pytest.mark.parametrize("style", ["async iterator", "iterator", "list"])
async def test_a_stream_of_requests_by_iterator(rig: Rig, style: str) -> None:
    """Requests come from any iterable, async or not."""
    served = await rig.serve(**ECHO)
    texts = [words("one"), words("two")]
    requests: Any = {"async iterator": each("one", "two"), "iterator": iter(texts), "list": texts}[style]
    answer = await EchoStub(rig.connect(served.target)).Gather(requests)
    assert (answer.text, answer.number) == ("one two", 2)


async def test_a_stream_of_requests_by_write(rig: Rig) -> None:
    """`write` as one likes, `done_writing` (twice does no harm), await."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Gather()
    for text in ("one", "two", "three"):
        await call.write(words(text))
    await call.done_writing()
    await call.done_writing()
    assert await outcome(call) == "one two three"


async def test_both_streams_by_iterator(rig: Rig) -> None:
    """Responses come while requests go."""
    served = await rig.serve(**ECHO)
    assert await drain(EchoStub(rig.connect(served.target)).Chat(each("a", "b", "c"))) == ["a", "b", "c"]


async def test_both_streams_hand_in_hand(rig: Rig) -> None:
    """Each message is answered before the next is written: the order of events on both sides is fixed."""
    seen: list[Any] = []

    async def chat(requests: Any, context: Any) -> Any:
        async for request in requests:
            seen.append(("server", request.text))
            yield words(request.text.upper())
        seen.append(("server", "end"))

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    for text in ("a", "b"):
        await call.write(words(text))
        seen.append(("client", plain(await call.read())))
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert seen == [("server", "a"), ("client", "A"), ("server", "b"), ("client", "B"), ("server", "end")]


async def test_a_handler_that_reads_and_writes(rig: Rig) -> None:
    """A handler may use `context.read` and `context.write` instead of iterating and yielding."""
    seen: list[Any] = []

    async def chat(_: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(words(request.text * 2))
        seen.append(await context.read() is grpc.aio.EOF)

    served = await rig.serve(chat=chat)
    assert await drain(EchoStub(rig.connect(served.target)).Chat(each("a", "b"))) == ["aa", "bb"]
    assert seen == [True]


async def test_a_handler_that_mixes_iterating_and_reading(rig: Rig) -> None:
    """A handler may iterate and read by turns."""

    async def gather(requests: Any, context: Any) -> Any:
        seen = [plain(await context.read())]
        async for request in requests:
            seen.append(request.text)
            break
        seen.append(plain(await context.read()))
        return words(" ".join(seen))

    served = await rig.serve(gather=gather)
    assert await outcome(EchoStub(rig.connect(served.target)).Gather(each("a", "b", "c"))) == "a b c"


async def test_a_handler_that_mixes_writing_and_yielding(rig: Rig) -> None:
    """A generator may call `context.write` as well."""

    async def repeat(request: Any, context: Any) -> Any:
        await context.write(words("written"))
        yield words("yielded")

    served = await rig.serve(repeat=repeat)
    assert await drain(EchoStub(rig.connect(served.target)).Repeat(words())) == ["written", "yielded"]


async def test_a_handler_of_a_stream_that_is_not_async(rig: Rig) -> None:
    """Plain generators serve streams as well."""

    def chat(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            yield words(request.text.upper())

    served = await rig.serve(chat=chat)
    assert await drain(EchoStub(rig.connect(served.target)).Chat(each("a", "b"))) == ["A", "B"]


async def test_empty_streams(rig: Rig) -> None:
    """A stream of no messages, either way."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    assert await drain(echo.Repeat(words("w", 0))) == []
    assert await echo.Gather(each()) == words("", 0)
    assert await drain(echo.Chat(each())) == []
    call = echo.Chat()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_ten_thousand_messages_in_order(rig: Rig) -> None:
    """Order holds, in both directions at once."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    assert [m.number async for m in echo.Repeat(words("w", 10_000))] == list(range(10_000))
    numbered = [words(number=number) for number in range(2_000)]
    assert [m.number async for m in echo.Chat(numbered)] == list(range(2_000))


async def test_a_stream_that_nobody_reads(rig: Rig) -> None:
    """A call has not ended before its responses have been read: `code` waits for that."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 3))
    asking = asyncio.create_task(call.code())
    await asyncio.sleep(0.1)
    assert (call.done(), asking.done()) == (False, False)
    assert await drain(call) == ["w0", "w1", "w2"]
    assert (await asking, call.done()) == (grpc.StatusCode.OK, True)


async def test_a_unary_handler_called_as_a_stream(rig: Rig) -> None:
    """On the wire a unary call is a stream of one: either side may take it so."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    coding: Any = {
        "request_serializer": Words.SerializeToString,
        "response_deserializer": Words.FromString,
    }
    as_stream = channel.stream_stream("/dsim.echo.Echo/Say", **coding)(each("one"))
    assert await drain(as_stream) == ["one"]
    as_unary = channel.unary_unary("/dsim.echo.Echo/Chat", **coding)(words("two"))
    assert await outcome(as_unary) == "two"


async def test_two_reads_one_after_the_other_by_two_tasks(rig: Rig) -> None:
    """A stream belongs to the call, not to a task: messages go to whoever reads next."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 3))
    seen = [plain(await asyncio.create_task(call.read())) for _ in range(3)]  # type: ignore[arg-type]
    assert seen == ["w0", "w1", "w2"]


async def test_a_second_read_beside_one_that_waits(rig: Rig) -> None:
    """It gets no message: the caller's is answered by the end of the call, a handler's by EOF at once."""
    gate = asyncio.Event()
    seen: list[Any] = []

    async def chat(requests: Any, context: Any) -> Any:
        first = asyncio.create_task(context.read())
        await asyncio.sleep(0.05)
        seen.append(await context.read() is grpc.aio.EOF)
        await context.write(words("go"))
        seen.append(plain(await first))
        await gate.wait()
        for text in ("one", "two"):
            await context.write(words(text))

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    assert plain(await call.read()) == "go"
    await call.write(words("hello"))
    await until(lambda: len(seen) == 2)
    assert seen == [True, "hello"]
    first = asyncio.create_task(call.read())
    await asyncio.sleep(0.05)
    second = asyncio.create_task(call.read())
    await asyncio.sleep(0.05)
    gate.set()
    assert plain(await first) == "one"
    await asyncio.sleep(0.05)
    assert not second.done()
    assert [plain(await call.read()), await call.read()] == ["two", grpc.aio.EOF]
    assert await second is grpc.aio.EOF


async def test_a_handlers_read_that_was_given_up(rig: Rig) -> None:
    """A read that a timeout has cancelled goes on in gRPC: others get EOF, and it takes the next message."""
    seen: list[Any] = []

    async def chat(requests: Any, context: Any) -> Any:
        try:
            await asyncio.wait_for(context.read(), 0.05)
        except TimeoutError:
            seen.append("late")
        seen.append(await context.read() is grpc.aio.EOF)
        await context.write(words("go"))
        await asyncio.sleep(0.1)
        seen.append(plain(await context.read()))

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    assert plain(await call.read()) == "go"
    await call.write(words("lost"))
    await call.write(words("read"))
    assert await call.read() is grpc.aio.EOF
    assert seen == ["late", True, "read"]


async def test_a_unary_call_to_a_stream(rig: Rig) -> None:
    """One message or none is a response; of more, the first is taken and the call never ends."""
    served = await rig.serve(**ECHO)
    channel = rig.connect(served.target)
    path, encode, decode = "/dsim.echo.Echo/Repeat", Words.SerializeToString, Words.FromString
    results = []
    for number in range(3):
        request = words("w", number)
        results += [
            await outcome(channel.unary_unary(path, encode, decode)(request, timeout=0.3)),
            await outcome(channel.stream_unary(path, encode, decode)(iter([request]), timeout=0.3)),
        ]
    late = ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert results == [None, None, "w0", "w0", late, late]


async def test_a_request_in_a_stream_that_is_no_message(rig: Rig) -> None:
    """An empty message is sent in its place."""
    served = await rig.serve(**ECHO)
    requests: Any = [words("a"), "text", words("b")]
    assert await outcome(EchoStub(rig.connect(served.target)).Gather(requests)) == "a  b"


# Half-closed streams and early ends


async def test_a_write_after_the_handler_has_returned(rig: Rig) -> None:
    """The call is over; a task that the handler left behind cannot add to it."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> Any:
        async def later() -> None:
            await asyncio.sleep(0.05)
            seen.append(await outcome(context.write(words("late"))))

        tasks.append(asyncio.create_task(later()))
        yield words("one")

    tasks: list[Any] = []
    served = await rig.serve(repeat=repeat)
    assert await drain(EchoStub(rig.connect(served.target)).Repeat(words())) == ["one"]
    await until(lambda: seen)
    assert seen == [("UsageError", "RPC already finished.")]


async def test_the_server_speaks_after_the_client_is_done(rig: Rig) -> None:
    """Half-closed: the client has said all, the server has not."""

    async def chat(requests: Any, context: Any) -> Any:
        heard = [request.text async for request in requests]
        yield words(f"heard {len(heard)}")
        await asyncio.sleep(0.02)
        yield words("and thought about it")

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    await call.write(words("a"))
    await call.done_writing()
    assert [plain(await call.read()) for _ in range(3)] == ["heard 1", "and thought about it", grpc.aio.EOF]


async def test_the_server_is_done_before_the_client(rig: Rig) -> None:
    """A handler need not read everything: its answer ends the call, and writing on fails."""

    async def gather(requests: Any, context: Any) -> Any:
        first = await anext(aiter(requests))
        return words(f"only {first.text}")

    served = await rig.serve(gather=gather)
    call = EchoStub(rig.connect(served.target)).Gather()
    await call.write(words("one"))
    assert await outcome(call) == "only one"
    assert await outcome(call.write(words("two"))) == ("InvalidStateError", "RPC already finished.")
    assert await outcome(call.done_writing()) is None


async def test_a_stream_that_the_server_ends_early(rig: Rig) -> None:
    """A handler that returns while the client still writes: EOF for the reader, code OK."""

    async def chat(requests: Any, context: Any) -> Any:
        yield await anext(aiter(requests))

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    await call.write(words("one"))
    assert [plain(await call.read()) for _ in range(2)] == ["one", grpc.aio.EOF]
    assert await call.code() == grpc.StatusCode.OK
    assert await outcome(call.write(words("two"))) == ("InvalidStateError", "RPC already finished.")


async def test_an_endless_iterator_of_requests(rig: Rig) -> None:
    """When the server ends the call, requests are no longer taken from the iterator."""
    taken = 0

    async def endless() -> AsyncIterator[Any]:
        nonlocal taken
        while True:
            taken += 1
            yield words("more")
            await asyncio.sleep(0.005)

    async def gather(requests: Any, context: Any) -> Any:
        await anext(aiter(requests))
        return words("enough")

    served = await rig.serve(gather=gather)
    assert await outcome(EchoStub(rig.connect(served.target)).Gather(endless())) == "enough"
    await asyncio.sleep(0.05)
    before = taken
    await asyncio.sleep(0.05)
    assert taken == before


async def test_write_after_done_writing(rig: Rig) -> None:
    """What is closed stays closed."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Chat()
    await call.write(words("one"))
    await call.done_writing()
    assert await outcome(call.write(words("two"))) == (
        "InvalidStateError",
        'RPC is half closed after calling "done_writing".',
    )
    assert await drain(call) == ["one"]


# Misuse


async def test_mixing_iterating_and_reading(rig: Rig) -> None:
    """A client keeps to one style for the responses of a call."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 3))
    assert plain(await call.read()) == "w0"
    assert await drain(call) == [
        ("UsageError", "The iterator and read/write APIs may not be mixed on a single RPC.")
    ]
    other = EchoStub(rig.connect(served.target)).Repeat(words("w", 3))
    async for _ in other:
        break
    assert await outcome(other.read()) == (
        "UsageError",
        "The iterator and read/write APIs may not be mixed on a single RPC.",
    )


async def test_writing_beside_an_iterator(rig: Rig) -> None:
    """A call that was given its requests cannot be written to."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Gather(each("a"))
    mixed = ("UsageError", "The iterator and read/write APIs may not be mixed on a single RPC.")
    assert await outcome(call.write(words("b"))) == mixed
    assert await outcome(call.done_writing()) == mixed
    assert await outcome(call) == "a"


async def test_iterating_twice(rig: Rig) -> None:
    """A second `async for` goes on where the first stopped."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 3))
    seen = []
    async for message in call:
        seen.append(plain(message))
        break
    seen += await drain(call)
    assert (seen, await drain(call)) == (["w0", "w1", "w2"], [])


async def test_a_response_stream_cannot_be_awaited(rig: Rig) -> None:
    """Only calls with one response can be awaited."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Repeat(words("w", 1))
    assert not hasattr(call, "__await__")
    assert await drain(call) == ["w0"]
