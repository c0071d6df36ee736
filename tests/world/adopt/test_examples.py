"""gRPC's official asyncio examples run in the simulation with nothing changed but the entry point."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc_tools import protoc

from services.recorder import Recorder
from sim.simulate import simulate
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Makes the examples importable, with the code that protoc generates for them."""
    generated = tmp_path_factory.mktemp("generated")
    protos = [str(path) for path in sorted(PROGRAMS.glob("*.proto"))]
    arguments = [f"-I{PROGRAMS}", f"--python_out={generated}", f"--grpc_python_out={generated}"]
    assert protoc.main(["protoc", *arguments, *protos]) == 0
    sys.path[:0] = [str(PROGRAMS), str(generated)]
    yield
    sys.path.remove(str(PROGRAMS))
    sys.path.remove(str(generated))


def program(name: str) -> Any:
    return importlib.import_module(name)


async def both(server: Callable[[], Any], client: Callable[[], Any]) -> None:
    """What a person does with two terminals."""
    serving = asyncio.create_task(server())
    await asyncio.sleep(0.1)
    await client()
    serving.cancel()


def test_helloworld(capsys: pytest.CaptureFixture[str]) -> None:
    server, client = program("async_greeter_server"), program("async_greeter_client")
    simulate(lambda: both(server.serve, client.run))
    assert capsys.readouterr().out == "Greeter client received: Hello, you!\n"


def test_hellostreamingworld(capsys: pytest.CaptureFixture[str]) -> None:
    server, client = program("hellostreamingworld_server"), program("hellostreamingworld_client")
    simulate(lambda: both(server.serve, client.run))
    lines = capsys.readouterr().out.splitlines()
    assert lines[9] == "Greeter client received from async generator: Hello number 9, you!"
    assert lines[19] == "Greeter client received from direct read: Hello number 9, you!"
    assert len(lines) == 20


def test_route_guide_says_the_same_for_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    server, client = program("asyncio_route_guide_server"), program("asyncio_route_guide_client")

    def said(seed: int) -> str:
        simulate(lambda: both(server.serve, client.main), seed=seed)
        return capsys.readouterr().out

    first = said(1)
    assert "Found no feature at 0, 0" in first
    assert "Finished trip with 10 points" in first
    assert "Received message First message at 0" in first
    assert said(1) == first
    assert said(2) != first  # it visits other points


def test_interceptors(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    server, client = program("async_interceptor_server"), program("async_interceptor_client")
    with caplog.at_level("INFO"):
        simulate(lambda: both(server.serve, client.run))
    sent = capsys.readouterr().out.splitlines()[0].rpartition(" ")[2]
    assert f"Handle rpc with id Interceptor2-Interceptor1-{sent} in server handler." in caplog.text


def test_graceful_shutdown_lets_the_call_finish(capsys: pytest.CaptureFixture[str]) -> None:
    server = program("async_greeter_server_with_graceful_shutdown")
    client = program("async_greeter_client")

    async def main() -> float:
        serving = asyncio.create_task(server.serve())
        await asyncio.sleep(0.1)
        calling = asyncio.create_task(client.run())
        await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        await server._cleanup_coroutines.pop()
        await calling
        await serving
        return asyncio.get_running_loop().time() - started

    assert simulate(main) == pytest.approx(3, abs=0.1)  # of the 4 seconds that the handler sleeps
    assert capsys.readouterr().out == "Greeter client received: Hello, you!\n"


def test_server_and_client_on_two_adopted_hosts() -> None:
    server = program("async_greeter_server")
    stubs, messages = program("helloworld_pb2_grpc"), program("helloworld_pb2")
    import grpc

    async def client() -> str:
        async with grpc.aio.insecure_channel("greeter:50051") as channel:
            reply = await stubs.GreeterStub(channel).SayHello(messages.HelloRequest(name="host"))
        return str(reply.message)

    def run() -> tuple[str, str]:
        recorder = Recorder()
        simulation = Simulation(7, recorder=recorder)
        simulation.boot("greeter", server.serve, adopt=True)
        said = simulation.run(client(), name="caller", adopt=True)
        return said, recorder.sha256

    said, digest = run()
    assert said == "Hello, host!"
    assert run() == (said, digest)
