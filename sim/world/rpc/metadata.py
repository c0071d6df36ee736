"""Metadata on its way: checked as gRPC core checks it, and what the receiver gets to see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
from grpc._cython import cygrpc
from grpc.aio._channel import _USER_AGENT

from sim.world.rpc.status import metadata_size

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY = re.compile(r"[0-9a-z_.\-]+")
_VALUE = re.compile(rb"[\x20-\x7e]*")
HARD_LIMIT = 16_384  # bytes of metadata: gRPC's `grpc.absolute_max_metadata_size`

USER_AGENT = cygrpc._Metadatum("user-agent", _USER_AGENT)


def outbound(metadata: Iterable[Any] | None) -> tuple[Any, ...]:
    """Checks and freezes metadata.

    Raises:
        ExecuteBatchError: a key or value may not be sent (as grpc.aio has it; core logs the reason).
        TypeError: a key or value is neither text nor bytes.
    """
    if not metadata:
        return ()
    checked = []
    for key, value in metadata:
        for text in (key, value):
            if not isinstance(text, (str, bytes)):
                raise TypeError(f"Expected str, not {type(text)}")
        name = key.decode() if isinstance(key, bytes) else key
        binary = name.endswith("-bin")
        raw = value if isinstance(value, bytes) else value.encode()
        if not _KEY.fullmatch(name):
            raise cygrpc.ExecuteBatchError(f"Metadata key {name!r} is invalid: Illegal header key")
        if not binary and not _VALUE.fullmatch(raw):
            raise cygrpc.ExecuteBatchError(f"Metadata value for key {name} is invalid: Illegal header value")
        checked.append(cygrpc._Metadatum(name, raw if binary else raw.decode()))
    return tuple(checked)


def excess(metadata: tuple[Any, ...]) -> str:
    """Returns why a receiver refuses metadata for their size; "" when it does not."""
    for _, value in metadata:
        if len(value) > HARD_LIMIT:
            return f"received metadata size exceeds hard limit (value length {len(value)} vs. {HARD_LIMIT})"
    size = metadata_size(metadata)
    return f"received metadata size exceeds hard limit ({size} vs. {HARD_LIMIT})" if size > HARD_LIMIT else ""


def as_metadata(metadata: Any) -> Any:
    """Returns what an application gave as metadata (a sequence of pairs, None) as `grpc.aio.Metadata`."""
    if isinstance(metadata, grpc.aio.Metadata):
        return metadata
    return grpc.aio.Metadata(*(metadata or ()))


def visible(metadata: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what a handler sees of the metadata that a client sent."""
    return (USER_AGENT, *metadata)
