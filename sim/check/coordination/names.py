"""Names of sequential znodes: the counter of a parent only grows, also when znodes are deleted (2.C 9)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sim.check.coordination.record import Record, lines_of, name_of, parent_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from sim.check.coordination.record import Change

DIGITS = 10


class SequentialNames:
    """The numbers of a parent's sequential znodes grow in the order of creation, and none is used twice."""

    name = "sequential names"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        named: dict[str, list[Change]] = {}
        for change in record.changes:
            if change.f == "create" and change.asked.get("sequential") and change.happened:
                number = name_of(change.path)[-DIGITS:]
                asked = change.asked.get("key") or change.call.key
                if not number.isdigit() or change.path[:-DIGITS] != asked:
                    return False, (
                        f"{change.path} ({lines_of(change.call)}) is not {asked} followed by {DIGITS} digits"
                    )
                named.setdefault(parent_of(change.path), []).append(change)
        for parent, changes in named.items():
            wrong = _twice(changes) or _by_zxid(changes) or _by_time(changes)
            if wrong:
                return False, f"below {parent}: {wrong}"
        count = sum(map(len, named.values()))
        return True, f"{count:,} names below {len(named):,} znodes"


def _number(change: Change) -> int:
    return int(change.path[-DIGITS:])


def _twice(changes: Sequence[Change]) -> str:
    seen: dict[int, Change] = {}
    for change in changes:
        other = seen.setdefault(_number(change), change)
        if other is not change:
            return (
                f"{_number(change)} was given twice: {other.path} ({lines_of(other.call)}) and "
                f"{change.path} ({lines_of(change.call)})"
            )
    return ""


def _by_zxid(changes: Sequence[Change]) -> str:
    known = sorted((one for one in changes if one.zxid), key=lambda one: (one.zxid, one.position))
    for one, other in itertools.pairwise(known):
        if _number(one) >= _number(other):
            return f"{other.path} was created after {one.path}"
    return ""


def _by_time(changes: Sequence[Change]) -> str:
    """Looks at those that were over before another began: what holds also where nobody tells zxids."""
    ended = sorted(changes, key=lambda one: one.call.returned)
    highest: Change | None = None
    coming = iter(ended)
    next_ = next(coming, None)
    for change in sorted(changes, key=lambda one: one.call.called):
        while next_ is not None and next_.call.returned < change.call.called:
            if highest is None or _number(next_) > _number(highest):
                highest = next_
            next_ = next(coming, None)
        if highest is not None and _number(change) < _number(highest):
            return (
                f"{change.path} ({lines_of(change.call)}) was asked for when {highest.path} "
                f"({lines_of(highest.call)}) was there"
            )
    return ""
