"""The clocks of a simulated host: a wall clock that may be wrong, and a monotonic one that only drifts.

True time is virtual time since `EPOCH`. A host's crystal runs at a rate of its own (drift), and its
wall clock is off by what it was set wrong by (skew and jumps) plus all that the drift has added up to.
Both are piecewise linear in true time and kept in whole nanoseconds.

Timers are not affected: `asyncio.sleep(1)` is one second of true time on every host. At the drifts
of real crystals (below 200 µs a second) the difference is far below the jitter of a network, and
timeouts that follow `clock.monotonic()` do see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import ClockSample, Note
from sim.world.loop import SECOND

if TYPE_CHECKING:
    from services.recorder import Recorder
    from sim.world.loop import VirtualTime

EPOCH = 946_684_800 * SECOND
"""True wall-clock time at the start of every run: 2000-01-01T00:00:00Z, in ns."""


class HostClock:
    """The clocks of one host; implements `services.host.Clock`.

    Args:
        env: true time.
        name: the host, for the trace.
        recorder: where `ClockSample`s go.

    Attributes:
        rate: how much too fast it runs now, in seconds a second.
        lie: seconds by which a time master on this host misstates the time, and is sure of it
            (set by the fault `lying-master`; a time service consults it).
        claims, violations: how often the host said what it believes, and how often that did not hold.
    """

    def __init__(self, env: VirtualTime, name: str, recorder: Recorder | None = None) -> None:
        self._env = env
        self._name = name
        self._recorder = recorder
        self._offset = 0  # of the wall clock, besides drift: skew and jumps
        self._drifted = 0  # what drift had added up to at `_since`
        self._since = 0
        self._touched = False
        self._outside = 0  # how far the claims of this stretch were off at most; 0 while they hold
        self.claims = 0
        self.violations = 0
        self.rate = 0.0
        self.lie = 0.0

    def time_ns(self) -> int:
        """Returns the wall clock in nanoseconds since the Unix epoch."""
        return EPOCH + self._env._now + self._drift() + self._offset

    def time(self) -> float:
        """Returns the wall clock in seconds since the Unix epoch."""
        return self.time_ns() / SECOND

    def monotonic_ns(self) -> int:
        """Returns nanoseconds since the start of the run, as this host's crystal counts them."""
        return self._env._now + self._drift()

    def monotonic(self) -> float:
        """Returns seconds since the start of the run, as this host's crystal counts them."""
        return self.monotonic_ns() / SECOND

    @property
    def offset_ns(self) -> int:
        """How far the wall clock is from true time."""
        return self._drift() + self._offset

    def shift(self, ns: int) -> None:
        """Sets the wall clock forward (back, when negative), at once."""
        self._touched = True
        self.sample()
        self._offset += ns
        self.sample()

    def drift(self, rate: float) -> None:
        """Runs fast by `rate` seconds a second from now on; what has added up so far stays.

        Raises:
            ValueError: the rate is -1 or less: a clock does not run backwards.
        """
        if not -1.0 < rate < 10.0:
            raise ValueError(f"clock drift of {rate} on {self._name}: must be above -1 and below 10")
        self._touched = True
        self.sample()
        self._drifted = self._drift()
        self._since = self._env._now
        self.rate = rate

    def claim(self, earliest_ns: int, latest_ns: int, *, traced: bool = False) -> None:
        """Checks what the host believes; see `services.host.Clock.claim`."""
        self.claims += 1
        now = EPOCH + self._env._now
        if not earliest_ns <= now <= latest_ns:
            self._violated(max(earliest_ns - now, now - latest_ns), earliest_ns, latest_ns)
        elif self._outside:
            self._note("truetime-contained", {"worst_ns": self._outside})
            self._outside = 0
        if traced:
            middle = (earliest_ns + latest_ns) // 2
            self.sample((latest_ns - earliest_ns) // 2, middle - now)

    def sample(self, bound: int = -1, middle: int = 0, *, always: bool = False) -> None:
        """Writes a `ClockSample`. The world does so at every change and at the end of the run.

        That is enough to draw the offsets exactly, since they are linear in between.

        Args:
            bound: the uncertainty in nanoseconds that the host claims, where it claims one.
            middle: of what it claims: how far that is from true time.
            always: also when this clock has always been right.
        """
        if self._recorder is not None and (self._touched or always or bound >= 0):
            self._recorder.write(ClockSample(self._env._now, self._name, self.offset_ns, bound, middle))

    def _violated(self, by: int, earliest: int, latest: int) -> None:
        self.violations += 1
        if not self._outside:
            side = "earliest" if earliest > EPOCH + self._env._now else "latest"
            self._note("truetime-violated", {"by_ns": by, "side": side, "width_ns": latest - earliest})
        self._outside = max(self._outside, by)

    def _note(self, name: str, fields: dict[str, Any]) -> None:
        if self._recorder is not None:
            self._recorder.write(Note(self._env._now, self._name, name, "", fields))

    def _drift(self) -> int:
        if not self.rate:
            return self._drifted
        return self._drifted + round((self._env._now - self._since) * self.rate)
