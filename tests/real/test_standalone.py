"""A host outside of any cluster: its disk lies in several folders, its names are addresses."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from protos import echo_pb2, echo_pb2_grpc
from services.echo import serve
from services.real.names import free_port
from services.real.standalone import Addresses, StandaloneHost


def told(tmp_path: Path, story: Callable[[StandaloneHost], Awaitable[None]], token: str = "t") -> None:
    async def main() -> None:
        host = StandaloneHost("me", tmp_path / "a", {"log": tmp_path / "b"}, token, listen="127.0.0.1")
        try:
            await story(host)
        finally:
            host.close()

    asyncio.run(main())


def test_the_first_step_of_a_path_says_which_folder(tmp_path: Path) -> None:
    async def story(host: StandaloneHost) -> None:
        for folder in ("data", "log"):
            file = await host.disk.open(f"{folder}/x/file", "a")
            await file.append(folder.encode())
            await file.sync()
            await file.close()
            await host.disk.sync(f"{folder}/x")
            await host.disk.rename(f"{folder}/x/file", f"{folder}/x/other")
            assert await host.disk.list(f"{folder}/x") == ["other"]
            assert await host.disk.exists(f"{folder}/x/other")
        await host.disk.sync()
        assert await host.disk.list() == ["data", "log"]
        assert (tmp_path / "a" / "data" / "x" / "other").read_bytes() == b"data"
        assert (tmp_path / "b" / "log" / "x" / "other").read_bytes() == b"log"
        await host.disk.remove("log/x/other")
        assert not await host.disk.exists("log/x/other")

    told(tmp_path, story)


def test_there_are_no_other_folders_and_no_way_between_them(tmp_path: Path) -> None:
    async def story(host: StandaloneHost) -> None:
        assert await host.disk.list("more") == [] and not await host.disk.exists("more/x")
        with pytest.raises(FileNotFoundError):
            await host.disk.open("more/x", "w")
        with pytest.raises(ValueError, match="leads out"):
            await host.disk.open("log/../../x", "w")
        await (await host.disk.open("data/x", "w")).close()
        with pytest.raises(OSError) as crossing:
            await host.disk.rename("data/x", "log/x")
        assert crossing.value.errno == errno.EXDEV

    told(tmp_path, story)


def test_names_are_addresses() -> None:
    addresses = Addresses("me", "10.0.0.1")
    assert addresses.resolve("me", 5) == "10.0.0.1:5"
    assert addresses.resolve("zk2.example.com", 2888) == "zk2.example.com:2888"
    assert addresses.resolve("::1", 2888) == addresses.resolve("[::1]", 2888) == "[::1]:2888"


def test_who_knows_the_token_is_served_at_the_address(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")

    async def say(host: StandaloneHost) -> str:
        async with host.connect(f"127.0.0.1:{port}") as channel:
            reply = await echo_pb2_grpc.EchoStub(channel).Say(echo_pb2.Words(text="hello"))
            return str(reply.text)

    async def story(host: StandaloneHost) -> None:
        work = asyncio.ensure_future(serve(host, port=port))
        await asyncio.sleep(0.2)
        assert "hello" in await say(host)
        stranger = StandaloneHost("x", tmp_path / "c", {}, "other", listen="127.0.0.1")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await say(stranger)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        stranger.close()
        work.cancel()
        await asyncio.wait([work])

    told(tmp_path, story)
