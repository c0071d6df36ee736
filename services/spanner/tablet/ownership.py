"""Which keys a group owns, and when (invariant 17).

A *tenure* is a range that the group acquired at a timestamp, and perhaps released at another. A range that
was moved here came with versions from before it was acquired; they can be read down to the *floor*, where
the group it came from had them collected. A range that was released can be read here below its release
until its versions are collected.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.tablet.errors import demand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Tenure(Struct, frozen=True, array_like=True):
    """A range, and how long it was a group's.

    Attributes:
        range: which keys.
        since: owned from this timestamp on.
        floor: read from this timestamp on; not above `since`.
        until: released at this timestamp; None while it is owned.
    """

    range: KeyRange
    since: int
    floor: int
    until: int | None = None


class Ownership:
    """The tenures of a group: no two have a key in common.

    Attributes:
        owned: what it owns now, in order, as few ranges as will do.
    """

    def __init__(self, tenures: Iterable[Tenure] = ()) -> None:
        self._tenures = list(tenures)
        self._refresh()

    @property
    def tenures(self) -> tuple[Tenure, ...]:
        """All of them, in the order of keys."""
        return tuple(self._tenures)

    def owns(self, within: KeyRange, t: int | None = None) -> bool:
        """Says whether the group owned all keys of a range at `t`; None: owns them now."""
        if t is None:
            place = bisect_right(self._starts, within.start) - 1
            return place >= 0 and within.end <= self.owned[place].end
        at = within.start
        for tenure in self._meeting(within):
            if (
                tenure.range.start > at
                or t < tenure.since
                or (tenure.until is not None and t >= tenure.until)
            ):
                return False
            at = tenure.range.end
        return at >= within.end

    def owns_key(self, key: bytes) -> bool:
        """Says whether the group owns a key now."""
        place = bisect_right(self._starts, key) - 1
        return place >= 0 and key < self.owned[place].end

    def check(self, within: KeyRange, t: int) -> None:
        """Does nothing where all keys of a range can be read here at `t`.

        Raises:
            SpannerError: UNAVAILABLE, "moved": another group has them at `t`. OUT_OF_RANGE: nobody has, any
                more.
        """
        at = within.start
        for tenure in self._meeting(within):
            if tenure.range.start > at:
                break
            if tenure.until is not None and t >= tenure.until:
                break
            if t < tenure.floor:
                if tenure.floor == tenure.since:
                    break
                raise SpannerError(
                    "OUT_OF_RANGE", f"versions before {tenure.floor} are collected; the read is at {t}"
                )
            at = tenure.range.end
        if at < within.end:
            raise SpannerError("UNAVAILABLE", f"not all of {within} is in this group at {t}", "moved")

    def since(self, within: KeyRange) -> int:
        """Returns when some of a range was last acquired or released; 0 where nothing of it was ever here."""
        return max((tenure.until or tenure.since for tenure in self._meeting(within)), default=0)

    def floor(self, within: KeyRange) -> int:
        """Returns from when on all of a range can be read, as far as its moves tell; 0: from the
        beginning."""
        return max((tenure.floor for tenure in self._meeting(within)), default=0)

    def acquire(self, within: KeyRange, timestamp: int, floor: int | None) -> None:
        """Makes it own a range from a timestamp on; what is left of an earlier tenure goes.

        Args:
            within: which.
            timestamp: from when on.
            floor: down to which versions came with it; None: none came. Then it is new, and was empty before,
                unless it was here once.

        Raises:
            Contradiction: it owns some of it, or did at that timestamp.
        """
        earlier = any(True for _ in self._meeting(within))
        demand(
            self.released_before((within,), timestamp),
            f"acquires {within} at {timestamp}, and has some of it",
        )
        if floor is None:
            floor = timestamp if earlier else 0
        tenures = [Tenure(within, timestamp, min(floor, timestamp))]
        for tenure in self._tenures:
            tenures += _rest(tenure, within) if tenure.range.overlaps(within) else [tenure]
        self._tenures = tenures
        self._refresh()

    def released_before(self, ranges: Iterable[KeyRange], timestamp: int) -> bool:
        """Says whether all that was here of ranges has been released by then."""
        return all(
            tenure.until is not None and tenure.until <= timestamp
            for within in ranges
            for tenure in self._meeting(within)
        )

    def release(self, within: KeyRange, timestamp: int) -> None:
        """Makes it own a range no more from a timestamp on.

        Raises:
            Contradiction: it does not own all of it.
        """
        demand(self.owns(within), f"releases {within}, which is not its own")
        tenures: list[Tenure] = []
        for tenure in self._tenures:
            part = tenure.range.meet(within)
            if part is None:
                tenures.append(tenure)
                continue
            demand(tenure.since < timestamp, f"releases {within} at {timestamp}, acquired at {tenure.since}")
            tenures += _rest(tenure, within)
            tenures.append(Tenure(part, tenure.since, tenure.floor, timestamp))
        self._tenures = tenures
        self._refresh()

    def acquired(self, after: int, upto: int) -> list[KeyRange]:
        """Returns what was acquired after a timestamp, and not after another, and is still owned."""
        return [one.range for one in self._tenures if one.until is None and after < one.since <= upto]

    def any_released(self, horizon: int) -> bool:
        """Says whether something was released up to a horizon, and is not forgotten yet."""
        return any(one.until is not None and one.until <= horizon for one in self._tenures)

    def collect(self, horizon: int) -> list[KeyRange]:
        """Forgets what was released up to a horizon, and returns it: nobody reads it here any more."""
        gone = [
            tenure.range for tenure in self._tenures if tenure.until is not None and tenure.until <= horizon
        ]
        if gone:
            self._tenures = [
                tenure for tenure in self._tenures if tenure.until is None or tenure.until > horizon
            ]
            self._refresh()
        return gone

    def _meeting(self, within: KeyRange) -> Iterator[Tenure]:
        """Yields the tenures that have keys of a range, in order."""
        place = max(0, bisect_right(self._begins, within.start) - 1)
        for tenure in self._tenures[place:]:
            if tenure.range.start >= within.end:
                return
            if tenure.range.end > within.start:
                yield tenure

    def _refresh(self) -> None:
        self._tenures.sort(key=lambda tenure: tenure.range.start)
        self._begins = [tenure.range.start for tenure in self._tenures]
        owned: list[KeyRange] = []
        for tenure in self._tenures:
            if tenure.until is not None:
                continue
            if owned and owned[-1].end == tenure.range.start:
                owned[-1] = KeyRange(owned[-1].start, tenure.range.end)
            else:
                owned.append(tenure.range)
        self.owned = tuple(owned)
        self._starts = [part.start for part in owned]


def _rest(tenure: Tenure, without: KeyRange) -> list[Tenure]:
    """Returns a tenure of what is not in a range."""
    whole = tenure.range
    parts = [KeyRange(whole.start, without.start), KeyRange(without.end, whole.end)]
    return [Tenure(part, tenure.since, tenure.floor, tenure.until) for part in parts if part.start < part.end]
