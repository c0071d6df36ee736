"""`grpc.aio.Server` on the simulated network: what an application holds of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from sim.world.rpc.serving import CoreServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.world.process import Process
    from sim.world.simulation import Simulation


class Server(grpc.aio.Server):
    """A server of a simulated process. One that nobody has any more is stopped, as in grpc.aio.

    Args:
        simulation, process: where it is.
        port: to serve on; None leaves that to `add_insecure_port`.
        options, interceptors, maximum_concurrent_rpcs, handlers: as `grpc.aio.server` takes them.

    Raises:
        RuntimeError: the port is in use.
        ValueError: an interceptor is none, or the limit is not positive.
    """

    def __init__(
        self,
        simulation: Simulation,
        process: Process,
        port: int | None = None,
        options: Sequence[tuple[str, Any]] | None = (),
        interceptors: Sequence[Any] | None = (),
        maximum_concurrent_rpcs: int | None = None,
        handlers: Sequence[grpc.GenericRpcHandler] | None = (),
    ) -> None:
        self._core = CoreServer(
            simulation, process, port, options, interceptors, maximum_concurrent_rpcs, handlers
        )

    def __del__(self) -> None:
        """Has the loop stop a server that nobody has any more.

        Counting references finds that at once, and at the same moment in every replay; the collector of
        cyclic garbage, which the loop runs after so many turns, too. One that its servicer has serves on.
        """
        core: CoreServer | None = getattr(self, "_core", None)
        if core is not None and core.serving and not core.process.dead and not core.loop.is_closed():
            core.loop.call_soon(_stop, core, context=core.process.context.copy())

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Adds handlers that are asked in turn for a method."""
        self._core.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Adds the handlers of a service's methods, before the server is started."""
        self._core.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Serves on a port, 0 meaning any; returns the port. See `CoreServer.listen`.

        Raises:
            RuntimeError: it cannot be bound, or the server was stopped.
        """
        return self._core.listen(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Is refused.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"add_secure_port({address!r}): the simulated network has no TLS; use add_insecure_port"
        )

    async def start(self) -> None:
        """Starts serving.

        Raises:
            UsageError: it was stopped.
        """
        await self._core.start()

    async def stop(self, grace: float | None) -> None:
        """Stops serving.

        Args:
            grace: seconds that RPCs under way are given; without it they are cancelled at once.
        """
        await self._core.stop(grace)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped; returns True when `timeout` seconds passed before that."""
        return await self._core.wait_for_termination(timeout)


def _stop(core: CoreServer) -> None:
    core.loop.create_task(core.stop(None))
