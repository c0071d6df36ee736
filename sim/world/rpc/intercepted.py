"""Client interceptors: grpc.aio's own classes, on calls of ours.

`grpc.aio._interceptor.Intercepted*Call` runs the chain of interceptors in a task, and at its end makes a
call object. Each class below changes that last step only: deadlines count in virtual time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio._call import StreamUnaryCall, UnaryUnaryCall
from grpc.aio._interceptor import (
    InterceptedStreamStreamCall,
    InterceptedStreamUnaryCall,
    InterceptedUnaryStreamCall,
    InterceptedUnaryUnaryCall,
)

from sim.world.rpc.metadata import as_metadata
from sim.world.rpc.streaming import StreamStreamCall, UnaryStreamCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _innermost(plain: Any, owner: Any, serialize: Any, deserialize: Any, details: Any, request: Any) -> Any:
    return plain(
        request,
        owner._channel.deadline(details.timeout),
        as_metadata(details.metadata),
        details.credentials,
        details.wait_for_ready,
        owner._channel,
        details.method if isinstance(details.method, bytes) else details.method.encode(),
        serialize,
        deserialize,
        owner._loop,
    )


class _UnaryUnary(InterceptedUnaryUnaryCall):
    async def _run_interceptor(
        self, interceptors: Any, method: Any, serialize: Any, deserialize: Any, details: Any, request: Any
    ) -> Any:
        if interceptors:
            return await super()._run_interceptor(
                interceptors, method, serialize, deserialize, details, request
            )
        return _innermost(UnaryUnaryCall, self, serialize, deserialize, details, request)


class _UnaryStream(InterceptedUnaryStreamCall):
    async def _run_interceptor(
        self, interceptors: Any, method: Any, serialize: Any, deserialize: Any, details: Any, request: Any
    ) -> Any:
        if interceptors:
            return await super()._run_interceptor(
                interceptors, method, serialize, deserialize, details, request
            )
        made = _innermost(UnaryStreamCall, self, serialize, deserialize, details, request)
        self._last_returned_call_from_interceptors = made
        return made


class _StreamUnary(InterceptedStreamUnaryCall):
    async def _run_interceptor(
        self, interceptors: Any, method: Any, serialize: Any, deserialize: Any, details: Any, request: Any
    ) -> Any:
        if interceptors:
            return await super()._run_interceptor(
                interceptors, method, serialize, deserialize, details, request
            )
        return _innermost(StreamUnaryCall, self, serialize, deserialize, details, request)


class _StreamStream(InterceptedStreamStreamCall):
    async def _run_interceptor(
        self, interceptors: Any, method: Any, serialize: Any, deserialize: Any, details: Any, request: Any
    ) -> Any:
        if interceptors:
            return await super()._run_interceptor(
                interceptors, method, serialize, deserialize, details, request
            )
        made = _innermost(StreamStreamCall, self, serialize, deserialize, details, request)
        self._last_returned_call_from_interceptors = made
        return made


INTERCEPTED: dict[str, Any] = {
    "UnaryUnary": _UnaryUnary,
    "UnaryStream": _UnaryStream,
    "StreamUnary": _StreamUnary,
    "StreamStream": _StreamStream,
}

_KINDS: dict[str, Any] = {
    "UnaryUnary": grpc.aio.UnaryUnaryClientInterceptor,
    "UnaryStream": grpc.aio.UnaryStreamClientInterceptor,
    "StreamUnary": grpc.aio.StreamUnaryClientInterceptor,
    "StreamStream": grpc.aio.StreamStreamClientInterceptor,
}


_NONE: dict[str, Sequence[Any]] = dict.fromkeys(_KINDS, ())  # what nearly all channels have


def sort_interceptors(interceptors: Sequence[Any] | None) -> Mapping[str, Sequence[Any]]:
    """Returns the interceptors by the kind of RPC that they are for; one counts for the first kind it has.

    Raises:
        ValueError: one is of no kind.
    """
    if not interceptors:
        return _NONE
    found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    for interceptor in interceptors:
        for kind, base in _KINDS.items():
            if isinstance(interceptor, base):
                found[kind].append(interceptor)
                break
        else:
            names = " or ".join(base.__name__ for base in _KINDS.values())
            raise ValueError(f"Interceptor {interceptor} must be {names}.")
    return found
