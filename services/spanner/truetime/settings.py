"""What time masters and timeslaves are told: whom to ask, how often, and what to take for granted."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Positive = Annotated[float, Meta(gt=0, le=1e6)]
Seconds = Annotated[float, Meta(ge=0, le=1e6)]
Rate = Annotated[float, Meta(ge=0, le=0.1)]

NS = 1_000_000_000  # in a second
PARTS = 1_000_000_000_000  # rates are whole numbers of parts in so many


class Master(Struct, frozen=True, forbid_unknown_fields=True):
    """A time master: the host on which it is, the zone in which that stands, and its kind."""

    name: str
    zone: str = ""
    kind: Literal["gps", "armageddon"] = "gps"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a timeslave.

    Attributes:
        poll_s: seconds from one poll of the masters to the next (the paper: 30).
        drift: the worst that this host's crystal may do, in seconds a second (the paper: 200 µs).
        communication_s: seconds by which what a master says is taken to be less certain than the measured
            round trip makes it.
        far: masters of other zones to ask; never so many that those of the own zone are outvoted.
        liars: how many of the masters asked may be wrong at once; None: any minority of them.
        timeout_s: seconds to wait for a master's answer.
        retry_s: seconds after a poll that gave no time; twice as long after each further one, up to `poll_s`.
        sound_polls: polls in a row in which a host that was evicted must have kept its drift bound.
    """

    poll_s: Positive = 30.0
    drift: Rate = 200e-6
    communication_s: Seconds = 0.0
    far: Annotated[int, Meta(ge=0)] = 2
    liars: Annotated[int, Meta(ge=0)] | None = None
    timeout_s: Positive = 1.0
    retry_s: Positive = 0.5
    sound_polls: Annotated[int, Meta(ge=1)] = 3


class MasterSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a time master.

    Attributes:
        uncertainty_s: seconds that a GPS receiver may be off; those of an atomic clock that was set by hand,
            where there is no other master to set it by.
        drift: the worst that an atomic clock may do, in seconds a second, conservatively.
        compare_s: seconds from one comparison with the other masters to the next.
        step_s: seconds by which a receiver's time may leave the host's own crystal before it counts as
            broken.
        crystal: the worst that this crystal may do, in seconds a second.
        timeout_s, retry_s: as of a timeslave.
        sound_comparisons: comparisons in a row in which an atomic clock that was evicted must have kept its
            bound before it is set again.
    """

    uncertainty_s: Seconds = 1e-7
    drift: Rate = 1e-7
    compare_s: Positive = 10.0
    step_s: Positive = 0.001
    crystal: Rate = 200e-6
    timeout_s: Positive = 1.0
    retry_s: Positive = 0.5
    sound_comparisons: Annotated[int, Meta(ge=1)] = 3


def masters_of(told: object) -> tuple[Master, ...]:
    """Returns masters from the parameters of a program: names, or mappings with `name`, `zone` and `kind`.

    Raises:
        ValueError: they are something else, or two have the same name.
    """
    try:
        found = msgspec.convert(told, list[Master | str])
    except msgspec.ValidationError as error:
        raise ValueError(f"time masters: {error}") from None
    masters = tuple(Master(one) if isinstance(one, str) else one for one in found)
    names = [one.name for one in masters]
    for name in dict.fromkeys(names):
        if not name or names.count(name) > 1:
            raise ValueError(f"time masters: {name!r} is named {names.count(name)} times")
    return masters


def chosen(masters: Sequence[Master], zone: str, far: int, host: str) -> tuple[Master, ...]:
    """Returns the masters that a host asks: all of its zone, and some of others.

    Those of other zones are fewer than those of its own, for a majority is to be near: ε is as good as the
    worst of the best majority. Where its zone has two or less, `far` of the others are asked all the same.
    Hosts start at different ones of these, by their names; those with GPS come first.
    """
    near = [one for one in masters if one.zone == zone]
    start = zlib.crc32(host.encode())
    others = [
        one
        for kind in ("gps", "armageddon")
        for one in _in_turn([one for one in masters if one.zone != zone and one.kind == kind], start)
    ]
    count = min(far, len(near) - 1) if len(near) > 2 else far
    return (*near, *others[:count])


def _in_turn(masters: Iterable[Master], start: int) -> list[Master]:
    """Returns masters so that zones take turns, beginning with one that `start` chooses."""
    zones: dict[str, list[Master]] = {}
    for one in masters:
        zones.setdefault(one.zone, []).append(one)
    names = list(zones)
    first = start % len(names) if names else 0
    queues = [
        zones[name][start % len(zones[name]) :] + zones[name][: start % len(zones[name])]
        for name in names[first:] + names[:first]
    ]
    longest = max(map(len, queues), default=0)
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


def growth(drift: float) -> int:
    """Returns by how much an interval must grow a second of the host's own crystal, in parts of `PARTS`.

    A crystal that is slow by `drift` counts 1 - drift seconds in a second: what it counts stands for up to
    1 / (1 - drift) seconds, a little more than 1 + drift.
    """
    return -int(-PARTS * drift / (1 - drift) // 1)


def slack(elapsed: int, parts: int) -> int:
    """Returns by how much an interval has grown after `elapsed` ns, at `growth` parts."""
    return elapsed * parts // PARTS + 1
