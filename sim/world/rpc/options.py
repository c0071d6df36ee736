"""Channel arguments: those that have an effect here."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

_METHOD_POLICIES = (
    "retryPolicy",
    "hedgingPolicy",
    "timeout",
    "waitForReady",
    "maxRequestMessageBytes",
    "maxResponseMessageBytes",
)
UNLIMITED = sys.maxsize  # bytes
DEFAULT_MAX_RECEIVE = 4 * 1024 * 1024  # bytes


class Options(Struct, frozen=True):
    """What a channel or server was told by `grpc.*` arguments.

    Attributes:
        max_send, max_receive: bytes of a message; `UNLIMITED` for no limit.
        initial_backoff, max_backoff, connect_timeout: seconds.
    """

    max_send: int = UNLIMITED
    max_receive: int = DEFAULT_MAX_RECEIVE
    initial_backoff: float = 1.0
    max_backoff: float = 120.0
    connect_timeout: float = 20.0


def parse_options(options: Sequence[tuple[str, Any]] | None) -> Options:
    """Reads channel arguments; those without an effect here (keepalive, load balancing, ...) are ignored.

    Raises:
        TypeError: an argument is not a pair.
        NotImplementedError: `grpc.service_config` says how calls are to be made.
    """
    given: dict[str, Any] = {}
    for option in options or ():
        try:
            name, value = option
        except (TypeError, ValueError):
            raise TypeError(f"a channel argument is a pair of name and value, not {option!r}") from None
        given[name.decode() if isinstance(name, bytes) else name] = value

    if "grpc.service_config" in given:
        _refuse_policies(given["grpc.service_config"], bool(given.get("grpc.enable_retries", 1)))

    def milliseconds(name: str, default: float) -> float:
        return given[name] / 1000 if name in given else default

    def limit(name: str, default: int) -> int:
        value = given.get(name, default)
        return UNLIMITED if value < 0 else int(value)

    initial = milliseconds("grpc.initial_reconnect_backoff_ms", 1.0)
    return Options(
        limit("grpc.max_send_message_length", UNLIMITED),
        limit("grpc.max_receive_message_length", DEFAULT_MAX_RECEIVE),
        max(0.1, initial),
        max(0.1, milliseconds("grpc.max_reconnect_backoff_ms", 120.0)),
        max(0.1, milliseconds("grpc.min_reconnect_backoff_ms", 20.0)),
    )


def _refuse_policies(text: Any, retries: bool) -> None:
    """Refuses a service config whose policies would silently not hold; load balancing has no effect here.

    Raises:
        NotImplementedError: it has one.
    """
    try:
        methods = json.loads(text).get("methodConfig", [])
        told = [name for name in _METHOD_POLICIES if any(name in method for method in methods)]
    except (AttributeError, TypeError, ValueError):
        return  # gRPC ignores what it cannot read
    if not retries and "retryPolicy" in told:
        told.remove("retryPolicy")
    if told:
        raise NotImplementedError(
            f"grpc.service_config with {', '.join(told)} is not simulated: "
            "retry in a client interceptor, and pass timeout and wait_for_ready to the call"
        )
