"""Making a failing schedule small: pure search, given a function that says whether a schedule still fails.

First whole actions go, by delta debugging (`ddmin`: Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", IEEE TSE 28(2), 2002): halves, then quarters, and so on, down to the point at
which no single action can go. Then each action that is left is made simpler, the boldest change
first, until nothing helps any more. Both only ever move from a failing schedule to a simpler failing
one, so the search can be stopped at any moment with the best that it has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

import msgspec

from sim import faults
from sim.faults import Action, AnyFault

T = TypeVar("T")

Fails: TypeAlias = Callable[[list[Action]], bool]

SHRINKABLE = msgspec.Meta(extra={"shrink": True})
"""Says that a parameter of a scenario may be made smaller: `Annotated[int, Meta(ge=1), SHRINKABLE]`."""

SIMPLE = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # seconds that are easy to read


def ddmin(items: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """Returns a part of `items`, in their order, that fails and would not with any one item less.

    Args:
        items: what fails as a whole.
        fails: says whether a part fails.
    """
    rest = list(items)
    if rest and fails([]):
        return []
    chunks = 2
    while len(rest) >= 2:
        bounds = [len(rest) * i // chunks for i in range(chunks + 1)]
        parts = [(low, high) for low, high in itertools.pairwise(bounds) if low < high]
        for low, high in parts:
            without = rest[:low] + rest[high:]
            if without and fails(without):
                rest = without
                chunks = max(chunks - 1, 2)
                break
        else:
            if chunks >= len(rest):
                break
            chunks = min(chunks * 2, len(rest))
    return rest


def simplify(schedule: Sequence[Action], fails: Fails) -> list[Action]:
    """Returns the schedule with each action made as simple as it can be while the whole still fails.

    The number of actions stays; their durations shrink, their times become round, their faults small.
    """
    best = list(schedule)
    changed = True
    while changed:
        changed = False
        for place in range(len(best)):
            for simpler in simpler_actions(best[place]):
                candidate = [*best[:place], simpler, *best[place + 1 :]]
                if fails(candidate):
                    best = candidate
                    changed = True
                    break
    return best


def simpler_actions(action: Action) -> Iterator[Action]:
    """Yields variants of an action that are strictly simpler, the boldest first."""
    if action.lasts is not None:
        for seconds in SIMPLE:
            if seconds < action.lasts:
                yield msgspec.structs.replace(action, lasts=seconds)
        yield from (msgspec.structs.replace(action, lasts=short) for short in rounder(action.lasts))
    for at in (*(early for early in SIMPLE if early < action.at), *rounder(action.at)):
        yield msgspec.structs.replace(action, at=at)
    yield from (msgspec.structs.replace(action, fault=fault) for fault in simpler_faults(action.fault))


def simpler_faults(fault: AnyFault) -> Iterator[AnyFault]:
    """Yields variants of a fault that strike less, or say the same in rounder numbers."""
    match fault:
        case faults.Partition(groups=groups):
            for i, group in enumerate(groups):
                for host in group if len(group) > 1 else ():
                    smaller = [other for other in group if other != host]
                    yield faults.Partition(groups=[*groups[:i], smaller, *groups[i + 1 :]])
            for i in range(len(groups) if len(groups) > 2 else 0):
                yield faults.Partition(groups=[*groups[:i], *groups[i + 1 :]])
        case faults.Delay(jitter=jitter) if jitter:
            yield msgspec.structs.replace(fault, jitter=0.0)
        case faults.Slow(disk=disk) if disk != 1:
            yield msgspec.structs.replace(fault, disk=1.0)
        case faults.LoseReply(count=count) if count > 1:
            yield msgspec.structs.replace(fault, count=1)
    for name in fault.__struct_fields__:
        value = getattr(fault, name)
        if isinstance(value, float):
            yield from (msgspec.structs.replace(fault, **{name: round_one}) for round_one in rounder(value))


def rounder(value: float) -> Iterator[float]:
    """Yields numbers near `value` of fewer significant digits, the fewest first, each once.

    Significant digits are what counts, not the length in print: 100 is rounder than 95.
    """
    last = value
    for digits in range(1, min(significant(value), 6)):
        candidate = float(f"{value:.{digits}g}")
        if candidate != last:
            yield candidate
        last = candidate


def significant(value: float) -> int:
    """Returns how many digits of a number say something: neither zeros at its ends nor its magnitude."""
    mantissa = repr(value).partition("e")[0]
    return len(mantissa.lstrip("-").replace(".", "").strip("0"))
