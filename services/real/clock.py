"""The clock of a real host: the machine's clock, plus what faults add to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protos import control_pb2

_SECOND = 1_000_000_000


class SkewedClock:
    """The machine's clock with an injected error; implements `services.host.Clock`.

    Attributes:
        lie: seconds by which a time master on this host misstates the time, and is sure of it;
            a time service consults it.
    """

    def __init__(self) -> None:
        self.lie = 0.0
        self._offset = 0
        self._drift = 0.0
        self._since = 0
        self._steady = 0.0  # what past drifts added to the monotonic clock
        self._monotonic_since = 0.0

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
        return time.time_ns() + self.offset_ns if self._offset or self._drift else time.time_ns()

    def time(self) -> float:
        """Returns the wall clock in seconds since the Unix epoch."""
        return self.time_ns() / _SECOND

    def monotonic(self) -> float:
        """Returns seconds since some fixed moment, as a drifting crystal counts them."""
        now = time.monotonic()
        return now + self._steady + (now - self._monotonic_since) * self._drift
