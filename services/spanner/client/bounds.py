"""Timestamp bounds: at which time a read-only transaction reads, by the names that Cloud Spanner has for
them.

A timestamp is an integer (nanoseconds since the Unix epoch, TrueTime's), or a `datetime` with a time zone,
which is coarser; a duration is an integer of nanoseconds or a `timedelta`. What the database returns is
always an integer.
"""

from __future__ import annotations

import datetime
from typing import TypeAlias

from msgspec import Struct

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError

Timestamp: TypeAlias = int | datetime.datetime
Duration: TypeAlias = int | datetime.timedelta

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_LARGEST = (1 << 63) - 1


class Bound(Struct, frozen=True):
    """At which time is read.

    Attributes:
        kind: "strong", or one of the others that `pb.TimestampBound` has.
        value: nanoseconds: a timestamp or a duration, as the kind has it.
    """

    kind: str = "strong"
    value: int = 0

    @property
    def single_use(self) -> bool:
        """Whether it can be used for one read only: the replica that answers chooses the timestamp."""
        return self.kind in ("min_read_timestamp", "max_staleness")

    def wire(self) -> pb.TimestampBound:
        """Returns it as requests have it."""
        if self.kind == "strong":
            return pb.TimestampBound(strong=True)
        wire = pb.TimestampBound()
        setattr(wire, self.kind, self.value)
        return wire


STRONG = Bound()


def at(timestamp: int) -> Bound:
    """Returns the bound of exactly that timestamp."""
    return Bound("read_timestamp", timestamp)


def bound(
    *,
    strong: bool = False,
    read_timestamp: Timestamp | None = None,
    min_read_timestamp: Timestamp | None = None,
    max_staleness: Duration | None = None,
    exact_staleness: Duration | None = None,
) -> Bound:
    """Returns the bound that is given; none is strong.

    Raises:
        SpannerError: INVALID_ARGUMENT: several are given, or one makes no sense.
    """
    given = [
        Bound(name, _nanoseconds(name, value))
        for name, value in (
            ("read_timestamp", read_timestamp),
            ("min_read_timestamp", min_read_timestamp),
            ("max_staleness", max_staleness),
            ("exact_staleness", exact_staleness),
        )
        if value is not None
    ]
    if len(given) + strong > 1:
        names = [*(["strong"] if strong else []), *(one.kind for one in given)]
        raise SpannerError(
            "INVALID_ARGUMENT", f"a snapshot has one timestamp bound, not {' and '.join(names)}"
        )
    return given[0] if given else STRONG


def _nanoseconds(name: str, value: Timestamp | Duration) -> int:
    if isinstance(value, datetime.datetime):
        if name.endswith("staleness"):
            raise SpannerError("INVALID_ARGUMENT", f"{name} is a duration, not a moment: {value}")
        if value.tzinfo is None:
            raise SpannerError("INVALID_ARGUMENT", f"{name} {value} needs a time zone")
        nanoseconds = (value - _EPOCH) // _MICROSECOND * 1000
    elif isinstance(value, datetime.timedelta):
        if not name.endswith("staleness"):
            raise SpannerError("INVALID_ARGUMENT", f"{name} is a moment, not a duration: {value}")
        nanoseconds = value // _MICROSECOND * 1000
    elif isinstance(value, int) and not isinstance(value, bool):
        nanoseconds = value
    else:
        raise SpannerError("INVALID_ARGUMENT", f"{name} is {value!r}, must be nanoseconds")
    least = 0 if name.endswith("staleness") else 1
    if not least <= nanoseconds <= _LARGEST:
        raise SpannerError(
            "INVALID_ARGUMENT", f"{name} is {nanoseconds} ns, must be from {least} to {_LARGEST}"
        )
    return nanoseconds
