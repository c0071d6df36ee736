"""A refusal on the wire: a gRPC status with trailing metadata, or a `Status` within a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, get_args

import grpc

from protos import spanner_pb2 as pb
from services.spanner.errors import Code, Reason, SpannerError

if TYPE_CHECKING:
    from services.host import Context

REASON, HINT, RETRY = "spanner-reason", "spanner-hint", "spanner-retry-s"

_CODES: dict[str, Code] = {code: code for code in get_args(Code)}
_REASONS: dict[str, Reason] = {reason: reason for reason in get_args(Reason)}


LONGEST = 1000
"""Characters of a refusal's text: it may name what a client has sent, and travels among gRPC's headers."""


async def abort(context: Context, error: SpannerError) -> NoReturn:
    """Ends a call with a refusal."""
    metadata: list[tuple[str, str]] = []
    if error.reason:
        metadata.append((REASON, error.reason))
    if error.hint:
        metadata.append((HINT, error.hint))
    if error.retry_s:
        metadata.append((RETRY, repr(error.retry_s)))
    await context.abort(grpc.StatusCode[error.code], line(error.detail), tuple(metadata))
    raise AssertionError("abort returns")  # it does not


def line(text: str) -> str:
    """Returns a text as one line of no more than so many characters, whatever is in it."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 3]}..."
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def of_call(error: grpc.aio.AioRpcError) -> SpannerError:
    """Returns the refusal that a call ended with; codes that the database does not have are INTERNAL."""
    metadata = dict(error.trailing_metadata() or ())
    return _refusal(
        error.code().name,
        error.details() or error.code().name,
        str(metadata.get(REASON, "")),
        str(metadata.get(HINT, "")),
        str(metadata.get(RETRY, "0")),
    )


def to_status(error: SpannerError) -> pb.Status:
    """Returns a refusal as it stands in a pipeline."""
    return pb.Status(
        code=error.code,
        detail=line(error.detail),
        reason=error.reason,
        hint=error.hint,
        retry_s=error.retry_s,
    )


def of_status(status: pb.Status) -> SpannerError:
    """Returns the refusal that stands in a pipeline."""
    return _refusal(status.code, status.detail, status.reason, status.hint, str(status.retry_s))


def _refusal(code: str, detail: str, reason: str, hint: str, retry: str) -> SpannerError:
    try:
        retry_s = float(retry)
    except ValueError:
        retry_s = 0.0
    return SpannerError(
        _CODES.get(code, "INTERNAL"), detail, _REASONS.get(reason, ""), hint=hint, retry_s=retry_s
    )
