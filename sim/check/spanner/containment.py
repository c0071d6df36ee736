"""TrueTime containment: whenever a host said when it is, absolute time lay in what it said (3.C 1).

The world looks at every call (`services.host.Clock.claim`), and writes the first of a row that do not hold to
the trace, as it does the polls of each host's timeslave, which say how many calls there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.trace import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent

VIOLATED, CONTAINED, POLL = "truetime-violated", "truetime-contained", "truetime-poll"


class Containment:
    """Every interval that TrueTime gave contained absolute time.

    Args:
        least_polls: successful polls of time masters without which nothing was shown; 0 where hosts
            have their time from elsewhere.
    """

    name = "TrueTime containment"

    def __init__(self, least_polls: int = 1) -> None:
        self._least = least_polls

    def begin(self) -> Watcher:
        """A run begins."""
        return Watcher(self._least)


class Watcher:
    """What `Containment` is in one run."""

    def __init__(self, least_polls: int) -> None:
        self._least = least_polls
        self._polls = 0
        self._calls: dict[str, int] = {}  # until the last poll, of the timeslave that runs now
        self._earlier = 0  # of those before it
        self._widest = 0
        self._violations: list[Note] = []
        self._worst = 0

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if not isinstance(event, Note):
                continue
            fields = event.fields
            if event.name == POLL:
                self._polls += bool(fields["agreed"])
                self._widest = max(self._widest, fields["before_ns"], fields["epsilon_ns"])
                if fields["calls"] < self._calls.get(event.host, 0):
                    self._earlier += self._calls[event.host]
                self._calls[event.host] = fields["calls"]
            elif event.name == VIOLATED:
                self._violations.append(event)
                self._worst = max(self._worst, fields["by_ns"])
            elif event.name == CONTAINED:
                self._worst = max(self._worst, fields["worst_ns"])

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        if self._violations:
            first = self._violations[0]
            side = first.fields["side"]
            off = "late" if side == "earliest" else "early"
            return False, (
                f"{first.host} at {first.time / 1e9:.3f} s: {side} was {first.fields['by_ns'] / 1e6:.3f} ms "
                f"too {off}; {len(self._violations)} stretches in all, "
                f"at worst {self._worst / 1e6:.3f} ms outside"
            )
        if self._polls < self._least:
            return False, f"{self._polls} polls of time masters gave a time: nothing was shown"
        calls = self._earlier + sum(self._calls.values())
        return True, (
            f"{self._polls:,} polls on {len(self._calls)} hosts, {calls:,} calls until the last of them, "
            f"ε up to {self._widest / 1e6:.2f} ms"
        )
