"""How a call ends: codes, details, `abort`, and the error that the caller gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from protos.echo_pb2_grpc import EchoStub
from tests.conformance.rig import outcome, until, words

if TYPE_CHECKING:
    from tests.conformance.rig import Rig


async def test_abort(rig: Rig) -> None:
    """`abort` fixes code, details and trailing metadata, and ends the handler by an exception."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        try:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, "no such word", (("hint", "spell"), ("raw-bin", b"\0"))
            )
        except BaseException as error:
            seen.append((type(error).__name__, isinstance(error, grpc.aio.AbortError)))
            raise

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    assert await outcome(call) == ("NOT_FOUND", "no such word")
    assert tuple(await call.trailing_metadata()) == (("hint", "spell"), ("raw-bin", b"\0"))
    await until(lambda: seen)  # the caller can be faster than the handler's end
    assert seen == [("AbortError", True)]


async def test_abort_with_a_status(rig: Rig) -> None:
    """`abort_with_status` takes code, details and trailing metadata in one object."""

    class Status(grpc.Status):
        code = grpc.StatusCode.ALREADY_EXISTS
        details = "there is one"
        trailing_metadata = (("k", "v"),)

    async def say(request: Any, context: Any) -> Any:
        await context.abort_with_status(Status())

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words())
    assert await outcome(call) == ("ALREADY_EXISTS", "there is one")
    assert tuple(await call.trailing_metadata()) == (("k", "v"),)


async def test_abort_without_details(rig: Rig) -> None:
    """Details are empty unless given."""

    async def say(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAVAILABLE)

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == ("UNAVAILABLE", "")


async def test_abort_is_final(rig: Rig) -> None:
    """A handler that swallows its abort has aborted nevertheless, and cannot abort again."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        for code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED):
            try:
                await context.abort(code, "first" if not seen else "second")
            except BaseException as error:
                seen.append((type(error).__name__, str(error)))
        return request

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == ("NOT_FOUND", "first")
    await until(lambda: len(seen) == 2)
    assert seen == [("AbortError", "Locally aborted."), ("UsageError", "Abort already called!")]


async def test_abort_with_ok(rig: Rig) -> None:
    """Aborting with OK is a mistake that leaves the caller without an answer."""

    async def say(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.OK, "fine")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words(), timeout=0.3)) == (
        "DEADLINE_EXCEEDED",
        "Deadline Exceeded",
    )


async def test_set_code_without_abort(rig: Rig) -> None:
    """A code set by a handler that returns makes the call fail; the response is dropped."""
    seen: list[Any] = []

    async def say(request: Any, context: Any) -> Any:
        seen.append((context.code(), context.details()))
        context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
        context.set_details("not yet")
        seen.append((context.code(), context.details()))
        return request

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "FAILED_PRECONDITION",
        "not yet",
    )
    assert seen == [(None, ""), (grpc.StatusCode.FAILED_PRECONDITION, "not yet")]


async def test_details_of_a_success(rig: Rig) -> None:
    """Details do not accompany OK."""

    async def say(request: Any, context: Any) -> Any:
        context.set_details("and well")
        return request

    served = await rig.serve(say=say)
    call = EchoStub(rig.connect(served.target)).Say(words("done"))
    assert (await outcome(call), await call.details()) == ("done", "")


async def test_codes_as_numbers(rig: Rig) -> None:
    """Numbers do for codes; one that is none is UNKNOWN."""

    async def say(request: Any, context: Any) -> Any:
        if request.text == "abort":
            await context.abort(request.number, "aborted")
        context.set_code(request.number)
        return request

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    assert [await outcome(echo.Say(words("set", number))) for number in (0, 5, 99)] == [
        "set",
        ("NOT_FOUND", ""),
        ("UNKNOWN", ""),
    ]
    assert [await outcome(echo.Say(words("abort", number))) for number in (5, 99)] == [
        ("NOT_FOUND", "aborted"),
        ("UNKNOWN", "aborted"),
    ]


async def test_details_of_none(rig: Rig) -> None:
    """None for details is no details."""

    async def say(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details(None)
        return request

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == ("ABORTED", "")


async def test_details_beyond_ascii(rig: Rig) -> None:
    """Details are Unicode."""

    async def say(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.ABORTED, "größer als 5 % → 東京\n\ttail")

    served = await rig.serve(say=say)
    assert await outcome(EchoStub(rig.connect(served.target)).Say(words())) == (
        "ABORTED",
        "größer als 5 % → 東京\n\ttail",
    )


async def test_every_status_code(rig: Rig) -> None:
    """Each code arrives as itself."""

    async def say(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode[request.text], request.text.lower())

    served = await rig.serve(say=say)
    echo = EchoStub(rig.connect(served.target))
    names = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    seen = [await outcome(echo.Say(words(name))) for name in names]
    assert seen == [(name, name.lower()) for name in names]


async def test_the_error(rig: Rig) -> None:
    """An `AioRpcError` carries everything that was known at the end."""

    async def say(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("early", "1"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such word", (("late", "2"),))

    served = await rig.serve(say=say)
    with pytest.raises(grpc.RpcError) as caught:
        await EchoStub(rig.connect(served.target)).Say(words())
    error = caught.value
    assert isinstance(error, grpc.aio.AioRpcError)
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such word")
    assert tuple(error.initial_metadata()) == (("early", "1"),)
    assert tuple(error.trailing_metadata()) == (("late", "2"),)
    assert str(error).startswith(
        "<AioRpcError of RPC that terminated with:\n"
        "\tstatus = StatusCode.NOT_FOUND\n"
        '\tdetails = "no such word"\n'
        '\tdebug_error_string = "'
    )


async def test_an_error_passed_on(rig: Rig) -> None:
    """A handler whose own call fails, fails with UNKNOWN: codes are not passed on by themselves."""

    async def missing(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such word")

    behind = await rig.serve(say=missing)

    async def say(request: Any, context: Any) -> Any:
        return await EchoStub(rig.connect(behind.target)).Say(request)

    served = await rig.serve(say=say)
    code, details = await outcome(EchoStub(rig.connect(served.target)).Say(words()))
    assert (code, details[:60]) == ("UNKNOWN", "Unexpected <class 'grpc.aio._call.AioRpcError'>: <AioRpcErro")
