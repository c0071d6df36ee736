"""How the database refuses: Cloud Spanner's status codes, each with a reason that a client can act on."""

from __future__ import annotations

from typing import Literal, TypeAlias

Code: TypeAlias = Literal[
    "ABORTED",
    "ALREADY_EXISTS",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
]
"""A name of `grpc.StatusCode`."""

Reason: TypeAlias = Literal[
    "", "not-leader", "moved", "schema", "wounded", "lost-locks", "unknown-group", "no-time", "forgotten"
]
"""What a client's library does about it: "not-leader": ask `hint`; "moved": ask where the key is now;
"schema": fetch the schema again; "no-time": another replica (this host's clock is not synchronized);
"forgotten": who has asked before does not know what became of that."""


class SpannerError(Exception):
    """A refusal.

    Attributes:
        code: by the names of gRPC.
        detail: one line that names what was wrong.
        reason: for a client's library.
        hint: with "not-leader", who leads ("" where that is not known).
        retry_s: with ABORTED, how long to wait before it is tried again (Cloud Spanner's RetryInfo).
    """

    def __init__(
        self, code: Code, detail: str, reason: Reason = "", *, hint: str = "", retry_s: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = code
        self.detail = detail
        self.reason: Reason = reason
        self.hint = hint
        self.retry_s = retry_s
