"""Swarm faults: a random schedule in which only some kinds of fault occur at all.

A tester that may do everything at every moment does a little of everything in every run, and the
kinds mask one another: with crashes everywhere no queue ever grows long. A swarm first tosses a
coin for each kind, so that one run has partitions only and the next one slow disks and skewed
clocks; over many seeds each kind gets runs to itself and each combination its turn. (Groce et al.,
"Swarm Testing", ISSTA 2012; FoundationDB tests this way, Zhou et al., SIGMOD 2021, section 4.)

A swarm is data, a list of `Action`. It depends on its arguments and nothing else, and it ends with
everything healed, so that a scenario can demand progress afterwards:

    await world.play(swarm(world.rng, world.hosts(), seconds=10))
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from sim import faults
from sim.faults import KINDS, Action, AnyFault

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Sequence

ON_REQUEST = ("corrupt", "lying-master")
"""Kinds that a swarm uses only when they are named: most systems do not claim to survive them."""

DEFAULT = tuple(kind for kind in KINDS if kind not in ON_REQUEST)
"""Kinds that a swarm chooses from when none are named."""

DOWN = ("crash", "pause")  # a host under one of these does nothing at all
PAIRED = ("torn-write",)  # means something only together with the next crash
MARGIN = 0.05  # seconds around a crash or pause in which a host may be taken to be down
RATE = 1.0  # faults begun a second at intensity 1, before a run's own factor


def swarm(
    rng: random.Random,
    hosts: Sequence[str],
    *,
    seconds: float,
    kinds: Collection[str] | None = None,
    without: Collection[str] = (),
    clients: Sequence[str] = (),
    intensity: float = 1.0,
    max_down: int | None = None,
) -> list[Action]:
    """Returns a random schedule of faults, in the order of time.

    Args:
        rng: decides everything; usually `world.rng`.
        hosts: those that faults may strike.
        seconds: when all is healed again, counted from the start of the schedule.
        kinds: the kinds to choose from, by name; `DEFAULT` when None.
        without: kinds to leave out.
        clients: hosts that may be cut off or delayed like the others, but nothing else.
        intensity: how many faults; at 1 a run has about one a second at most. Each run draws a factor
            of its own, so that there are calm runs too.
        max_down: how many hosts may be crashed or paused at the same time; None for all.

    Raises:
        ValueError: no hosts, no time, or a kind that does not exist.
    """
    if not hosts:
        raise ValueError("a swarm of faults needs hosts to strike")
    if seconds <= 0 or intensity <= 0:
        raise ValueError("a swarm of faults needs `seconds` and `intensity` above zero")
    allowed = _allowed(DEFAULT if kinds is None else kinds, without)
    enabled = [kind for kind in allowed if rng.random() < 0.5] or [rng.choice(allowed)]
    expected = seconds * RATE * intensity * rng.uniform(0.2, 1.0)
    longest = seconds * rng.uniform(0.1, 0.5)
    plan = _Plan(max_down if max_down is not None else len(hosts))
    for _ in range(max(1, round(expected))):
        kind = rng.choice(enabled)
        begin = round(rng.uniform(0, seconds * 0.9), 4)
        end = min(begin + _log_uniform(rng, min(0.05, longest), longest), seconds * 0.98)
        plan.add(begin, math.floor(end * 10_000) / 10_000, _draw(kind, rng, hosts, clients))
    return plan.schedule()


def _allowed(kinds: Collection[str], without: Collection[str]) -> list[str]:
    for kind in (*kinds, *without):
        if kind not in KINDS:
            raise ValueError(f"there is no kind of fault {kind!r}; there are: {', '.join(KINDS)}")
    # In the order of the vocabulary, so that a set gives the same swarm as a list.
    allowed = [kind for kind in KINDS if kind in kinds and kind not in without]
    if not allowed:
        raise ValueError("a swarm of faults needs at least one kind that is not left out")
    return allowed


class _Span(Struct, frozen=True):
    begin: float
    end: float
    what: str  # what it keeps busy: two faults of a kind on one target would lift each other


class _Plan:
    """A schedule being filled: takes a fault where it fits, drops it where it does not."""

    def __init__(self, max_down: int) -> None:
        self._max_down = max_down
        self._busy: list[_Span] = []
        self._down: list[_Span] = []
        self._actions: list[Action] = []

    def add(self, begin: float, end: float, fault: AnyFault) -> None:
        kind = _kind(fault)
        if isinstance(fault, faults.TornWrite):
            # The write that is in flight at the crash is torn, so the crash comes with it.
            if self._take(begin, end, faults.Crash(host=fault.host)):
                self._actions.insert(-1, Action(begin, fault))
        elif type(fault).lasting:
            self._take(begin, end, fault)
        else:
            assert kind not in DOWN
            self._actions.append(Action(begin, fault))

    def _take(self, begin: float, end: float, fault: AnyFault) -> bool:
        if end <= begin:
            return False
        kind = _kind(fault)
        target = "" if isinstance(fault, faults.Partition) else "/".join(fault.hosts())
        span = _Span(begin, end, f"down {target}" if kind in DOWN else f"{kind} {target}")
        if any(other.what == span.what for other in _during(self._busy, span)):
            return False
        if kind in DOWN:
            if len(_during(self._down, span)) >= self._max_down:
                return False
            self._down.append(span)
        self._busy.append(span)
        self._actions.append(Action(begin, fault, lasts=round(end - begin, 4)))
        return True

    def schedule(self) -> list[Action]:
        kept = [action for action in self._actions if not self._is_moot(action)]
        return sorted(kept, key=lambda action: action.at)

    def _is_moot(self, action: Action) -> bool:
        """Who is down replies to nothing, and has no reply to lose."""
        if not isinstance(action.fault, faults.LoseReply):
            return False
        around = _Span(action.at - MARGIN, action.at + MARGIN, f"down {action.fault.host}")
        return any(span.what == around.what for span in _during(self._down, around))


def _during(spans: list[_Span], span: _Span) -> list[_Span]:
    return [other for other in spans if other.begin <= span.end and span.begin <= other.end]


def _kind(fault: AnyFault) -> str:
    return str(fault.__struct_config__.tag)


def _draw(kind: str, rng: random.Random, hosts: Sequence[str], clients: Sequence[str]) -> AnyFault:
    """Returns a fault of that kind with random targets and strength."""
    everybody = [*hosts, *clients]
    if kind in ("partition", "cut") and len(everybody) < 2:
        return faults.Isolate(host=everybody[0])
    if kind == "partition":
        return faults.Partition(groups=_two_groups(rng, everybody))
    if kind == "cut":
        source, target = rng.sample(everybody, 2)
        return faults.Cut(source=source, target=target, both=rng.random() < 0.5)
    if kind in ("delay", "loss"):
        source, target = rng.choice(["", *everybody]), rng.choice(["", *hosts])
        return _link_fault(kind, rng, source, "" if source == target else target)
    return _ON_HOST[kind](rng, rng.choice(everybody if kind == "isolate" else hosts))


def _two_groups(rng: random.Random, everybody: Sequence[str]) -> list[list[str]]:
    shuffled = rng.sample(everybody, len(everybody))
    split = rng.randint(1, len(shuffled) - 1)
    return [sorted(shuffled[:split]), sorted(shuffled[split:])]


def _link_fault(kind: str, rng: random.Random, source: str, target: str) -> AnyFault:
    if kind == "loss":
        return faults.Loss(source=source, target=target, rate=_log_uniform(rng, 0.01, 0.5))
    seconds = _log_uniform(rng, 0.001, 1.0)
    return faults.Delay(source=source, target=target, seconds=seconds, jitter=_short(seconds * rng.random()))


_ON_HOST: dict[str, Callable[[random.Random, str], AnyFault]] = {
    "crash": lambda rng, host: faults.Crash(host=host),
    "pause": lambda rng, host: faults.Pause(host=host),
    "slow": lambda rng, host: faults.Slow(
        host=host, cpu=_log_uniform(rng, 1.5, 30.0), disk=_log_uniform(rng, 1.0, 10.0)
    ),
    "isolate": lambda rng, host: faults.Isolate(host=host),
    "lose-reply": lambda rng, host: faults.LoseReply(host=host, count=rng.randint(1, 3)),
    "disk-full": lambda rng, host: faults.DiskFull(host=host),
    "sync-fails": lambda rng, host: faults.SyncFails(host=host),
    "slow-disk": lambda rng, host: faults.SlowDisk(host=host, factor=_log_uniform(rng, 2.0, 100.0)),
    "corrupt": lambda rng, host: faults.Corrupt(host=host),
    "torn-write": lambda rng, host: faults.TornWrite(host=host),
    "clock-skew": lambda rng, host: faults.ClockSkew(host=host, seconds=_either_way(rng, 0.001, 60.0)),
    "clock-drift": lambda rng, host: faults.ClockDrift(host=host, rate=_either_way(rng, 1e-5, 0.05)),
    "clock-jump": lambda rng, host: faults.ClockJump(host=host, seconds=_either_way(rng, 0.001, 60.0)),
    "lying-master": lambda rng, host: faults.LyingMaster(host=host, seconds=_either_way(rng, 0.001, 60.0)),
}


def _log_uniform(rng: random.Random, least: float, most: float) -> float:
    """Draws so that each order of magnitude is equally likely, to three significant digits."""
    return _short(math.exp(rng.uniform(math.log(least), math.log(most))))


def _either_way(rng: random.Random, least: float, most: float) -> float:
    return _log_uniform(rng, least, most) * rng.choice((1, -1))


def _short(value: float) -> float:
    return float(f"{value:.3g}")
