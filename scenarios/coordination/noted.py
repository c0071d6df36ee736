"""Checks of what servers say in the trace, where clients cannot hear it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.trace import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent


class Noted:
    """Some server has written a note of this kind.

    Args:
        name: of the check.
        note: name of the note.
        field: of the note, whose text is told in the verdict.
        excuse: name of a note of the story's; where that is, the other need not be.
    """

    def __init__(self, name: str, note: str, field: str, excuse: str = "") -> None:
        self.name = name
        self._note = note
        self._field = field
        self._excuse = excuse

    def begin(self) -> Watcher:
        """A run begins."""
        return Watcher(self._note, self._field, self._excuse)


class Watcher:
    """What `Noted` is in one run."""

    def __init__(self, note: str, field: str, excuse: str) -> None:
        self._note = note
        self._field = field
        self._excuse = excuse
        self._excused = False
        self._seen: list[str] = []

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if not isinstance(event, Note):
                continue
            self._excused = self._excused or event.name == self._excuse
            if event.name == self._note:
                self._seen.append(f"{event.host}: {event.fields.get(self._field, '')}")

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        if not self._seen:
            why = f" ({self._excuse})" if self._excused else ""
            return self._excused, f'no server said "{self._note}"{why}'
        more = f", and {len(self._seen) - 1} more" if len(self._seen) > 1 else ""
        return True, self._seen[0] + more
