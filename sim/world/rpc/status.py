"""Status codes and gRPC's own words for what goes wrong.

A status is `cygrpc.AioRpcStatus`, because grpc.aio's call objects, which run here too, expect one.
The texts are those of gRPC core 1.85, observed on real connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc._cython import cygrpc

if TYPE_CHECKING:
    from collections.abc import Iterable

Status: Any = cygrpc.AioRpcStatus
"""`Status(code, details, trailing_metadata, debug_error_string)`; each is read by calling its name."""

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
NAMES: dict[int, str] = {number: code.name for number, code in CODES.items()}

OK = 0
CANCELLED = 1
UNKNOWN = 2
DEADLINE_EXCEEDED = 4
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14

FINE = Status(OK, "", (), "")
INVALID_METADATA = "Invalid metadata"

METHOD_NOT_FOUND = "Method not found!"
TOO_MANY_CALLS = "Concurrent RPC limit exceeded!"
STOPPED = "Cancelling all calls"
DEADLINE = "Deadline Exceeded"
LOCALLY_CANCELLED = "Locally cancelled by application!"
BROKEN = "Socket closed"


def failure(code: int, details: str, trailing: tuple[Any, ...] = ()) -> Any:
    """Returns a status with the debug string that gRPC core gives it."""
    return Status(code, details, trailing, f"{NAMES[code]}:{details}")


def too_large(size: int, limit: float) -> str:
    """Returns what is said of a message over a limit."""
    return f"Received message larger than max ({size} vs. {limit})"


def too_large_to_send(size: int, limit: float) -> str:
    """Returns what is said of a message over the sender's own limit."""
    return f"Sent message larger than max ({size} vs. {limit})"


def number(code: Any) -> int:
    """Returns the integer of a `grpc.StatusCode` or of an integer that is one; UNKNOWN for anything else."""
    if isinstance(code, grpc.StatusCode):
        value: int = code.value[0]
        return value
    if isinstance(code, int) and code in CODES:
        return code
    return UNKNOWN


def metadata_size(metadata: Iterable[tuple[str, Any]]) -> int:
    """Returns about how many bytes metadata takes on the wire."""
    return sum(len(key) + len(value) + 2 for key, value in metadata)
