"""What a request must be before anything looks at it: the rest is INVALID_ARGUMENT, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.errors import SpannerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos import spanner_pb2 as pb

MOST_MUTATIONS = 80_000  # values in a commit: Cloud Spanner's limit
MOST_COLUMNS = 1024
MOST_PARTICIPANTS = 10_000
NAME = 256  # characters of a transaction's id
LARGEST = (1 << 63) - 1  # a timestamp


def name(transaction: str) -> None:
    """Checks a transaction's id."""
    if not 0 < len(transaction) <= NAME:
        raise _wrong(f"a transaction's id has 1 to {NAME} characters, not {len(transaction)}")


def transaction(transaction: pb.Transaction) -> None:
    """Checks what a request says of its transaction."""
    name(transaction.id)
    if transaction.age > LARGEST or transaction.term > LARGEST:
        raise _wrong("the age and the term of a transaction are numbers below 2**63")


def read(request: pb.ReadRequest) -> None:
    """Checks a read."""
    kind = request.transaction.WhichOneof("kind")
    if kind == "read_write":
        transaction(request.transaction.read_write)
    elif kind == "read_only":
        bound = request.transaction.read_only
        which = bound.WhichOneof("bound")
        if which is None:
            raise _wrong("a read-only transaction needs a timestamp bound")
        if which == "strong":
            if not bound.strong:
                raise _wrong("strong is false: name another timestamp bound")
        elif getattr(bound, which) > LARGEST:
            raise _wrong(f"{which} is {getattr(bound, which)}, must be below 2**63")
    else:
        raise _wrong("a read needs a transaction selector")
    if len(request.columns) > MOST_COLUMNS:
        raise _wrong(f"{len(request.columns)} columns are too many: at most {MOST_COLUMNS}")
    _in_order(request.ranges)


def commit(request: pb.CommitRequest) -> None:
    """Checks a commit."""
    transaction(request.transaction)
    _mutations(request.mutations)
    if not request.placement:
        _not_placement(request)
    if len(request.participants) > MOST_PARTICIPANTS:
        raise _wrong(f"{len(request.participants)} participants are too many: at most {MOST_PARTICIPANTS}")
    if request.participants and len({request.group, *request.participants}) <= len(request.participants):
        raise _wrong("a group takes part twice")
    if request.at > LARGEST:
        raise _wrong("a schema change is at a timestamp below 2**63")
    if request.HasField("ownership"):
        _ownership(request.ownership)


def prepare(request: pb.PrepareRequest) -> None:
    """Checks a participant's part."""
    transaction(request.transaction)
    _mutations(request.mutations)
    if not request.placement:
        _not_placement(request)
    if request.coordinator == request.group:
        raise _wrong("a group does not prepare for itself: its coordinator is another one")
    if request.at > LARGEST:
        raise _wrong("a schema change is at a timestamp below 2**63")
    if request.HasField("ownership"):
        _ownership(request.ownership)


def key_range(range_: pb.KeyRange) -> None:
    """Checks a range of keys."""
    if not range_.start < range_.end:
        raise _wrong("a range of keys ends after its start")


def _mutations(mutations: Sequence[pb.Mutation]) -> None:
    if len(mutations) > MOST_MUTATIONS:
        raise _wrong(f"{len(mutations)} mutations are too many: at most {MOST_MUTATIONS}")
    for one in mutations:
        if not 0 <= one.kind <= 6:
            raise _wrong(f"there is no mutation of kind {one.kind}")
        if len(one.columns) > MOST_COLUMNS:
            raise _wrong(f"{len(one.columns)} columns are too many: at most {MOST_COLUMNS}")


def _not_placement(request: pb.CommitRequest | pb.PrepareRequest) -> None:
    """Refuses what only placement may do: system tables, ownership and schemas change together."""
    for one in request.mutations:
        if "." in one.table:
            raise SpannerError(
                "FAILED_PRECONDITION", f"Table {one.table[:130]} is the system's: only placement writes it"
            )
    if request.schema or request.HasField("ownership"):
        raise SpannerError(
            "FAILED_PRECONDITION", "what a group owns, and its schema, are changed by placement only"
        )


def _ownership(ownership: pb.Ownership) -> None:
    for range_ in (*ownership.acquired, *ownership.released):
        key_range(range_)


def _in_order(ranges: Sequence[pb.KeyRange]) -> None:
    end = b""
    for one in ranges:
        key_range(one)
        if one.start < end:
            raise _wrong("the ranges of a read are in order, and do not overlap")
        end = one.end


def _wrong(what: str) -> SpannerError:
    return SpannerError("INVALID_ARGUMENT", what)
