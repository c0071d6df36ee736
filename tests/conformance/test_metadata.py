"""Metadata: what a caller sends, what comes back first, and what comes back last."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import code_of, drain, outcome, plain, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig


def own(metadata: Any) -> list[tuple[str, str | bytes]]:
    """Returns a call's metadata as a list, without what gRPC adds itself."""
    return [(key, value) for key, value in metadata if key != "user-agent"]


async def test_what_a_caller_sends(rig: Rig) -> None:
    """The handler sees all pairs, bytes under -bin keys, those of the same key side by side."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(own(context.invocation_metadata()))
        return request

    served = await rig.serve(say=say)
    sent = (("b", "1"), ("a", "2"), ("b", "3"), ("raw-bin", b"\0\xff"), ("empty", ""))
    await EchoStub(rig.connect(served.target)).Say(words(), metadata=sent)
    assert seen == [[("b", "1"), ("b", "3"), ("a", "2"), ("raw-bin", b"\0\xff"), ("empty", "")]]


async def test_what_every_caller_sends(rig: Rig) -> None:
    """The library names itself; without metadata there is nothing else."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append([key for key, _ in context.invocation_metadata()])
        seen.append(dict(context.invocation_metadata())["user-agent"].startswith("grpc-python-asyncio/"))
        return request

    served = await rig.serve(say=say)
    await EchoStub(rig.connect(served.target)).Say(words())
    assert seen == [["user-agent"], True]


@pytest.mark.parametrize("kind", ["Metadata", "tuple", "list"])
async def test_kinds_of_metadata(rig: Rig, kind: str) -> None:
    """A `Metadata` object or any sequence of pairs will do."""
    seen: list[Any] = []

    async def chat(requests: Any, context: Any) -> Any:
        seen.append(own(context.invocation_metadata()))
        return
        yield

    served = await rig.serve(chat=chat)
    pairs = (("k", "1"), ("k", "2"))
    metadata: Any = {"Metadata": grpc.aio.Metadata(*pairs), "tuple": pairs, "list": list(pairs)}[kind]
    assert await drain(EchoStub(rig.connect(served.target)).Chat(iter(()), metadata=metadata)) == []
    assert seen == [[("k", "1"), ("k", "2")]]


@pytest.mark.parametrize(
    "bad",
    [("UPPER", "x"), ("spa ce", "x"), ("", "x"), ("k", b"\0\x01"), ("k", "line\nbreak"), ("k", 7)],
    ids=["upper case", "space", "empty key", "bytes", "line break", "number"],
)
async def test_illegal_metadata(rig: Rig, bad: Any) -> None:
    """What HTTP/2 does not allow is refused before anything is sent."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append(own(context.invocation_metadata()))
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    result = await outcome(echo.Say(words("sent"), metadata=(bad,)))
    assert (result[0], seen) == ("TypeError" if bad[1] == 7 else "ExecuteBatchError", [])


@pytest.mark.parametrize("bad", [("UPPER", "x"), ("k", "line\nbreak")], ids=["key", "value"])
async def test_illegal_metadata_of_a_stream(rig: Rig, bad: Any) -> None:
    """The call of a stream ends by it, however it is used."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    refused = ("INTERNAL", "Invalid metadata")
    calls: list[Any] = []
    for begin, request in ((echo.Repeat, words()), (echo.Chat, iter([words()]))):
        calls.append(begin(request, metadata=(bad,)))
        assert await drain(calls[-1]) == [refused]
    for begin in (echo.Gather, echo.Chat):
        calls.append(begin(metadata=(bad,)))
        assert await outcome(calls[-1].write(words())) == refused
    assert [await outcome(calls[2]), await outcome(calls[3].read())] == [refused, refused]
    assert {(await call.code(), await call.details(), call.done()) for call in calls} == {
        (grpc.StatusCode.INTERNAL, "Invalid metadata", True)
    }


@pytest.mark.parametrize("bad", [(7, "x"), ("k", 7)], ids=["key", "value"])
async def test_metadata_that_is_no_text(rig: Rig, bad: Any) -> None:
    """A TypeError for whoever awaits or reads, whatever the shape."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    error = ("TypeError", "Expected str, not <class 'int'>")
    assert await outcome(echo.Say(words(), metadata=(bad,))) == error
    assert await outcome(echo.Gather(iter(()), metadata=(bad,))) == error
    assert await drain(echo.Repeat(words(), metadata=(bad,))) == [error]
    assert await drain(echo.Chat(iter(()), metadata=(bad,))) == [error]


@pytest.mark.parametrize("bad", [("UPPER", "x"), ("k", 7)], ids=["illegal", "number"])
async def test_a_call_that_could_not_begin(rig: Rig, bad: Any) -> None:
    """A unary call that metadata keep from beginning has no end: no code, until it is cancelled."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words(), metadata=(bad,))
    errors = [await code_of(call), await code_of(call)]
    assert errors == ["TypeError" if bad[1] == 7 else "ExecuteBatchError"] * 2
    asking = asyncio.create_task(call.code())
    await asyncio.sleep(0.1)
    assert (call.done(), asking.done()) == (False, False)
    assert call.cancel()
    assert (await asking, call.done(), call.cancelled()) == (grpc.StatusCode.CANCELLED, True, True)


async def test_initial_metadata_of_a_stream(rig: Rig) -> None:
    """`send_initial_metadata` reaches the caller while the handler still works."""
    gate = asyncio.Event()

    async def repeat(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("first", "1"), ("raw-bin", b"\0")))
        await gate.wait()
        yield request

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words("hello"))
    assert own(await call.initial_metadata()) == [("first", "1"), ("raw-bin", b"\0")]
    assert not call.done()
    gate.set()
    assert await drain(call) == ["hello"]


async def test_initial_metadata_of_a_unary_call(rig: Rig) -> None:
    """The caller of a unary call learns of it with the response, not before."""
    gate = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("first", "1"),))
        await gate.wait()
        return request

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    asking = asyncio.create_task(call.initial_metadata())
    await asyncio.sleep(0.1)
    assert not asking.done()
    gate.set()
    assert (own(await asking), await outcome(call)) == ([("first", "1")], "hello")


async def test_initial_metadata_twice(rig: Rig) -> None:
    """It can be sent once, and not after the first message."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> Any:
        if request.text == "twice":
            await context.send_initial_metadata((("first", "1"),))
        else:
            yield words("one")
        seen.append(await outcome(context.send_initial_metadata((("second", "2"),))))
        yield words("last")

    served = await rig.serve(repeat=repeat)
    echo = EchoStub(rig.connect(served.target))
    call = echo.Repeat(words("twice"))
    assert await drain(call) == ["last"]
    assert own(await call.initial_metadata()) == [("first", "1")]
    call = echo.Repeat(words())
    assert await drain(call) == ["one", "last"]
    assert own(await call.initial_metadata()) == []
    assert seen == [("UsageError", "Send initial metadata failed: already sent")] * 2


async def test_initial_metadata_of_its_own_accord(rig: Rig) -> None:
    """Without it the first message brings an empty one."""
    gate = asyncio.Event()

    async def repeat(request: Any, context: Any) -> Any:
        await gate.wait()
        yield words("one")
        await asyncio.sleep(5)

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    asking = asyncio.create_task(call.initial_metadata())
    await asyncio.sleep(0.1)
    assert not asking.done()
    gate.set()
    assert own(await asking) == []
    assert plain(await call.read()) == "one"


async def test_trailing_metadata(rig: Rig) -> None:
    """What was set last is sent with the status."""

    async def say(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("old", "0"),))
        context.set_trailing_metadata((("new", "1"), ("new", "2"), ("raw-bin", b"\xff")))
        assert tuple(context.trailing_metadata()) == (("new", "1"), ("new", "2"), ("raw-bin", b"\xff"))
        return request

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    assert own(await call.trailing_metadata()) == [("new", "1"), ("new", "2"), ("raw-bin", b"\xff")]
    assert await outcome(call) == "hello"


async def test_trailing_metadata_of_a_stream(rig: Rig) -> None:
    """It waits for the end of the stream."""

    async def repeat(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("count", "1"),))
        yield words("one")

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    assert await drain(call) == ["one"]
    assert own(await call.trailing_metadata()) == [("count", "1")]


@pytest.mark.parametrize("end", ["abort", "abort with its own", "exception", "set_code"])
async def test_trailing_metadata_of_a_failure(rig: Rig, end: str) -> None:
    """It comes with an error as well; `abort` may bring its own instead."""

    async def say(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("set", "1"),))
        if end == "abort":
            await context.abort(grpc.StatusCode.ABORTED, end)
        if end == "abort with its own":
            await context.abort(grpc.StatusCode.ABORTED, end, (("own", "2"),))
        if end == "exception":
            raise ValueError(end)
        context.set_code(grpc.StatusCode.ABORTED)
        return request

    served = await rig.serve(say=say)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await EchoStub(rig.connect(served.target)).Say(words())
    assert own(caught.value.trailing_metadata()) == [("own", "2") if "own" in end else ("set", "1")]


async def test_metadata_of_a_call_without_an_answer(rig: Rig) -> None:
    """A call that failed before an answer has empty metadata."""
    call = EchoStub(rig.connect(rig.address())).Say(words())
    await outcome(call)
    assert (own(await call.initial_metadata()), own(await call.trailing_metadata())) == ([], [])


async def test_illegal_metadata_from_a_handler(rig: Rig) -> None:
    """Illegal initial metadata is refused at once; either way the call is spoilt."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        if request.text == "initial":
            seen.append((await outcome(context.send_initial_metadata((("UPPER", "x"),))))[0])
        else:
            context.set_trailing_metadata((("UPPER", "x"),))
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    results = [await outcome(echo.Say(words(text), timeout=1)) for text in ("initial", "trailing")]
    assert (results, seen) == ([("INTERNAL", "Invalid metadata")] * 2, ["ExecuteBatchError"])


async def test_who_calls(rig: Rig) -> None:
    """`peer` names the caller's address; nobody is authenticated."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append((context.peer().split(":")[0], context.peer_identities(), context.peer_identity_key()))
        return request

    served = await rig.serve(say=say)
    await EchoStub(rig.connect(served.target)).Say(words())
    assert seen == [("ipv4", None, None)]


async def test_a_handlers_view_of_its_end(rig: Rig) -> None:
    """The context tells what was set."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details("why")
        context.set_trailing_metadata((("k", "v"),))
        seen.append((context.code(), context.details(), tuple(context.trailing_metadata())))
        return request

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == ("ABORTED", "why")
    await until(lambda: seen)
    assert seen == [(grpc.StatusCode.ABORTED, "why", (("k", "v"),))]


async def test_a_lot_of_metadata(rig: Rig) -> None:
    """Metadata beyond the server's limit ends the call before the handler."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    assert await outcome(echo.Say(words("hello"), metadata=(("k", "v" * 4000),))) == "hello"
    code, details = await outcome(echo.Say(words(), metadata=(("k", "v" * 40_000),)))
    assert (code, details) == (
        "RESOURCE_EXHAUSTED",
        "received metadata size exceeds hard limit (value length 40000 vs. 16384)",
    )
