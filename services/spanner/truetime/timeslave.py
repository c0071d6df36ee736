"""The timeslave daemon of a host: it asks the time masters, and in between counts on the host's crystal.

After a poll, absolute time lies in what the masters agree on (`marzullo.py`). From then on the interval moves
on with the host's monotonic clock and grows by the drift that is taken for the worst: the paper's sawtooth,
from about 1 ms after a poll to 7 ms before the next. The wall clock is not asked: it may be set.

- Masters that do not answer cost certainty, not service: the interval goes on growing.
- A poll that says less than the interval of before, grown, is counted as heard, and the interval kept.
- `earliest` never goes back, so that what has certainly passed has passed for good.
- A crystal that shows a worse drift than is taken for granted (`frequency.py`) evicts its host: from then on
  it does not know the time. It knows it again after `sound_polls` polls in a row that fit each other.
- A host that was started anew does not know the time before its first poll.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.spanner.truetime.frequency import Frequency
from services.spanner.truetime.interval import Interval, Unsynchronized
from services.spanner.truetime.marzullo import agree
from services.spanner.truetime.polling import Masters
from services.spanner.truetime.settings import NS, PARTS, Settings, chosen, growth, slack
from services.spanner.truetime.waiting import FromNow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.host import Host
    from services.spanner.truetime.marzullo import Agreement
    from services.spanner.truetime.polling import Heard
    from services.spanner.truetime.settings import Master

SYNCHRONIZING = "it has heard no majority of its time masters yet"


class Timeslave(FromNow):
    """A host's TrueTime; implements `TrueTime`.

    Args:
        host: on which it runs.
        masters: all there are; which of them are asked is `settings.chosen`.
        settings: see there.
        zone: of this host.

    Attributes:
        settings: as given.
        unsynchronized: why this host does not know the time; "" when it does.
        calls: how often `now` has answered.

    Raises:
        ValueError: there are no masters, or not more than may lie.
    """

    def __init__(
        self, host: Host, masters: Sequence[Master], settings: Settings | None = None, *, zone: str = ""
    ) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.unsynchronized = SYNCHRONIZING
        self.calls = 0
        self._host = host
        self._clock = host.clock
        self._growth = growth(self.settings.drift)
        asked = [one.name for one in chosen(masters, zone, self.settings.far, host.name)]
        if not asked:
            raise ValueError(f"{host.name}: no time masters to ask")
        self._liars = (len(asked) - 1) // 2 if self.settings.liars is None else self.settings.liars
        if self._liars >= len(asked):
            raise ValueError(
                f"{host.name}: {self._liars} of {len(asked)} time masters may lie: must be fewer"
            )
        self._masters = Masters(host, asked, self._growth, self.settings.timeout_s)
        self._frequency = Frequency(self._growth)
        self._sound = 0
        self._at = self._low = self._high = 0  # when the crystal said `at`, absolute time lay in [low, high]
        self._earliest = 0  # the last that was said

    def now(self) -> Interval:
        """Returns an interval that contains absolute time.

        Raises:
            Unsynchronized: it says why.
        """
        if self.unsynchronized:
            raise Unsynchronized(f"{self._host.name} does not know the time: {self.unsynchronized}")
        elapsed = self._clock.monotonic_ns() - self._at
        open_ = elapsed * self._growth // PARTS + 1
        earliest = self._low + elapsed - open_
        if earliest < self._earliest:
            earliest = self._earliest
        self._earliest = earliest
        latest = self._high + elapsed + open_
        self._clock.claim(earliest, latest)
        self.calls += 1
        now = self.last = Interval(earliest, latest)
        return now

    async def run(self) -> None:
        """Polls the masters, for ever."""
        settings = self.settings
        retry = settings.retry_s
        # Hosts that start together are not to ask together for ever.
        phase = self._host.rng.random()
        while True:
            if await self.poll():
                await asyncio.sleep(settings.poll_s * (1 - phase / 2))
                retry, phase = settings.retry_s, 0.0
            else:
                await asyncio.sleep(min(retry, settings.poll_s))
                retry *= 2

    async def poll(self) -> bool:
        """Asks the masters once; returns whether they said what time it is."""
        heard = await self._masters.poll()
        at = self._clock.monotonic_ns()
        found = agree([one.later(at, self._growth) for one in heard], self._liars)
        before = self._traced()
        if found is None:
            self._note(heard, None, before)
            return False
        extra = round(self.settings.communication_s * NS)
        low, high = found.low - extra, found.high + extra
        drift = self._frequency.see(at, low, high)
        if self.unsynchronized:
            self._resume(at, low, high, drift)
        elif drift:
            way = "fast" if drift > 0 else "slow"
            self._evict(f"its crystal runs {way} by {abs(drift) * 1e6:,.0f} µs a second or more", drift)
        elif high < self._earliest:
            self._evict("its masters say that what it took for passed has not", drift)
        else:
            self._take(at, low, high)
        self._note(heard, found, before)
        return True

    def _take(self, at: int, low: int, high: int) -> None:
        """Takes what a poll gave, unless what was known is still better."""
        elapsed = at - self._at
        if high - low <= self._high - self._low + 2 * slack(elapsed, self._growth):
            self._at, self._low, self._high = at, low, high

    def _evict(self, why: str, drift: float) -> None:
        self.unsynchronized = why
        self.last = None
        self._sound = 0
        self._host.trace("truetime-evicted", why=why, drift=drift)

    def _resume(self, at: int, low: int, high: int, drift: float) -> None:
        """Learns the time at the first poll, or after an eviction when enough polls were sound."""
        if self.unsynchronized != SYNCHRONIZING:
            self._sound = 0 if drift else self._sound + 1
            if self._sound < self.settings.sound_polls:
                return
            self._host.trace("truetime-restored", polls=self._sound)
        self.unsynchronized = ""
        self._at, self._low, self._high = at, low, high
        self._earliest = 0  # what an evicted host said may have been too late

    def _traced(self) -> int:
        """Puts what is known now into the trace, and returns its ε (ns); -1 for nothing."""
        if self.unsynchronized:
            return -1
        now = self.now()
        self._clock.claim(*now, traced=True)
        return now.epsilon

    def _note(self, heard: list[Heard], found: Agreement | None, before: int) -> None:
        names = [one.name for one in heard]
        liars = [names[place] for place in found.liars] if found is not None else []
        silent = [name for name in self._masters.names if name not in names]
        self._host.trace(
            "truetime-poll",
            heard=names,
            liars=liars,
            silent=silent,
            agreed=found is not None,
            before_ns=before,
            epsilon_ns=self._traced() if found is not None else before,
            growth_ppb=self._growth // 1000,
            calls=self.calls,
        )
