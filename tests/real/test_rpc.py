"""gRPC through the door of real hosts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import control_pb2, control_pb2_grpc, echo_pb2_grpc
from protos.echo_pb2 import Words
from services.cluster import Cluster
from services.echo import Echo
from services.real.host import RealHost
from services.real.names import Names, parse_target


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[RealHost, RealHost]:
    """Two hosts in this process: a server and a client."""
    (tmp_path / "names").mkdir()
    names = Names(tmp_path / "names")
    return (
        RealHost("server", tmp_path / "server", names, "secret"),
        RealHost("client", tmp_path / "client", names, "secret"),
    )


async def serve(host: RealHost, servicer: Any = None, **arguments: Any) -> grpc.aio.Server:
    server = host.serve(**arguments)
    echo_pb2_grpc.add_EchoServicer_to_server(servicer or Echo(), server)
    await server.start()
    return server


async def words(count: int) -> AsyncIterator[Words]:
    for number in range(count):
        yield Words(text=str(number))


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code()


def test_all_four_shapes_pass_and_return_the_call_objects_of_grpc_aio(
    hosts: tuple[RealHost, RealHost],
) -> None:
    server, client = hosts

    async def main() -> None:
        running = await serve(server)
        assert isinstance(running, grpc.aio.Server)
        async with client.connect("server") as channel:
            assert isinstance(channel, grpc.aio.Channel)
            stub = echo_pb2_grpc.EchoStub(channel)
            call = stub.Say(Words(text="one"))
            assert isinstance(call, grpc.aio.UnaryUnaryCall)
            assert (await call).text == "one"
            assert await call.code() == grpc.StatusCode.OK
            assert [word.number async for word in stub.Repeat(Words(number=3))] == [0, 1, 2]
            assert (await stub.Gather(words(3))).text == "0 1 2"
            assert [word.text async for word in stub.Chat(words(3))] == ["0", "1", "2"]
            chat = stub.Chat()
            await chat.write(Words(text="by hand"))
            reply = await chat.read()
            assert isinstance(reply, Words) and reply.text == "by hand"
            await chat.done_writing()
            assert await chat.read() is grpc.aio.EOF
        await running.stop(None)

    asyncio.run(main())


def test_without_the_token_a_call_is_unauthenticated(hosts: tuple[RealHost, RealHost]) -> None:
    server, _ = hosts

    async def main() -> None:
        running = await serve(server)
        address = server.names.resolve("server", 50051)
        for agent in ("", "dsim/guess/client", "dsim/secre/t/client", "dsim//client"):
            async with grpc.aio.insecure_channel(
                address, options=(("grpc.secondary_user_agent", agent),)
            ) as channel:
                stub = echo_pb2_grpc.EchoStub(channel)
                refused = grpc.StatusCode.UNAUTHENTICATED
                assert await code_of(stub.Say(Words())) == refused
                assert await code_of(stub.Gather(words(1))) == refused
                assert await code_of(stub.Repeat(Words(number=1)).read()) == refused
        await running.stop(None)

    asyncio.run(main())


def test_interceptors_of_a_service_do_not_see_calls_without_the_token(
    hosts: tuple[RealHost, RealHost],
) -> None:
    server, client = hosts
    seen: list[str] = []

    class Spy(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            seen.append(details.method)
            return await continuation(details)

    async def main() -> None:
        running = await serve(server, interceptors=[Spy()])
        async with grpc.aio.insecure_channel(server.names.resolve("server", 50051)) as channel:
            refusal = await code_of(echo_pb2_grpc.EchoStub(channel).Say(Words()))
            assert refusal == grpc.StatusCode.UNAUTHENTICATED
        assert seen == []
        async with client.connect("server") as channel:
            await echo_pb2_grpc.EchoStub(channel).Say(Words())
        assert seen == ["/dsim.echo.Echo/Say"]
        await running.stop(None)

    asyncio.run(main())


def test_the_service_sees_what_the_caller_sent_and_not_the_door(hosts: tuple[RealHost, RealHost]) -> None:
    server, client = hosts
    seen: dict[str, str] = {}

    class Service(Echo):
        async def Say(self, request: Words, context: Any) -> Words:
            seen.update(context.invocation_metadata())
            context.set_trailing_metadata((("left", "over"),))
            return request

    async def main() -> None:
        running = await serve(server, Service())
        async with client.connect("server") as channel:
            call = echo_pb2_grpc.EchoStub(channel).Say(Words(), metadata=(("mine", "yes"),))
            await call
            assert tuple(await call.trailing_metadata()) == (("left", "over"),)
        await running.stop(None)

    asyncio.run(main())
    assert seen["mine"] == "yes"
    assert set(seen) == {"mine", "user-agent"}
    assert seen["user-agent"].startswith("grpc-python-asyncio/") and "secret" not in seen["user-agent"]


def test_errors_of_handlers_arrive_as_grpc_aio_sends_them(
    hosts: tuple[RealHost, RealHost], caplog: pytest.LogCaptureFixture
) -> None:
    server, client = hosts

    class Service(Echo):
        async def Say(self, request: Words, context: Any) -> Words:
            if request.text == "abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
            raise KeyError("lost")

        def Gather(self, request_iterator: Any, context: Any) -> Words:  # type: ignore[override]
            return Words(number=sum(1 for _ in request_iterator))  # plain: grpc.aio runs it in a thread

    async def main() -> None:
        running = await serve(server, Service())
        async with client.connect("server") as channel:
            stub = echo_pb2_grpc.EchoStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await stub.Say(Words(text="abort"))
            assert failure.value.code() == grpc.StatusCode.NOT_FOUND
            assert failure.value.details() == "not here"
            assert await code_of(stub.Say(Words())) == grpc.StatusCode.UNKNOWN
            assert (await stub.Gather(words(4))).number == 4
            nothing = channel.unary_unary("/dsim.echo.Echo/Nothing")
            assert await code_of(nothing(b"")) == grpc.StatusCode.UNIMPLEMENTED
        await running.stop(None)

    with caplog.at_level(logging.CRITICAL, "grpc._cython.cygrpc"):
        asyncio.run(main())


def test_a_host_that_is_not_there_yet_is_unavailable_and_can_be_waited_for(
    hosts: tuple[RealHost, RealHost],
) -> None:
    server, client = hosts

    async def main() -> None:
        async with client.connect("server") as channel:
            stub = echo_pb2_grpc.EchoStub(channel)
            assert await code_of(stub.Say(Words())) == grpc.StatusCode.UNAVAILABLE
            waiting = asyncio.ensure_future(stub.Say(Words(text="at last"), wait_for_ready=True, timeout=10))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            running = await serve(server)
            start = time.monotonic()
            assert (await waiting).text == "at last"
            assert time.monotonic() - start < 1.0
        await running.stop(None)

    asyncio.run(main())


def test_a_restarted_node_is_found_by_old_channels_within_a_second(folder: Path) -> None:
    async def main() -> None:
        cluster = Cluster.open(folder)
        client = cluster.client("one")
        async with client.connect("c") as channel:
            stub = echo_pb2_grpc.EchoStub(channel)
            await stub.Say(Words(text="before"), wait_for_ready=True)
            before = {status.name: status.ports for status in await cluster.status()}
            await cluster.kill("c")
            assert await code_of(stub.Say(Words())) == grpc.StatusCode.UNAVAILABLE
            await asyncio.sleep(0.5)  # long enough for gRPC to have tried again and backed off
            await cluster.restart("c")
            await cluster.serving(["c"])
            start = time.monotonic()
            assert (await stub.Say(Words(text="after"), wait_for_ready=True)).text == "after"
            assert time.monotonic() - start < 1.0
            after = {status.name: status for status in await cluster.status()}
            assert after["c"].ports == before["c"] and after["c"].incarnation == 1
        client.close()

    asyncio.run(main())


def test_a_port_that_another_program_took_is_refused_in_one_line(
    hosts: tuple[RealHost, RealHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = hosts
    monkeypatch.setattr("services.real.server._BIND_WITHIN", 0.1)

    async def main() -> None:
        running = await serve(server)
        with pytest.raises(OSError, match=r"server:50051 is to be 127.0.0.1:.*another program has taken"):
            await serve(server)
        await running.stop(None)

    asyncio.run(main())


def test_the_control_service_wants_the_token(folder: Path) -> None:
    async def main() -> None:
        address = (folder / "nodes" / "a" / "control").read_text()
        async with grpc.aio.insecure_channel(address) as channel:
            stub = control_pb2_grpc.ControlStub(channel)
            refused = grpc.StatusCode.UNAUTHENTICATED
            assert await code_of(stub.Ping(control_pb2.PingRequest())) == refused
            assert await code_of(stub.Shutdown(control_pb2.ShutdownRequest())) == refused
            assert await code_of(stub.SetRules(control_pb2.Rules())) == refused

    asyncio.run(main())


@pytest.mark.parametrize("target", ["", "a:", "a:b", "../a", "a b", ":50051", "a:1:2", "/a"])
def test_a_target_that_is_no_name_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="is neither"):
        parse_target(target)
