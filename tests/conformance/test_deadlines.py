"""Deadlines and cancellation, as the caller and as the handler sees them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.programs import ECHO
from tests.conformance.rig import drain, forever, outcome, plain, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig

LATE = ("DEADLINE_EXCEEDED", "Deadline Exceeded")
LOCALLY = "Locally cancelled by application!"


def watching(seen: list[Any]) -> dict[str, Any]:
    """Returns handlers that never finish and note how they end; streams give one message first."""

    async def watched(kind: str) -> None:
        seen.append(kind)
        try:
            await forever()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async def say(request: Any, context: Any) -> Any:
        await watched("say")

    async def repeat(request: Any, context: Any) -> Any:
        yield words("first")
        await watched("repeat")

    async def gather(requests: Any, context: Any) -> Any:
        await watched("gather")

    async def chat(requests: Any, context: Any) -> Any:
        yield words("first")
        await watched("chat")

    return {"say": say, "repeat": repeat, "gather": gather, "chat": chat}


# Deadlines


async def test_a_deadline_during_a_unary_handler(rig: Rig) -> None:
    """The caller gets DEADLINE_EXCEEDED, the handler a CancelledError."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Say(words(), timeout=0.2)
    assert await outcome(call) == LATE
    assert (call.cancelled(), call.done()) == (False, True)
    await until(lambda: len(seen) == 2)
    assert seen == ["say", "CancelledError"]


async def test_a_deadline_in_mid_stream(rig: Rig) -> None:
    """What came before the deadline was received; then the stream fails."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Repeat(words(), timeout=0.2)
    assert await drain(call) == ["first", LATE]
    await until(lambda: len(seen) == 2)
    assert seen == ["repeat", "CancelledError"]


async def test_a_deadline_while_writing(rig: Rig) -> None:
    """A client-streaming call runs out of time between two writes."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Gather(timeout=0.2)
    await call.write(words("one"))
    await until(call.done)
    assert await outcome(call.write(words("two"))) == ("InvalidStateError", "RPC already finished.")
    assert await outcome(call) == LATE
    await until(lambda: len(seen) == 2)
    assert seen == ["gather", "CancelledError"]


async def test_a_deadline_in_a_conversation(rig: Rig) -> None:
    """As above, with both streams."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Chat(timeout=0.2)
    assert [await outcome(call.read()), await outcome(call.read())] == ["first", LATE]
    await until(lambda: len(seen) == 2)
    assert seen == ["chat", "CancelledError"]


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_deadline_that_is_over_already(rig: Rig, timeout: float) -> None:
    """It fails at once. (With 0 the handler may still be started, and is cancelled: both are seen.)"""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    channel = rig.connect(served.target)
    await channel.channel_ready()
    assert await outcome(EchoStub(channel).Say(words(), timeout=timeout)) == LATE
    await asyncio.sleep(0.05)
    assert seen == [] or (timeout == 0 and seen == ["say", "CancelledError"])


@pytest.mark.parametrize(("timeout", "result"), [(1e9, "hello"), (float("inf"), LATE)])
async def test_a_deadline_far_away(rig: Rig, timeout: float, result: Any) -> None:
    """Thirty years are a deadline; infinity is not, and ends the call at once."""
    served = await rig.serve(**ECHO)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words("hello"), timeout=timeout)) == result


async def test_a_deadline_met(rig: Rig) -> None:
    """A call that ends in time ends as ever."""
    served = await rig.serve(**ECHO)
    echo = EchoStub(rig.connect(served.target))
    assert await outcome(echo.Say(words("hello"), timeout=5)) == "hello"
    assert await drain(echo.Repeat(words("w", 2), timeout=5)) == ["w0", "w1"]


async def test_a_deadline_while_waiting_for_ready(rig: Rig) -> None:
    """`wait_for_ready` waits no longer than the deadline."""
    channel = rig.connect(rig.address())
    code, _ = await outcome(EchoStub(channel).Say(words(), timeout=0.2, wait_for_ready=True))
    assert code == "DEADLINE_EXCEEDED"


async def test_time_remaining(rig: Rig) -> None:
    """Both sides can ask how much time is left; None without a deadline on the client's side."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        before = context.time_remaining()
        await asyncio.sleep(0.1)
        seen.append((before, context.time_remaining()))
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    call = echo.Say(words(), timeout=10)
    mine = call.time_remaining()
    await call
    ((before, after),) = seen
    assert mine is not None and 9 < mine <= 10
    assert 9 < after < before < 11  # gRPC rounds up what it tells the server
    assert 0.09 < before - after < 1
    endless = echo.Say(words())
    assert endless.time_remaining() is None
    await endless
    assert seen[1] == (None, None)


async def test_deadlines_are_not_passed_on(rig: Rig) -> None:
    """A handler's own calls have no deadline unless it gives them one."""
    seen: list[Any] = []

    async def inner(request: Any, context: Any) -> Any:
        seen.append(context.time_remaining())
        return request

    behind = await rig.serve(say=inner)

    async def say(request: Any, context: Any) -> Any:
        return await EchoStub(rig.connect(behind.target)).Say(request)

    served = await rig.serve(say=say)
    await EchoStub(rig.connect(served.target)).Say(words(), timeout=5)
    assert seen == [None]


# Cancellation by the caller


async def test_cancelling_before_anything_was_sent(rig: Rig) -> None:
    """A call cancelled in the step that made it never reaches the server."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    channel = rig.connect(served.target)
    await channel.channel_ready()
    call = EchoStub(channel).Say(words())
    assert (call.cancel(), call.cancelled(), call.done()) == (True, True, True)
    assert await outcome(call) == "CancelledError"
    assert (await call.code(), await call.details()) == (grpc.StatusCode.CANCELLED, LOCALLY)
    await asyncio.sleep(0.05)
    assert seen == []


async def test_cancelling_a_unary_call(rig: Rig) -> None:
    """The caller gets CancelledError, the call object CANCELLED, the handler a CancelledError."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Say(words())
    await until(lambda: seen)
    assert (call.cancel(), call.cancel()) == (True, False)
    assert await outcome(call) == "CancelledError"
    assert (call.cancelled(), call.done()) == (True, True)
    assert (await call.code(), await call.details()) == (grpc.StatusCode.CANCELLED, LOCALLY)
    assert tuple(await call.trailing_metadata()) == ()
    await until(lambda: len(seen) == 2)
    assert seen == ["say", "CancelledError"]


async def test_cancelling_a_stream_before_its_first_response(rig: Rig) -> None:
    """As a unary call."""
    seen: list[Any] = []

    async def repeat(request: Any, context: Any) -> Any:
        await watching(seen)["say"](request, context)
        yield

    served = await rig.serve(repeat=repeat)
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    await until(lambda: seen)
    call.cancel()
    assert await drain(call) == ["CancelledError"]
    await until(lambda: len(seen) == 2)
    assert (seen, await call.code()) == (["say", "CancelledError"], grpc.StatusCode.CANCELLED)


async def test_cancelling_a_stream_after_its_first_response(rig: Rig) -> None:
    """What was read stays read; the rest never comes."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Repeat(words())
    got = []
    async for message in call:
        got.append(plain(message))
        break
    await until(lambda: seen)
    call.cancel()
    assert (got, await drain(call)) == (["first"], ["CancelledError"])
    await until(lambda: len(seen) == 2)
    assert seen == ["repeat", "CancelledError"]


async def test_cancelling_a_call_that_is_being_written(rig: Rig) -> None:
    """Client-streaming: the write after the cancellation fails, as does the call."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Gather()
    await call.write(words("one"))
    await until(lambda: seen)
    call.cancel()
    assert await outcome(call.write(words("two"))) == ("InvalidStateError", "RPC already finished.")
    assert await outcome(call) == "CancelledError"
    await until(lambda: len(seen) == 2)
    assert seen == ["gather", "CancelledError"]


async def test_cancelling_after_the_end(rig: Rig) -> None:
    """A finished call cannot be cancelled."""
    served = await rig.serve(**ECHO)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))
    await call
    assert (call.cancel(), call.cancelled(), await outcome(call)) == (False, False, "hello")


async def test_cancelling_the_task_that_waits(rig: Rig) -> None:
    """Cancelling a task that awaits a call cancels the call."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Say(words())

    async def wait() -> None:
        await call

    task = asyncio.create_task(wait())
    await until(lambda: seen)
    task.cancel()
    assert await outcome(task) == "CancelledError"
    assert (task.cancelled(), call.cancelled(), await call.code()) == (True, True, grpc.StatusCode.CANCELLED)
    await until(lambda: len(seen) == 2)
    assert seen == ["say", "CancelledError"]


@pytest.mark.parametrize("way", ["timeout", "wait_for"])
async def test_the_timeouts_of_asyncio(rig: Rig, way: str) -> None:
    """`asyncio.timeout` and `wait_for` cancel the call, on the server too."""
    seen: list[Any] = []
    served = await rig.serve(**watching(seen))
    call = EchoStub(rig.connect(served.target)).Say(words())

    async def wait() -> None:
        if way == "wait_for":
            await asyncio.wait_for(call, 0.2)
        async with asyncio.timeout(0.2):
            await call

    assert await outcome(wait()) == ("TimeoutError", "")
    assert (call.cancelled(), await call.code()) == (True, grpc.StatusCode.CANCELLED)
    await until(lambda: len(seen) == 2)
    assert seen == ["say", "CancelledError"]


async def test_a_shielded_call(rig: Rig) -> None:
    """A task that waits for a shielded call can go without ending it."""
    gate = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        await gate.wait()
        return request

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words("hello"))

    async def wait() -> Any:
        return await call

    working = asyncio.ensure_future(wait())
    assert await outcome(asyncio.wait_for(asyncio.shield(working), 0.1)) == ("TimeoutError", "")
    gate.set()
    assert await outcome(working) == "hello"


async def test_a_group_of_calls_of_which_one_fails(rig: Rig) -> None:
    """A task group cancels the other calls, and their handlers."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        if request.text == "bad":
            await until(lambda: len(seen) == 2)
            await context.abort(grpc.StatusCode.INTERNAL, "bad")
        await watching(seen)["say"](request, context)

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))

    async def wait(text: str) -> None:
        await echo.Say(words(text))

    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            for text in ("good", "good", "bad"):
                group.create_task(wait(text))
    assert [error.details() for error in caught.value.exceptions] == ["bad"]  # type: ignore[attr-defined]
    await until(lambda: len(seen) == 4)
    assert seen == ["say", "say", "CancelledError", "CancelledError"]


# What the handler sees of it


async def test_a_handler_that_ignores_cancellation(rig: Rig) -> None:
    """The caller does not wait for it; it goes on, for itself."""
    seen: list[Any] = []
    gate = asyncio.Event()

    async def say(request: Any, context: Any) -> Any:
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
        await gate.wait()
        seen.append("finished")
        return request

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words(), timeout=0.1)) == LATE
    await until(lambda: seen)
    gate.set()
    await until(lambda: len(seen) == 2)
    assert seen == ["cancelled", "finished"]


async def test_a_handler_that_cleans_up(rig: Rig) -> None:
    """`finally` runs to its end, waits included."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        try:
            seen.append("started")
            await forever()
        finally:
            await asyncio.sleep(0.05)
            seen.append("cleaned up")

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    await until(lambda: seen)
    call.cancel()
    await until(lambda: len(seen) == 2)
    assert seen == ["started", "cleaned up"]


@pytest.mark.parametrize("end", ["ok", "error", "cancel", "deadline"])
async def test_done_callbacks_of_the_context(rig: Rig, end: str) -> None:
    """The server's side has done callbacks as well; they are called before a cancelled handler is done."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        context.add_done_callback(lambda c: seen.append((c is context, c.done(), c.cancelled())))
        seen.append((context.done(), context.cancelled()))
        if end == "error":
            await context.abort(grpc.StatusCode.ABORTED)
        if end in ("cancel", "deadline"):
            await forever()
        return request

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words(), timeout=0.2 if end == "deadline" else None)
    await until(lambda: seen)
    if end == "cancel":
        call.cancel()
    await outcome(call)
    await until(lambda: len(seen) == 2)
    assert seen == [(False, False), (True, end in ("ok", "error"), False)]


async def test_the_rest_of_a_stream_after_a_cancellation(rig: Rig) -> None:
    """A handler that swallows its cancellation can send nothing any more."""
    seen: list[Any] = []

    async def chat(_: Any, context: Any) -> None:
        try:
            await context.write(words("one"))
            await forever()
        except asyncio.CancelledError:
            seen.append(await outcome(context.write(words("two"))))
            seen.append(await outcome(context.read()))

    served = await rig.serve(chat=chat)
    call = EchoStub(rig.connect(served.target)).Chat()
    assert plain(await call.read()) == "one"
    call.cancel()
    await until(lambda: len(seen) == 2)
    assert (seen[0][0], seen[1]) == ("ExecuteBatchError", grpc.aio.EOF)


async def test_cancelled_upstream_means_cancelled_downstream(rig: Rig) -> None:
    """A handler waiting for a call of its own passes the cancellation on."""
    seen: list[Any] = []
    behind = await rig.serve(**watching(seen))

    async def say(request: Any, context: Any) -> Any:
        return await EchoStub(rig.connect(behind.target)).Say(request)

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    await until(lambda: seen)
    call.cancel()
    await until(lambda: len(seen) == 2)
    assert seen == ["say", "CancelledError"]
