"""The clock of a real host: the machine's clock, plus what faults add to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import control_pb2

_SECOND = 1_000_000_000


class SkewedClock:
    """The machine's clock with an injected error; implements `services.host.Clock`.

    Attributes:
        lie: seconds by which a time master on this host misstates the time, and is sure of it;
            a time service consults it.
        note: called with the name and the fields of what is to be noted of its claims.
        sample: called with the bound and the middle of a claim that is to be traced.
        claims, violations: how often the host said what it believes, and how often that did not hold.
    """

    def __init__(self) -> None:
        self.lie = 0.0
        self._offset = 0
        self._drift = 0.0
        self._since = 0
        self._steady = 0.0  # what past drifts added to the monotonic clock
        self._monotonic_since = 0.0
        self._read = self._until = 0  # the machine's clock as this one was last read: before, and after
        self._outside = 0  # how far the claims of this stretch were off at most; 0 while they hold
        self.claims = 0
        self.violations = 0
        self.note: Callable[[str, dict[str, Any]], None] = _nobody
        self.sample: Callable[[int, int], None] = _nobody

    def set(self, rule: control_pb2.Clock) -> None:
        """Takes over what the rules of the door say of the clock."""
        now = time.monotonic()
        self._steady += (now - self._monotonic_since) * self._drift
        self._monotonic_since = now
        self.lie = rule.lie_s
        self._offset = round(rule.offset_s * _SECOND)
        self._drift = rule.drift
        self._since = rule.since_ns

    @property
    def offset_ns(self) -> int:
        """How far the wall clock is from the machine's."""
        if not self._drift:
            return self._offset
        return self._offset + round((time.time_ns() - self._since) * self._drift)

    def time_ns(self) -> int:
        """Returns the wall clock in nanoseconds since the Unix epoch."""
        now = self._read = self._until = time.time_ns()
        return now + self.offset_ns if self._offset or self._drift else now

    def time(self) -> float:
        """Returns the wall clock in seconds since the Unix epoch."""
        return self.time_ns() / _SECOND

    def monotonic(self) -> float:
        """Returns seconds since some fixed moment, as a drifting crystal counts them."""
        self._read = time.time_ns()
        now = time.monotonic()
        self._until = time.time_ns()  # the process may have been held up in between
        return now + self._steady + (now - self._monotonic_since) * self._drift

    def monotonic_ns(self) -> int:
        """Returns nanoseconds since that moment."""
        if self._drift or self._steady:
            return round(self.monotonic() * _SECOND)
        self._read = time.time_ns()
        now = time.monotonic_ns()
        self._until = time.time_ns()
        return now

    def claim(self, earliest_ns: int, latest_ns: int, *, traced: bool = False) -> None:
        """Compares what the host believes with the machine's clock; see `services.host.Clock.claim`."""
        self.claims += 1
        now = self._read
        if earliest_ns > self._until or now > latest_ns:
            self.violations += 1
            by = max(earliest_ns - self._until, now - latest_ns)
            if not self._outside:
                side = "earliest" if earliest_ns > self._until else "latest"
                self.note(
                    "truetime-violated", {"by_ns": by, "side": side, "width_ns": latest_ns - earliest_ns}
                )
            self._outside = max(self._outside, by)
        elif self._outside:
            self.note("truetime-contained", {"worst_ns": self._outside})
            self._outside = 0
        if traced:
            self.sample((latest_ns - earliest_ns) // 2, (earliest_ns + latest_ns) // 2 - now)


def _nobody(*ignored: Any) -> None:
    """Hears of claims where nothing is recorded."""
