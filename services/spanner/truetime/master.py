"""The time master program: a GPS receiver or an atomic clock, that tells the time and how sure it is of it.

- **gps**: the host's wall clock is the receiver. It is right within next to nothing.
- **armageddon**: an atomic clock, which needs no antenna. It is set by the other masters, runs on with the
  host's crystal (in the simulated world that of a host without a fault is perfect), and advertises an
  uncertainty that grows slowly until it is set again.

Masters compare themselves with each other, and a receiver with its host's own crystal; one that diverges
evicts
itself: it says so, and nobody counts it. A receiver is back as soon as it agrees with the others, an
atomic clock when it is set again, after some comparisons in which it kept its rate. The fault `lying-master`
is one
that a master does not notice: it misstates the time and is sure of it. That is what timeslaves ask several
    for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.host import DEFAULT_PORT
from services.spanner.truetime.frequency import Frequency
from services.spanner.truetime.marzullo import agree
from services.spanner.truetime.polling import Masters
from services.spanner.truetime.settings import NS, MasterSettings, growth, masters_of, slack

if TYPE_CHECKING:
    from services.host import Context, Host
    from services.spanner.truetime.marzullo import Agreement

UNSET = "it has not been set yet"


class TimeSource(Protocol):
    """Where a master has its time from."""

    def bounds(self) -> tuple[int, int] | None:
        """Returns between which moments (ns) it believes absolute time to be; None where it cannot tell."""
        ...

    def broken(self) -> str:
        """Says what is wrong with it, as far as it can tell alone; "" where nothing is."""
        ...

    def compared(self, at: int, found: Agreement, agreed: bool) -> bool:
        """Takes what a comparison gave; returns whether the source is fit.

        Args:
            at: ns of the host's monotonic clock.
            found: absolute time then, as the masters agree on it.
            agreed: whether this source is among those that agree.
        """
        ...


class Receiver:
    """A GPS receiver: the host's wall clock, watched by its crystal."""

    def __init__(self, host: Host, settings: MasterSettings) -> None:
        self._clock = host.clock
        self._settings = settings
        self._uncertainty = round(settings.uncertainty_s * NS)
        self._ahead: int | None = None  # of the receiver, before the crystal
        self._at = 0

    def bounds(self) -> tuple[int, int]:
        """Returns the wall clock's time, and its uncertainty to either side."""
        time = self._clock.time_ns()
        return time - self._uncertainty, time + self._uncertainty

    def broken(self) -> str:
        """Says whether it left its crystal since it was last asked."""
        at, time = self._clock.monotonic_ns(), self._clock.time_ns()
        ahead, elapsed = time - at, at - self._at
        step = 0 if self._ahead is None else ahead - self._ahead
        self._ahead, self._at = ahead, at
        allowed = round(self._settings.step_s * NS + elapsed * self._settings.crystal)
        return f"it jumped by {step / 1e6:+,.3f} ms against its crystal" if abs(step) > allowed else ""

    def compared(self, at: int, found: Agreement, agreed: bool) -> bool:
        """A receiver is as fit as what it shows."""
        return agreed


class AtomicClock:
    """An atomic clock: set by others, or by hand where there are none, and then on its own."""

    def __init__(self, host: Host, settings: MasterSettings, *, alone: bool) -> None:
        self._clock = host.clock
        self._growth = growth(settings.drift)
        self._sound = settings.sound_comparisons
        self._kept = 0  # comparisons in a row in which it kept its rate, since it was found wrong
        self._frequency = Frequency(self._growth)
        self._set: tuple[int, int, int] | None = None  # at the crystal's count, low, high
        if alone:
            time, open_ = self._clock.time_ns(), round(settings.uncertainty_s * NS)
            self._set = self._clock.monotonic_ns(), time - open_, time + open_

    def bounds(self) -> tuple[int, int] | None:
        """Returns what it was set to, and what may have become of that since."""
        return self._at(self._clock.monotonic_ns())

    def broken(self) -> str:
        """Says whether it still has to be set."""
        return "" if self._set is not None else UNSET

    def compared(self, at: int, found: Agreement, agreed: bool) -> bool:
        """Sets it: the first time, when the others know more than it does, and after it was wrong."""
        drift = self._frequency.see(at, found.low, found.high)
        own = self._at(at)
        if own is None or (agreed and not drift and found.high - found.low < own[1] - own[0]):
            self._set = at, found.low, found.high
            self._kept = self._sound
            return True
        self._kept = 0 if drift else min(self._kept + 1, self._sound)
        if agreed:
            return not drift
        if self._kept < self._sound:
            return False
        self._set = at, found.low, found.high
        return True

    def _at(self, at: int) -> tuple[int, int] | None:
        if self._set is None:
            return None
        then, low, high = self._set
        elapsed = at - then
        open_ = slack(elapsed, self._growth)
        return low + elapsed - open_, high + elapsed + open_


class TimeMaster(rpc.TimeMasterServicer):
    """A time master.

    Args:
        host: on which it is.
        kind: "gps" or "armageddon".
        others: the names of the other masters' hosts.
        settings: see there.

    Attributes:
        evicted: why it counts itself out; "" when it is fit.
    """

    def __init__(
        self, host: Host, kind: Literal["gps", "armageddon"], others: list[str], settings: MasterSettings
    ) -> None:
        self.kind = kind
        self.evicted = ""
        self._host = host
        self._settings = settings
        self._source: TimeSource = (
            Receiver(host, settings) if kind == "gps" else AtomicClock(host, settings, alone=not others)
        )
        self._growth = growth(settings.crystal)
        self._others = Masters(host, others, self._growth, settings.timeout_s)
        self._liars = len(others) // 2  # any minority of all masters
        self._look()

    async def Now(self, request: pb.Poll, context: Context) -> pb.MasterTime:
        """Tells the time."""
        self._look()
        low, high = self._source.bounds() or (0, 0)
        lie = round(self._host.clock.lie * NS)
        return pb.MasterTime(
            time=max(0, (low + high) // 2 + lie),
            uncertainty=(high - low + 1) // 2,
            kind=self.kind,
            evicted=bool(self.evicted),
        )

    async def run(self) -> None:
        """Compares itself with the others, for ever."""
        while True:
            await self.compare()
            unset = self.evicted == UNSET
            await asyncio.sleep(self._settings.retry_s if unset else self._settings.compare_s)

    async def compare(self) -> None:
        """Asks the others once, and draws the conclusions."""
        heard = await self._others.poll()
        broken = self._look()
        at = self._host.clock.monotonic_ns()
        intervals = [one.later(at, self._growth) for one in heard]
        own = self._source.bounds()
        place = len(intervals)
        if own is not None:
            intervals.append(own)
        liars = self._liars
        if own is None:  # whom else should it believe?
            liars = min(liars, len(intervals) - 1)
        found = agree(intervals, liars) if heard else None
        if found is not None:
            agreed = own is not None and place not in found.liars
            fit = self._source.compared(at, found, agreed)
            self._say("" if fit else self._apart(intervals[place], found))
        elif not self._others.names and not broken:
            self._say("")  # it is steady again, and there is nobody to compare it with

    def _look(self) -> bool:
        """Evicts the master if its source is broken as far as it can tell itself; says whether it is."""
        broken = self._source.broken()
        if broken:
            self._say(broken)
        return bool(broken)

    def _apart(self, own: tuple[int, int], found: Agreement) -> str:
        off = own[0] - found.high if own[0] > found.high else own[1] - found.low
        return f"it is {off / 1e6:+,.3f} ms apart from the others, or more"

    def _say(self, evicted: str) -> None:
        if bool(evicted) != bool(self.evicted):
            name = "time-master-evicted" if evicted else "time-master-restored"
            self._host.trace(name, **{"why": evicted} if evicted else {})
        self.evicted = evicted


async def serve(
    host: Host,
    kind: Literal["gps", "armageddon"] = "gps",
    masters: list[Any] | None = None,
    port: int = DEFAULT_PORT,
    settings: dict[str, Any] | None = None,
) -> None:
    """Runs a time master until its host is stopped.

    Args:
        host: on which it runs.
        kind: of the master.
        masters: all masters, as `settings.masters_of` takes them; itself among them or not.
        port: to serve on.
        settings: of `MasterSettings`, by name.

    Raises:
        ValueError: a parameter makes no sense.
    """
    if kind not in ("gps", "armageddon"):
        raise ValueError(f'a time master is "gps" or "armageddon", not {kind!r}')
    try:
        taken = msgspec.convert(settings or {}, MasterSettings)
    except msgspec.ValidationError as error:
        raise ValueError(f"time master {host.name}: {error}") from None
    others = [one.name for one in masters_of(masters or []) if one.name != host.name]
    master = TimeMaster(host, kind, others, taken)
    server = host.serve(port)
    rpc.add_TimeMasterServicer_to_server(master, server)
    await server.start()
    await master.run()
