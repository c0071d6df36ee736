"""Adopted programs: code that knows no `Host` and calls `grpc.aio` directly.

In the process of an adopted node `grpc.aio.insecure_channel("name:port")` and `grpc.aio.server()` are the
host's: targets are names of the cluster, ports are the host's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from services.real.names import NAME
from services.real.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.real.host import RealHost

_SELF = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]")


def adopt(host: RealHost) -> None:
    """Routes this process's direct calls of `grpc.aio` through the door of `host`, from now on."""

    def insecure_channel(
        target: str,
        options: Sequence[tuple[str, Any]] | None = None,
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
    ) -> grpc.aio.Channel:
        return host.connect(
            own_name(target, host.name),
            options=options or (),
            interceptors=interceptors or (),
            compression=compression,
        )

    def server(
        migration_thread_pool: Any = None,
        handlers: Sequence[grpc.GenericRpcHandler] | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] | None = None,
        options: Sequence[tuple[str, Any]] | None = None,
        maximum_concurrent_rpcs: int | None = None,
        compression: grpc.Compression | None = None,
    ) -> Server:
        host.tracing.start()
        return Server(
            host,
            options=options or (),
            interceptors=interceptors or (),
            maximum_concurrent_rpcs=maximum_concurrent_rpcs,
            compression=compression,
            migration_thread_pool=migration_thread_pool,
            handlers=handlers or (),
        )

    def secure_channel(target: str, *_: Any, **__: Any) -> grpc.aio.Channel:
        raise NotImplementedError(
            f"{target}: TLS inside a cluster is not supported; use grpc.aio.insecure_channel"
        )

    grpc.aio.insecure_channel = insecure_channel
    grpc.aio.secure_channel = secure_channel
    grpc.aio.server = server  # type: ignore[assignment]


def own_name(target: str, name: str) -> str:
    """Returns the target by a name of the cluster: what means this machine is this host."""
    target = target.removeprefix("dns:///").removeprefix("dns:").removeprefix("ipv4:").removeprefix("ipv6:")
    where, colon, port = target.rpartition(":")
    if not colon or not port.isdigit():
        where, port = target, ""
    if where in _SELF:
        where = name
    if not NAME.fullmatch(where):
        raise ValueError(f'target "{target}" is no host of this cluster')
    return f"{where}:{port}" if port else where
