"""Servers through the door: real `grpc.aio` servers on the ports of a host of the cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import _server as _aio

from services.real.calls import REFUSAL, caller
from services.real.handlers import Handlers, wrap
from services.real.names import parse_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.real.host import RealHost

_OPTIONS = (("grpc.so_reuseport", 0),)  # two servers on one port would share its connections
_BIND_WITHIN = 5.0  # seconds to wait for a port that a predecessor still holds


class Server(_aio.Server):
    """A `grpc.aio.Server` on a host of the cluster. Its ports are the host's: names, not the machine's."""

    def __init__(
        self,
        host: RealHost,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
        compression: grpc.Compression | None = None,
        migration_thread_pool: Any = None,
        handlers: Sequence[grpc.GenericRpcHandler] = (),
    ) -> None:
        self._host = host
        self._ports: list[int] = []
        self._unbound: list[int] = []
        gate = (Authentication(host.token),) if interceptors else ()
        super().__init__(
            migration_thread_pool,
            [Handlers(host, handler) for handler in handlers],
            (*gate, *interceptors),
            (*options, *_OPTIONS),
            maximum_concurrent_rpcs,
            compression,
        )

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As grpc.aio's."""
        super().add_generic_rpc_handlers([Handlers(self._host, handler) for handler in generic_rpc_handlers])

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """As grpc.aio's."""
        super().add_registered_method_handlers(
            service_name,
            {
                name: wrap(self._host, f"/{service_name}/{name}", handler)
                for name, handler in method_handlers.items()
            },
        )

    def add_insecure_port(self, address: str) -> int:
        """Serves on a port of this host.

        Args:
            address: "[::]:50051" or the like; only its port counts. 0 takes any.

        Returns:
            The port, by which others connect to this host.
        """
        port = parse_port(address)
        if port == 0:
            port = self._host.any_port()
        self._ports.append(port)
        if not self._bind(port):
            self._unbound.append(port)  # a predecessor may still be dying: `start` tries again
        return port

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Is refused: hosts of a cluster talk in the clear, and the cluster's token is their credential."""
        raise NotImplementedError(f"{address}: TLS inside a cluster is not supported; use add_insecure_port")

    async def start(self) -> None:
        """Starts serving.

        Raises:
            OSError: a port is taken by another program.
        """
        deadline = asyncio.get_running_loop().time() + _BIND_WITHIN
        while self._unbound:
            self._unbound = [port for port in self._unbound if not self._bind(port)]
            if self._unbound:
                if asyncio.get_running_loop().time() > deadline:
                    port = self._unbound[0]
                    where = self._host.names.resolve(self._host.name, port)
                    raise OSError(
                        f"{self._host.name}:{port} is to be {where}, which another program has taken"
                    )
                await asyncio.sleep(0.05)
        await super().start()
        self._host.serving.update(dict.fromkeys(self._ports))

    async def stop(self, grace: float | None) -> None:
        """As grpc.aio's."""
        for port in self._ports:
            self._host.serving.pop(port, None)
        await super().stop(grace)

    def _bind(self, port: int) -> bool:
        where = self._host.names.resolve(self._host.name, port)
        try:
            super().add_insecure_port(self._host.listens_at(where))
        except RuntimeError:
            return False
        return True


class Authentication(grpc.aio.ServerInterceptor):
    """Keeps calls without the token from whatever comes behind it.

    (Handlers check for themselves; an interceptor in front of them would cost every call more.)
    """

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Passes the call on, if it may."""
        agent = dict(handler_call_details.invocation_metadata).get("user-agent", "")
        if caller(agent, self._token) is not None:
            return await continuation(handler_call_details)

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)

        return grpc.unary_unary_rpc_method_handler(refuse)
