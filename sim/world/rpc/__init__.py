"""Simulated gRPC: channels and servers with the interfaces and the behaviour of `grpc.aio`.

What generated code and applications see are grpc.aio's own classes and errors; below them, messages
travel as bytes over `sim.world.network`. Read

- the client's side: `channel` (channels and multicallables), `subchannel` (connecting, backoff), `stream`
  (the state of an RPC), `unary` (unary calls, the fast way), `core` (what grpc.aio's own call classes run
  on), `streaming`, `intercepted`;
- between the two: `connection`, `flow`, `metadata`, `status`;
- the server's side: `server` (what applications hold), `serving` (its core), `worker` (the tasks that run
  handlers), `handlers`, `context`, `sync`.

How a message wakes a task is in `waking`. `fast` has the commonest RPC, request and reply, written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.world.rpc.channel import Channel
from sim.world.rpc.server import Server
from sim.world.rpc.world import lose_replies

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from sim.world.process import Process
    from sim.world.simulation import Simulation

__all__ = ["connect", "lose_replies", "serve"]


def connect(
    simulation: Simulation,
    process: Process,
    target: str,
    *,
    options: Sequence[tuple[str, Any]] | None = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] | None = (),
    compression: grpc.Compression | None = None,
) -> grpc.aio.Channel:
    """Opens a channel from a simulated process.

    Args:
        simulation, process: whose channel it is.
        target: "name" or "name:port" of a simulated host, with or without "dns:///"; "localhost" is the
            host itself.
        options: channel arguments; message sizes and reconnection backoff have an effect.
        interceptors: as `grpc.aio.insecure_channel` takes them.
        compression: accepted, without effect: messages travel at their own size.

    Raises:
        ValueError: the target or an interceptor is none.
    """
    return Channel(simulation, process, target, options, interceptors, compression)


def serve(
    simulation: Simulation,
    process: Process,
    port: int | None = None,
    *,
    options: Sequence[tuple[str, Any]] | None = (),
    interceptors: Sequence[grpc.aio.ServerInterceptor] | None = (),
    maximum_concurrent_rpcs: int | None = None,
    handlers: Sequence[grpc.GenericRpcHandler] | None = (),
) -> grpc.aio.Server:
    """Returns a server of a simulated process, not yet started.

    Args:
        simulation, process: whose server it is.
        port: bound at once; None leaves that to `add_insecure_port`.
        options: channel arguments; message sizes have an effect.
        interceptors, maximum_concurrent_rpcs, handlers: as `grpc.aio.server` takes them.

    Raises:
        RuntimeError: the port is in use.
        ValueError: an interceptor is none, or the limit is not positive.
    """
    return Server(simulation, process, port, options, interceptors, maximum_concurrent_rpcs, handlers)
