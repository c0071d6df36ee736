"""When a register certainly has no order, without a search (after Gibbons and Korach).

Where only one operation can have written a value, the register holds it in one stretch: at least from when
the first operation that saw or wrote it was over until the last one that saw it began. If the former is
before the latter, nothing else may fall between, nor may another value have such a stretch at that time. And
a value must have been written before it is read, by an operation that was not overwritten by others which
were over before the read began.

For reads and writes of values that are all different this is exact. For others it is only one way to be
sure; it is what decides histories in which a search would try too much.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.check.models.model import Action
    from sim.check.operations import Call

NEVER = 1 << 62


class Event(Struct):
    """An operation as far as it matters here: what it saw, what it left, when."""

    sees: tuple[Hashable, ...]  # the value, or nothing
    leaves: tuple[Hashable, ...]
    called: int
    returned: int


def refuted(calls: Sequence[Call], actions: Sequence[Action]) -> Call | None:
    """Returns the operation up to whose end it is certain that there is no order; None if nothing is certain.

    Args:
        calls: of one register that holds null at first, in the order of their invocations.
        actions: ("read", value), ("write", value), ("cas", old, new), ("differs", old).
    """
    if not _contradicts(calls, actions, NEVER):
        return None
    ends = sorted((call for call in calls if not call.pending), key=lambda call: call.returned)
    first = bisect_left(ends, True, key=lambda call: _contradicts(calls, actions, call.returned))
    return ends[first]


def ranks(calls: Sequence[Call], actions: Sequence[Action], until: int) -> dict[int, int] | None:
    """Returns the order of the values' stretches, by the line that invokes each operation.

    None where a value has several writers, or something but reads and writes happens: then it takes a search.
    """
    writers: dict[Hashable, None] = {None: None}
    for action in actions:
        if action[0] not in ("read", "write") or (action[0] == "write" and action[1] in writers):
            return None
        if action[0] == "write":
            writers[action[1]] = None
    first: dict[Hashable, int] = {None: 0}
    last: dict[Hashable, int] = {None: 0}
    for call, (f, value) in zip(calls, actions, strict=True):
        if call.called <= until:
            over = not call.pending and call.returned <= until
            if over or f == "write":
                last[value] = max(last.get(value, -1), call.called)
            first[value] = min(first.get(value, NEVER), call.returned if over else NEVER)
    zones = sorted((first[value], end) for value, end in last.items() if first[value] < end)
    begins = [begin for begin, _ in zones]
    place: dict[Hashable, int] = {}
    for value, end in last.items():
        if first[value] < end:
            place[value] = first[value]
            continue
        within = (
            bisect_left(begins, end) - 1
        )  # the stretch that the last invocation falls into: wait for its end
        place[value] = max(end, zones[within][1]) if within >= 0 else end
    return {call.called: place.get(value, NEVER) for call, (_, value) in zip(calls, actions, strict=True)}


def _contradicts(calls: Sequence[Call], actions: Sequence[Action], until: int) -> bool:
    """Says whether it is certain of the history up to a line that it has no order."""
    events = _events(calls, actions, until)
    writers: dict[Hashable, list[Event]] = {None: [Event((), (None,), 0, 0)]}
    for event in events:
        for value in event.leaves:
            writers.setdefault(value, []).append(event)
    over = sorted(
        (event.returned, event.called) for event in events if event.leaves and event.returned < NEVER
    )
    latest: list[int] = []  # by position in `over`: the latest invocation of a write among those before
    for _, called in over:
        latest.append(max(called, latest[-1] if latest else 0))
    for event in events:
        for value in event.sees:
            before = bisect_left(over, (event.called, 0))
            overwritten = latest[before - 1] if before else -1
            if not any(
                writer.called < event.returned and writer.returned >= overwritten
                for writer in writers.get(value, ())
                if writer is not event
            ):
                return True
    return _zones_clash(events, writers)


def _events(calls: Sequence[Call], actions: Sequence[Action], until: int) -> list[Event]:
    found = []
    for call, action in zip(calls, actions, strict=True):
        if call.called >= until:
            break
        returned = NEVER if call.pending or call.returned > until else call.returned
        f, *values = action
        if f == "differs" or (f == "read" and returned == NEVER):
            continue
        sees = () if f == "write" else tuple(values[:1])
        if f == "cas" and returned == NEVER:
            sees = ()  # if it happened, it saw that; but nobody says that it did
        found.append(Event(sees, () if f == "read" else tuple(values[-1:]), call.called, returned))
    return found


def _zones_clash(events: Sequence[Event], writers: dict[Any, list[Event]]) -> bool:
    """Says whether a value must be held while another is."""
    first: dict[Hashable, int] = {}  # by value with one writer: when the first operation of it was over
    last: dict[Hashable, int] = {}  # when the last operation of it began
    alone = {value for value, those in writers.items() if len(those) == 1}
    if None in alone:
        first[None], last[None] = 0, 0
    for event in events:
        for value in (*event.leaves, *event.sees):
            if value in alone:
                first[value] = min(first.get(value, NEVER), event.returned)
                last[value] = max(last.get(value, -1), event.called)
    zones = sorted(
        (first[value], last[value], number)
        for number, value in enumerate(first)
        if first[value] < last[value]
    )
    for (_, end, _), (begin, _, _) in itertools.pairwise(zones):
        if begin < end:
            return True
    if not zones:
        return False
    begins = [begin for begin, _, _ in zones]
    values = list(first)
    within = [(last[value], first[value], value) for value in first if first[value] >= last[value]]
    for event in events:  # each by itself as well: of values with several writers that is all one knows
        within += [(event.called, event.returned, value) for value in (*event.sees, *event.leaves)]
    for begin, end, value in within:
        at = bisect_right(begins, begin) - 1  # the only zone that may have begun before
        if at >= 0 and zones[at][0] < begin and end < zones[at][1] and values[zones[at][2]] != value:
            return True
    return False
