"""A small world for these tests: a server that one can tell what to do, and a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos import echo_pb2_grpc as echo
from protos.echo_pb2 import Words
from services.recorder import Recorder
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

MILLISECOND = 1_000_000  # ns


class Service(echo.EchoServicer):
    """Echo, unless a behaviour is given in its place."""

    def __init__(self, **behaviours: Callable[..., Any]) -> None:
        for name, behaviour in behaviours.items():
            setattr(self, name.capitalize(), behaviour)

    async def Say(self, request: Any, context: Any) -> Any:
        return request

    async def Repeat(self, request: Any, context: Any) -> Any:
        for number in range(request.number):
            yield Words(text=request.text, number=number)

    async def Gather(self, requests: Any, context: Any) -> Any:
        texts = [request.text async for request in requests]
        return Words(text=" ".join(texts), number=len(texts))

    async def Chat(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request


class TestWorld:
    """One simulation with a host `server`, and `client`, whose tasks the test runs."""

    __test__ = False

    def __init__(self, seed: int = 0, **hardware: Any) -> None:
        self.records: list[Any] = []
        self.recorder = Recorder(keep=self.records.extend)
        self.simulation = Simulation(seed, recorder=self.recorder, limit_s=100_000.0)
        self.hardware = hardware
        self.servers: list[Any] = []

    def serve(self, name: str = "server", **behaviours: Any) -> Any:
        """Boots a host that serves Echo; with `options=...` etc. as `Host.serve` takes them."""
        given = {
            key: behaviours.pop(key)
            for key in ("options", "interceptors", "maximum_concurrent_rpcs")
            if key in behaviours
        }

        async def program(host: Any) -> None:
            server = host.serve(**given)
            self.servers.append(server)
            echo.add_EchoServicer_to_server(Service(**behaviours), server)
            await server.start()
            await server.wait_for_termination()

        self.simulation.boot(name, program, **self.hardware)
        return self.simulation.machines[name]

    def stub(self, target: str = "server", **options: Any) -> Any:
        """Returns a stub of the client's."""
        return echo.EchoStub(self.channel(target, **options))

    def channel(self, target: str = "server", **options: Any) -> Any:
        """Returns a channel of the client's."""
        machine = self.simulation.machines.get("client")
        host = machine.host if machine else self.simulation.boot("client", **self.hardware)
        return host.connect(target, **options)

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Runs the test's own coroutine on the client's host, and ends the world."""
        if "client" not in self.simulation.machines:
            self.simulation.boot("client", **self.hardware)
        result = self.simulation.run(main(), name="client")
        self.recorder.flush()
        return result

    def kinds(self, kind: str) -> list[Any]:
        """Returns the trace's records of a class, by its name."""
        return [record for record in self.records if type(record).__name__ == kind]


async def outcome(call: Awaitable[Any]) -> Any:
    """Returns the text of the reply, or the code and details of the failure."""
    import grpc

    try:
        return (await call).text
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details()
