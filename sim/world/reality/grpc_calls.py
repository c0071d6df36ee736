"""grpc.aio, called directly: in an adopted process channels and servers are the simulated network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from sim.world.reality.leak import inside, leak

if TYPE_CHECKING:
    from collections.abc import Callable

_insecure_channel: Any = grpc.aio.insecure_channel
_server: Any = grpc.aio.server


def insecure_channel(
    target: str, options: Any = None, compression: Any = None, interceptors: Any = None
) -> grpc.aio.Channel:
    """Opens a channel (`grpc.aio.insecure_channel`)."""
    process = inside()
    if process is None:
        return _insecure_channel(target, options, compression, interceptors)  # type: ignore[no-any-return]
    if not process.adopted:
        raise leak(process, "grpc.aio.insecure_channel()", "uses the real network", "use host.connect()")
    from sim.world import rpc

    return rpc.connect(
        process.host.simulation,
        process,
        target,
        options=tuple(options or ()),
        interceptors=tuple(interceptors or ()),
        compression=compression,
    )


def server(
    migration_thread_pool: Any = None,
    handlers: Any = None,
    interceptors: Any = None,
    options: Any = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Any = None,
) -> grpc.aio.Server:
    """Creates a server (`grpc.aio.server`)."""
    process = inside()
    if process is None:
        return _server(  # type: ignore[no-any-return]
            migration_thread_pool, handlers, interceptors, options, maximum_concurrent_rpcs, compression
        )
    if not process.adopted:
        raise leak(process, "grpc.aio.server()", "uses the real network", "use host.serve()")
    from sim.world import rpc

    return rpc.serve(
        process.host.simulation,
        process,
        None,
        options=tuple(options or ()),
        interceptors=tuple(interceptors or ()),
        maximum_concurrent_rpcs=maximum_concurrent_rpcs,
        handlers=tuple(handlers or ()),
    )


def _refused(real: Callable[..., Any], call: str, instead: str) -> tuple[Any, Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        process = inside()
        if process is None:
            return real(*args, **kwargs)
        raise leak(process, call, "cannot be done", instead)

    refused.__name__ = refused.__qualname__ = real.__name__
    return real, refused


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions and what stands in for each."""
    insecure = "there is no TLS in the simulated network: use grpc.aio.insecure_channel()"
    blocking = "its calls block, which would stop the whole simulation: use grpc.aio"
    return [
        (_insecure_channel, insecure_channel),
        (_server, server),
        _refused(grpc.aio.secure_channel, "grpc.aio.secure_channel()", insecure),
        _refused(grpc.insecure_channel, "grpc.insecure_channel()", blocking),
        _refused(grpc.secure_channel, "grpc.secure_channel()", blocking),
        _refused(grpc.server, "grpc.server()", blocking),
    ]
