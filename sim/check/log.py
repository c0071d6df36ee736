"""An append-only log: what its clients may count on, checked over their history.

An operation `append` is invoked with a record and returns `[record, position]`; a `read` returns all
records in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protos.history import Operation


class NothingLost:
    """A record is in every log read after its append was acknowledged, at the position that was named."""

    name = "nothing lost"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        acknowledged: list[tuple[str, int]] = []
        before: dict[Any, int] = {}  # by reader: how many had been acknowledged when it asked
        reads = 0
        for event in history:
            if event.f == "append" and event.type == "ok":
                acknowledged.append(tuple(event.value))
            elif event.f == "read" and event.type == "invoke":
                before[event.process] = len(acknowledged)
            elif event.f == "read" and event.type == "ok":
                reads += 1
                for record, position in acknowledged[: before[event.process]]:
                    if position >= len(event.value) or event.value[position] != record:
                        at = f"at {event.time / 1e9:.3f} s"
                        found = event.value[position] if position < len(event.value) else "nothing"
                        return False, (
                            f"{record} was acknowledged at position {position}, "
                            f"but {event.process} found {found} there {at}"
                        )
        return True, f"{len(acknowledged)} acknowledged records, looked for in {reads} reads"


class InOrder:
    """Who was acknowledged before another asked comes first; and reads continue one another."""

    name = "in order"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        last = -1  # the greatest position acknowledged so far
        least: dict[Any, int] = {}  # by client: what its position must exceed
        for event in history:
            if event.f == "append" and event.type == "invoke":
                least[event.process] = last
            elif event.f == "append" and event.type == "ok":
                record, position = event.value
                if position <= least[event.process]:
                    return False, f"{record} is at {position}, not after {least[event.process]} before it"
                last = max(last, position)
        longest: list[str] = []
        for read in _reads(history):
            shorter, longer = sorted((longest, read), key=len)
            if longer[: len(shorter)] != shorter:
                return (
                    False,
                    f"two reads disagree: ...{shorter[-3:]} is not how {longer[: len(shorter)][-3:]} begins",
                )
            longest = longer
        return True, f"one order of {len(longest)} records"


class OnceOnly:
    """A record is in the log once, however often it was asked for; and none that nobody asked for."""

    name = "once only"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        wanted = {event.value for event in history if event.f == "append" and event.type == "invoke"}
        most = 0
        for read in _reads(history):
            seen = set()
            for record in read:
                if record in seen:
                    return False, f"{record} is in the log twice"
                if record not in wanted:
                    return False, f"{record} is in the log, but nobody appended it"
                seen.add(record)
            most = max(most, len(read))
        return True, f"{most} records, none twice"


def _reads(history: Sequence[Operation]) -> Iterator[list[str]]:
    return (event.value for event in history if event.f == "read" and event.type == "ok")
